import math

import numpy as np
import pytest
import scipy.stats

from kernelregime.claims import Claim, Estimate

MANY = 10**9  # values: their standard error is as good as known


def claim(predicted, mean, sem, tolerance=0.0, n=MANY):
    return Claim("source", "statement", predicted, Estimate(mean, sem, n), tolerance)


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


@pytest.mark.parametrize(("mean", "expected"), [(1.0, "holds"), (1.29, "holds"), (0.71, "holds"), (1.31, "fails"), (0.69, "fails")])
def test_a_claim_holds_within_three_standard_errors(mean, expected):
    assert claim(1.0, mean, 0.1).verdict == expected


@pytest.mark.parametrize("n", [2, 3, 5, 21, 200])
def test_the_mean_of_a_few_values_may_be_off_by_students_t_at_the_level_of_three_sigma(n):
    level = scipy.stats.norm.sf(3)
    assert scipy.stats.t.sf(Estimate(1.0, 0.1, n).allowance / 0.1, n - 1) == pytest.approx(level, rel=1e-9)
    allowed = scipy.stats.t.isf(level, n - 1)
    assert claim(1e6, 1e6 + 0.999 * allowed, 1.0, n=n).verdict == "holds"
    assert claim(1e6, 1e6 + 1.001 * allowed, 1.0, n=n).verdict == "fails"


@pytest.mark.parametrize("n", [0, MANY])
def test_an_error_known_without_a_sample_or_from_a_large_one_is_allowed_for_three_times(n):
    assert Estimate(1.0, 0.1, n).allowance == pytest.approx(0.3, rel=1e-7)


def test_five_normal_values_contradict_their_own_mean_as_rarely_as_three_sigma():
    # at three standard errors 4 % of such samples would; the level is 0.27 %
    rng = np.random.default_rng(1)
    failures = sum(Claim("", "", 10.0, Estimate.of(row)).verdict == "fails" for row in rng.normal(10.0, 1.0, (20_000, 5)))
    expected = 20_000 * 2 * scipy.stats.norm.sf(3)
    assert abs(failures - expected) <= 4 * math.sqrt(expected)


def test_the_statement_may_allow_a_relative_tolerance_besides():
    assert claim(-2.0, -2.25, 0.05).verdict == "fails"
    assert claim(-2.0, -2.25, 0.05, tolerance=0.1).verdict == "holds"
    assert claim(-2.0, -2.45, 0.05, tolerance=0.1).verdict == "fails"


def test_a_measurement_coarser_than_the_prediction_decides_nothing_unless_it_contradicts():
    assert claim(1.0, 1.0, 0.4).verdict == "inconclusive"
    assert claim(1.0, 3.0, 0.4).verdict == "fails"
    assert claim(0.0, 0.01, 0.1).verdict == "inconclusive"


@pytest.mark.parametrize(("predicted", "mean", "sem"), [(1.0, math.nan, 0.1), (1.0, 1.0, math.nan), (math.inf, 1.0, 0.1)])
def test_numbers_that_are_unknown_decide_nothing(predicted, mean, sem):
    assert claim(predicted, mean, sem).verdict == "inconclusive"


@pytest.mark.parametrize("n", [0, 1, 5, MANY])
def test_an_exact_measurement_is_compared_exactly(n):
    assert claim(1.0, 1.0, 0.0, n=n).verdict == "holds"
    assert claim(1.0, 1.0 + 1e-15, 0.0, n=n).verdict == "fails"
