import dataclasses

import numpy as np
import pytest

from kernelregime.claims import Estimate
from kernelregime.report import plates as module
from kernelregime.report.plates import has_finite, plates

ARRAYS = {
    "error": ("steps", "linearization_error"),
    "zscores": ("zscores",),
    "learning": ("steps", "train_loss", "linear_train_loss", "ntk_train_loss", "test_loss"),
    "drift": ("steps", "drift"),
    "alignment": ("steps", "alignment", "alignment_centred"),
    "initial": ("heat_initial", "heat_labels"),
    "final": ("heat_final", "heat_labels"),
    "infinite": ("heat_infinite", "heat_labels"),
    "samples": ("ntk_samples",),
    "phase": ("phase_sigma_w2", "phase_sigma_b2"),
    "spectrum": ("spectrum_infinite", "spectrum_initial", "spectrum_final"),
}
OPTIONAL = {
    "learning": set(ARRAYS["learning"]) - {"steps"},
    "alignment": {"alignment", "alignment_centred"},
    "spectrum": set(ARRAYS["spectrum"]),
} | {key: {"heat_labels"} for key in ("initial", "final", "infinite")}


@pytest.fixture
def unwritten(monkeypatch):
    """Figures are drawn but not written out, which takes most of the time."""
    monkeypatch.setattr(module, "svg", lambda figure, *, label, prefix: "")


def drawn(diagnosis, names, **changes):
    arrays = {name: diagnosis.arrays[name] for name in names}
    return {plate.key: plate for group in plates(dataclasses.replace(diagnosis, arrays=arrays, **changes)).values() for plate in group}


@pytest.mark.parametrize("key", ARRAYS)
def test_a_figure_is_drawn_from_its_own_arrays_alone(diagnosis, unwritten, key):
    assert key in drawn(diagnosis, ARRAYS[key], evidence=())


@pytest.mark.parametrize(("key", "absent"), [(key, name) for key, names in ARRAYS.items() for name in names])
def test_without_one_of_its_arrays_a_figure_is_left_out_or_drawn_without_it(diagnosis, unwritten, key, absent):
    names = [name for name in ARRAYS[key] if name != absent]
    assert (key in drawn(diagnosis, names, evidence=())) == (absent in OPTIONAL.get(key, ()))


@pytest.mark.parametrize("key", [key for key in ARRAYS if key not in ("final", "infinite")])
@pytest.mark.parametrize("damage", ["holes", "zeros", "one seed", "infinite"])
def test_arrays_of_runs_that_went_wrong_can_be_drawn(diagnosis, key, damage):
    rng = np.random.default_rng(1)

    def spoil(name: str, value: np.ndarray) -> np.ndarray:
        if value.dtype.kind != "f" or name == "steps":
            return value
        if damage == "one seed":
            return value[:1] if value.ndim > 1 and not name.startswith("heat") else value
        return {
            "holes": np.where(rng.random(value.shape) < 0.5, np.nan, value),
            "zeros": np.zeros(value.shape),
            "infinite": np.where(rng.random(value.shape) < 0.5, np.inf, value),
        }[damage]

    arrays = {name: spoil(name, diagnosis.arrays[name]) for name in ARRAYS[key]}
    assert key in drawn(dataclasses.replace(diagnosis, arrays=arrays), arrays, evidence=())


def test_the_groups_have_the_figures_in_reading_order(diagnosis, unwritten):
    assert {group: [plate.key for plate in found] for group, found in plates(diagnosis).items()} == {
        "verdict": ["scale"],
        "function space": ["error", "zscores", "tests", "learning"],
        "drift": ["drift", "alignment", "initial", "final", "infinite"],
        "randomness": ["samples"],
        "phase": ["phase"],
        "conditioning": ["spectrum"],
    }


def test_captions_speak_only_of_what_is_there(diagnosis, unwritten):
    alone = drawn(diagnosis, ["heat_initial"], evidence=())["initial"]
    assert "class" not in alone.caption
    assert "all these maps" not in alone.caption
    every = drawn(diagnosis, ["heat_initial", "heat_final", "heat_labels"], evidence=())
    assert "sorted by class" in every["initial"].caption
    assert "Same colours" in every["final"].caption
    assert "Centred" not in drawn(diagnosis, ["steps", "alignment"])["alignment"].caption
    assert "straight line" not in drawn(diagnosis, ["spectrum_infinite"], evidence=())["spectrum"].caption


def test_maps_that_differ_too_much_in_size_say_that_they_do_not_share_colours(diagnosis):
    arrays = {**diagnosis.arrays, "heat_final": 10 * diagnosis.arrays["heat_final"]}
    made = drawn(dataclasses.replace(diagnosis, arrays=arrays), ["heat_initial", "heat_final"])
    assert "own colour scale" in made["initial"].caption


def test_alternative_text_holds_the_numbers_of_small_figures(diagnosis):
    [scale] = plates(dataclasses.replace(diagnosis, arrays={}))["verdict"]
    assert f"{diagnosis['drift'].measured.mean:.4f}" in scale.svg
    assert "kernel regime below 0.2" in scale.svg


def test_the_scale_leaves_out_what_is_not_known(diagnosis):
    items = tuple(
        dataclasses.replace(item, measured=Estimate(float("nan"), float("nan"), 5)) for item in diagnosis.evidence if item.role == "regime"
    )
    assert drawn(diagnosis, [], evidence=items) == {}
    assert drawn(diagnosis, [], thresholds={}, evidence=(diagnosis["drift"],)) == {}


def test_text_is_not_a_number():
    assert not has_finite(np.array(["a"]))
    assert not has_finite(np.array([]))
    assert has_finite(np.array([np.nan, 1.0]))
