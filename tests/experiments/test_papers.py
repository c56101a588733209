"""Every experiment at smoke scale, and the results that are kept in the repository."""

import os
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from kernelregime import experiments
from kernelregime._checks import InputError
from kernelregime.report.canvas import svg
from kernelregime.report.papers import drawings
from kernelregime.results import load_reproduction

KEPT = Path(__file__).parents[2] / "reproduced"
EVERY = experiments.experiments()
IMAGES = ("T3", "T5", "B4", "G3", "G4")
TRAINED = ("T3", "B4")  # where rounding, another on another processor, grows in training
SIZE = 10_000_000  # bytes of all kept results together


@pytest.fixture
def data(experiment):
    """Skips the rows on real images where there are none."""
    there = "KERNELREGIME_DATA" in os.environ or (Path(__file__).parents[3] / "shared" / "data").is_dir()
    if experiment.key in IMAGES and not there:
        pytest.skip("no real data: set KERNELREGIME_DATA")


@pytest.mark.parametrize("experiment", EVERY, ids=lambda item: item.key)
def test_an_experiment_runs_judges_and_draws_at_smoke_scale(experiment, data, tmp_path):
    found = experiments.reproduce(experiment, "smoke", folder=tmp_path)
    assert found.claims
    assert {claim.origin for claim in found.claims} & {"printed", "corrected"}
    for arrays in found.arrays.values():
        assert all(value.dtype != object for value in arrays.values())
    back = load_reproduction(tmp_path / "smoke" / experiment.key)
    assert experiments.judged(experiment, back).claims == found.claims
    drawn = drawings(back)
    assert drawn
    for item in drawn:
        assert item.caption
        assert svg(item.figure, label=item.name).startswith("<svg")


def test_keys_are_unique_and_papers_tell_who_wrote_them():
    assert len({item.key for item in EVERY}) == len(EVERY)
    assert all(item.paper.title and item.paper.citation and item.statement and item.source for item in EVERY)


@pytest.mark.parametrize("experiment", EVERY, ids=lambda item: item.key)
def test_plans_have_one_seed_a_cell_and_grow_with_the_scale(experiment):
    costs = []
    for scale in experiments.SCALES:
        cells = experiment.plan(scale)
        assert len({cell.name for cell in cells}) == len(cells)
        assert all(cell.name == Path(cell.name).name for cell in cells)
        costs.append(experiment.cost(scale))
    assert costs[0] < costs[1] <= 240
    assert costs[1] <= costs[2]


def test_names_stand_for_experiments_and_others_are_refused():
    assert [item.key for item in experiments.find("b1")] == ["B1"]
    assert experiments.find("all") == EVERY
    assert experiments.find("beyond_infinite_width") == experiments.experiments("beyond_infinite_width")
    with pytest.raises(InputError, match=r"B1.*'Z9'.*--list"):
        experiments.find("Z9")


@pytest.fixture(scope="module")
def kept():
    return {path.parent.name: load_reproduction(path.parent) for path in sorted(KEPT.rglob("result.json"))}


def test_a_result_of_every_experiment_is_kept_and_they_are_small(kept):
    assert sorted(kept) == sorted(item.key for item in EVERY)
    assert sum(path.stat().st_size for path in KEPT.rglob("*") if path.is_file()) <= SIZE


@pytest.mark.parametrize("experiment", EVERY, ids=lambda item: item.key)
def test_kept_results_are_of_these_settings_and_judged_as_today(experiment, kept):
    found = kept[experiment.key]
    assert (found.version, found.digest) == (experiment.version, experiment.digest("laptop"))
    assert (found.title, found.statement, found.source, found.choices) == (
        experiment.title,
        experiment.statement,
        experiment.source,
        experiment.choices,
    )
    for claim, again in zip(found.claims, experiments.judged(experiment, found).claims, strict=True):
        assert (claim.statement, claim.source, claim.origin, claim.relation) == (
            again.statement,
            again.source,
            again.origin,
            again.relation,
        )
        np.testing.assert_allclose(
            [claim.predicted, claim.measured.mean, claim.measured.sem],
            [again.predicted, again.measured.mean, again.measured.sem],
            rtol=1e-6,
        )
        assert claim.verdict == again.verdict


def as_then(environment):
    """Whether random numbers and programs come from the packages of a kept result: other versions of NumPy draw other numbers."""
    return all(version(name) == environment["packages"][name] for name in ("numpy", "scipy", "jax", "jaxlib"))


@pytest.mark.parametrize("experiment", EVERY, ids=lambda item: item.key)
def test_a_kept_cell_is_what_the_code_computes(experiment, data, kept):
    cell = min(kept[experiment.key].cells, key=lambda cell: cell.seconds)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # as for all cells: what leaves the range of floats shows in the arrays
        again = experiment.run(seed=cell.seed, **cell.params)
    stored = kept[experiment.key].arrays[cell.name]
    assert {name: np.shape(value) for name, value in again.items()} == {name: value.shape for name, value in stored.items()}
    if not as_then(kept[experiment.key].environment):
        return
    for name, value in again.items():
        if not np.issubdtype(stored[name].dtype, np.number):
            np.testing.assert_array_equal(value, stored[name])
            continue
        known = np.abs(stored[name][np.isfinite(stored[name])])
        scale = float(np.max(known, initial=0.0))
        if experiment.key in TRAINED:
            assert np.nanmedian(np.abs(value - stored[name])) <= 1e-2 * scale
        else:
            np.testing.assert_allclose(value, stored[name], rtol=1e-5, atol=1e-6 * scale)
