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


def bound(relation, predicted, mean, sem, tolerance=0.0):
    return Claim("source", "statement", predicted, Estimate(mean, sem, MANY), tolerance, relation)


@pytest.mark.parametrize(
    ("mean", "sem", "verdict"),
    [
        (0.5, 0.1, "holds"),
        (0.69, 0.1, "holds"),
        (0.71, 0.1, "inconclusive"),
        (1.29, 0.1, "inconclusive"),
        (1.31, 0.1, "fails"),
        (1.0, 0.0, "holds"),
    ],
)
def test_a_bound_holds_or_fails_only_clear_of_its_standard_error(mean, sem, verdict):
    assert bound("at most", 1.0, mean, sem).verdict == verdict
    assert bound("at least", -1.0, -mean, sem).verdict == verdict


def test_a_bound_may_leave_a_tolerance_too():
    assert bound("at most", 1.0, 1.05, 0.01).verdict == "fails"
    assert bound("at most", 1.0, 1.05, 0.01, tolerance=0.1).verdict == "holds"
    assert bound("at least", 1.0, 0.95, 0.01, tolerance=0.1).verdict == "holds"


def test_what_is_inconclusive_says_how_many_times_the_sample_would_decide():
    undecided = bound("at most", 1.0, 0.9, 0.1)
    assert undecided.more == pytest.approx(9.0, rel=1e-6)
    enough = bound("at most", 1.0, 0.9, 0.1 / math.sqrt(undecided.more * 1.01))
    assert (enough.verdict, enough.more) == ("holds", 1.0)
    noisy = claim(1.0, 1.0, 0.5)
    assert (noisy.verdict, noisy.more) == ("inconclusive", pytest.approx(2.25, rel=1e-6))
    assert claim(1.0, 1.0, 0.5 / math.sqrt(noisy.more * 1.01)).verdict == "holds"


def test_without_a_known_error_or_away_from_the_bound_nothing_says_how_many():
    assert math.isnan(bound("at most", 1.0, 1.0, 0.1).more)
    assert math.isnan(claim(1.0, 1.0, math.nan).more)


def test_equality_within_a_tolerance_is_told_only_by_a_sample_that_resolves_it():
    assert claim(1.0, 1.02, 0.01, tolerance=0.05).verdict == "holds"
    coarse = claim(1.0, 1.02, 0.03, tolerance=0.05)
    assert (coarse.verdict, coarse.more) == ("inconclusive", pytest.approx(3.24, rel=1e-6))
    assert claim(1.0, 1.2, 0.03, tolerance=0.05).verdict == "fails"
