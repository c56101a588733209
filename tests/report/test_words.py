import dataclasses
import math

import pytest

from kernelregime.claims import Estimate
from kernelregime.report.words import SECTIONS, agreement, beside, bounds, details, distance, headline, readings, sentence, short
from kernelregime.results import Evidence

THRESHOLDS = {"kernel_drift": 0.1, "near_drift": 0.3}


def evidence(mean, sem, n, predicted, key="any"):
    return Evidence(key, "drift", "label", Estimate(mean, sem, n), predicted)


@pytest.mark.parametrize(
    ("item", "kind", "words"),
    [
        (evidence(1.0, 0.1, 5, None), "none", "no prediction"),
        (evidence(1.0, 0.0, 0, None), "none", "theory alone"),
        (evidence(1.0, 0.1, 5, 1.3), "holds", "agrees"),
        (evidence(1.0, 0.1, 5, 1.7), "fails", "differs"),
        (evidence(1.0, math.nan, 1, 1.0), "unknown", "no error bar"),
        (evidence(1.0, 2.0, 5, 1.0), "unknown", "too noisy"),
        (evidence(math.nan, math.nan, 5, 1.0), "unknown", "cannot tell"),
        (evidence(0.05, 0.001, 5, 0.0), "fails", "differs"),
        (evidence(0.05, 0.02, 5, 0.0), "unknown", "0 within error"),
        (evidence(0.05, 0.001, 5, 0.0, "drift"), "holds", "within 0.1"),
        (evidence(0.2, 0.001, 5, 0.0, "drift"), "unknown", "within 0.3"),
        (evidence(0.4, 0.001, 5, 0.0, "drift"), "fails", "beyond 0.3"),
        (evidence(0.4, 0.001, 5, 0.4, "drift"), "holds", "agrees"),
        (evidence(0.06, 0.001, 5, 0.0, "theta_distance"), "limit", "falls like width^-1/2"),
        (evidence(0.06, 0.001, 5, 0.0, "alignment_change"), "limit", "falls like 1/width"),
        (evidence(0.06, 0.02, 5, 0.0, "theta_distance"), "unknown", "0 within error"),
        (evidence(0.06, math.nan, 1, 0.0, "theta_distance"), "unknown", "no error bar"),
    ],
)
def test_agreement_in_words(item, kind, words):
    assert agreement(item, THRESHOLDS) == (kind, words)


def test_what_theory_alone_says_stands_under_theory():
    assert beside(evidence(0.913, 0.0, 0, None)) == ("–", "", "0.913")
    assert beside(evidence(1.0, 0.1, 5, None)) == ("1.00 ± 0.10", "n\u00a0=\u00a05", "–")
    assert beside(evidence(1.0, 0.1, 5, 1.25)) == ("1.00 ± 0.10", "n\u00a0=\u00a05", "1.25")


def test_the_distance_to_a_prediction_is_in_standard_errors():
    assert distance(evidence(1.0, 0.1, 5, 1.25)) == "2.5 sem apart"
    assert distance(evidence(1.0, math.nan, 1, 1.25)) == ""
    assert distance(evidence(1.0, 0.1, 5, None)) == ""
    assert distance(evidence(1.0, 0.1, 5, 0.0)) == ""
    assert distance(evidence(1.0, 0.1, 5, 0.0, "theta_distance")) == "0 at infinite width"


@pytest.mark.parametrize(
    "thresholds", [{}, {"kernel_drift": 0.1}, {"kernel_drift": 0.3, "near_drift": 0.1}, {"kernel_drift": 0.0, "near_drift": 1.0}]
)
def test_thresholds_that_make_no_bands_are_not_used(thresholds):
    assert bounds(thresholds, "drift") is None
    assert bounds(THRESHOLDS, "drift") == (0.1, 0.3)


def test_every_group_is_read_aloud_with_its_numbers(diagnosis):
    for section in SECTIONS:
        assert readings(diagnosis, section.group), section.group
    assert f"{100 * diagnosis['drift'].measured.mean:.0f}\u00a0%" in " ".join(readings(diagnosis, "drift"))


@pytest.mark.parametrize("key", ["linearization_error", "drift", "ntk_relative_std", "theta_distance"])
@pytest.mark.parametrize(("size", "words"), [(0.21, "by 21\u00a0% of "), (31.0, "by 31 times "), (9.4e8, "by more than 10,000 times ")])
def test_sizes_of_a_diverged_run_are_not_told_in_per_cent(diagnosis, key, size, words):
    [item] = [item for item in diagnosis.evidence if item.key == key]
    item = dataclasses.replace(item, measured=Estimate(size, 0.01 * size, 5))
    [told] = readings(dataclasses.replace(diagnosis, evidence=(item,)), item.group)
    assert words in told


def test_the_spread_is_the_root_of_the_dispersion_minus_one(diagnosis):
    kept = tuple(item for item in diagnosis.evidence if item.key == "dispersion")
    assert "by 11\u00a0%" in readings(dataclasses.replace(diagnosis, evidence=kept), "randomness")[0]
    assert math.sqrt(kept[0].measured.mean - 1) == pytest.approx(0.111, abs=0.001)


@pytest.mark.parametrize(
    ("chi", "phase"), [(0.9, "ordered phase"), (1.1, "chaotic phase"), (1.0, "edge of chaos"), (0.9994, "ordered phase")]
)
def test_the_phase_follows_from_chi(diagnosis, chi, phase):
    item = Evidence("chi1", "phase", "χ₁", Estimate(chi, 0.0, 0))
    assert phase in readings(dataclasses.replace(diagnosis, evidence=(item,)), "phase")[0]


def test_nothing_is_read_from_numbers_that_are_not_known(diagnosis):
    unknown = tuple(dataclasses.replace(item, measured=Estimate(math.nan, math.nan, 5)) for item in diagnosis.evidence)
    assert [readings(dataclasses.replace(diagnosis, evidence=unknown), section.group) for section in SECTIONS] == [[]] * 5


def test_network_data_and_training_are_named_in_one_line(diagnosis):
    assert headline(diagnosis.config) == "Fully-connected relu network on digits"
    line = details(diagnosis.config)
    for words in ("5 weight layers of width 512", "σ_w² = 2", "no bias", "128 training points", "5 seeds", "gradient descent"):
        assert words in line


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ({"points_train": 1, "inputs": 1, "outputs": 1}, "1 training point, 1 input, 1 output"),
        ({"outputs": 1, "target_coding": "regression"}, "regression, 1 output"),
        ({"outputs": 3, "target_coding": "regression"}, "regression, 3 outputs"),
        ({"outputs": 1, "target_coding": "standardized-regression"}, "regression on standardized targets, 1 output"),
        ({"outputs": 10, "target_coding": "standardized-one-hot"}, "10 classes"),
        ({"outputs": 1, "target_coding": "plus-minus-one"}, "2 classes"),
    ],
)
def test_classes_and_regression_are_told_apart(data, line):
    assert details({"data": data}) == line


def test_one_layer_one_seed_and_one_step_are_singular():
    line = details({"network": {"depth": 1, "width": 4}, "training": {"seeds": 1, "steps": 1}})
    assert line == "1 weight layer of width 4 · 1 seed, at most 1 step"


@pytest.mark.parametrize("config", [{}, {"network": None, "model": None, "data": None, "training": None}, {"network": {}, "data": {}}])
def test_a_configuration_without_entries_still_has_a_headline(config):
    assert headline(config) == "a user's model"
    assert details(config) == ""


def test_a_users_model_goes_by_its_name():
    assert headline({"network": None, "model": "my_model", "data": {"name": "d.npz"}}) == "my_model on d.npz"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("its NTK", "Its NTK"),
        ("σ_w² = 2", "σ_w² = 2"),
        ("f, params", "f, params"),
        ("5 of 5", "5 of 5"),
    ],
)
def test_sentences_begin_with_a_capital_and_symbols_stay(text, shown):
    assert sentence(text) == shown


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("Test error, trained network", "Test error, trained network"),
        ("Test error, NNGP posterior", "Test error, NNGP posterior"),
        ("Change of the NTK, ‖Θ_T − Θ_0‖_F / ‖Θ_0‖_F", "Change of the NTK"),
        ("Dispersion of the NTK at one input, E Θ(x,x)² / (E Θ(x,x))²", "Dispersion of the NTK at one input"),
        ("χ₁ = σ_w² E φ'(√q* z)² (below 1 ordered)", "χ₁"),
        ("Relative spread of Θ(x, x)", "Relative spread of Θ(x, x)"),
    ],
)
def test_a_short_label_is_the_name_without_its_formula(label, name):
    assert short(label) == name
