import math

import numpy as np
import pytest

from kernelregime.claims import Claim, Estimate


def claim(predicted, mean, sem, tolerance=0.0):
    return Claim("source", "statement", predicted, Estimate(mean, sem, 10), tolerance)


def test_an_estimate_has_the_mean_and_the_standard_error_of_independent_values():
    values = np.random.default_rng(0).normal(size=(5, 7))
    estimate = Estimate.of(values)
    assert estimate.n == 35
    assert estimate.mean == pytest.approx(values.mean(), rel=1e-14)
    assert estimate.sem == pytest.approx(np.sqrt(np.sum((values - values.mean()) ** 2) / 34 / 35), rel=1e-14)


def test_one_value_has_no_standard_error():
    estimate = Estimate.of([3.0])
    assert (estimate.mean, estimate.n) == (3.0, 1)
    assert math.isnan(estimate.sem)


@pytest.mark.parametrize(("mean", "expected"), [(1.0, "holds"), (1.39, "holds"), (0.61, "holds"), (1.41, "fails"), (0.59, "fails")])
def test_a_claim_holds_within_four_standard_errors(mean, expected):
    assert claim(1.0, mean, 0.1).verdict == expected


def test_the_statement_may_allow_a_relative_tolerance_besides():
    assert claim(-2.0, -2.25, 0.05).verdict == "fails"
    assert claim(-2.0, -2.25, 0.05, tolerance=0.1).verdict == "holds"
    assert claim(-2.0, -2.45, 0.05, tolerance=0.1).verdict == "fails"


def test_a_measurement_coarser_than_the_prediction_decides_nothing_unless_it_contradicts():
    assert claim(1.0, 1.0, 0.3).verdict == "inconclusive"
    assert claim(1.0, 3.0, 0.3).verdict == "fails"
    assert claim(0.0, 0.01, 0.1).verdict == "inconclusive"


@pytest.mark.parametrize(("predicted", "mean", "sem"), [(1.0, math.nan, 0.1), (1.0, 1.0, math.nan), (math.inf, 1.0, 0.1)])
def test_numbers_that_are_unknown_decide_nothing(predicted, mean, sem):
    assert claim(predicted, mean, sem).verdict == "inconclusive"


def test_an_exact_measurement_is_compared_exactly():
    assert claim(1.0, 1.0, 0.0).verdict == "holds"
    assert claim(1.0, 1.0 + 1e-15, 0.0).verdict == "fails"
