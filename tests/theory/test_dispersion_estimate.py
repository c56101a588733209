import math

import numpy as np
import pytest
from theory_references import sampled_ntk

from kernelregime._checks import InputError
from kernelregime.claims import Estimate
from kernelregime.theory import dispersion_estimate, ntk_moments


def log_normal(variance, n, seed):
    return np.exp(math.sqrt(variance) * np.random.default_rng(seed).standard_normal(n))


def ratio(theta):
    return np.mean(theta**2) / np.mean(theta) ** 2


def test_the_jackknife_agrees_with_leaving_out_one_draw_at_a_time():
    theta = log_normal(0.2, 40, 0)
    left = np.array([ratio(np.delete(theta, i)) for i in range(40)])
    found = dispersion_estimate(theta)
    np.testing.assert_allclose(found.mean, 40 * ratio(theta) - 39 * left.mean(), rtol=1e-12)
    np.testing.assert_allclose(found.sem, math.sqrt(39 / 40 * np.sum((left - left.mean()) ** 2)), rtol=1e-10)
    np.testing.assert_allclose(dispersion_estimate(theta, method="plug-in").mean, ratio(theta), rtol=1e-14)


def test_the_bootstrap_error_agrees_with_the_jackknife_and_with_the_spread_over_samples():
    samples = log_normal(0.2, (400, 300), 5)
    spread = np.std([ratio(theta) for theta in samples], ddof=1)
    for error in ("jackknife", "bootstrap"):
        sems = np.array([dispersion_estimate(theta, error=error, resamples=100).sem for theta in samples])
        # both are biased down by a share of order 1/N, and the spread itself is known to 1/√(2·400)
        assert abs(sems.mean() - spread) <= 4 * math.hypot(sems.std(ddof=1) / 20, spread / math.sqrt(800))


def test_the_bootstrap_is_fixed_by_its_seed_and_is_the_deviation_over_resampled_draws():
    theta = log_normal(0.2, 50, 0)
    found = [dispersion_estimate(theta, error="bootstrap", resamples=60, seed=seed).sem for seed in (3, 3, 4)]
    assert found[0] == found[1] != found[2]
    rng = np.random.default_rng(3)
    again = [ratio(theta[rng.integers(50, size=50)]) for _ in range(60)]
    np.testing.assert_allclose(found[0], np.std(again, ddof=1), rtol=1e-12)


def test_a_bootstrap_that_can_draw_nothing_but_zeros_has_an_infinite_error():
    assert dispersion_estimate([0.0, 1.0, 1.0], error="bootstrap").sem == math.inf


def test_logarithms_of_draws_give_the_same_estimate_at_any_scale():
    theta = np.append(log_normal(0.3, 200, 8), [0.0, 0.0])
    direct = dispersion_estimate(theta)
    with np.errstate(divide="ignore"):
        logs = np.log(theta)
    for shift in (0.0, 2000.0, -5000.0):
        found = dispersion_estimate(logs + shift, logarithms=True)
        np.testing.assert_allclose([found.mean, found.sem], [direct.mean, direct.sem], rtol=1e-11)
        assert found.status == direct.status


@pytest.mark.parametrize("logs", [[-math.inf] * 4, [1.0, 2.0, math.inf], [1.0, math.nan, 2.0]])
def test_logarithms_of_no_draws_are_refused(logs):
    with pytest.raises(InputError, match="logarithms"):
        dispersion_estimate(logs, logarithms=True)


def test_the_printed_estimator_agrees_with_its_formula_and_the_disjoint_one_with_its_prefactor():
    theta = log_normal(0.2, 15, 1)
    n, total = 15, 0.0
    for i in range(n):
        others = np.delete(theta, i)
        total += theta[i] ** 2 / ((others.sum() ** 2 - np.sum(others**2)) / ((n - 1) * (n - 2)))
    np.testing.assert_allclose(dispersion_estimate(theta, method="printed").mean, total / (n - 2), rtol=1e-12)
    np.testing.assert_allclose(dispersion_estimate(theta, method="disjoint").mean, total / n, rtol=1e-12)


def test_on_small_log_normal_samples_the_printed_estimator_is_18_percent_high_and_the_jackknife_is_not():
    variance, repeats = 0.25, 4000
    samples = log_normal(variance, (repeats, 20), 2)
    bias, sem = {}, {}
    for method in ("printed", "disjoint", "plug-in", "jackknife"):
        found = np.array([dispersion_estimate(theta, method=method).mean for theta in samples]) / math.exp(variance) - 1
        bias[method], sem[method] = found.mean(), found.std(ddof=1) / math.sqrt(repeats)
    assert abs(bias["printed"] - 0.18) <= 4 * sem["printed"]
    assert abs(bias["disjoint"] - 0.06) <= 4 * sem["disjoint"]
    assert abs(bias["plug-in"] + 0.02) <= 4 * sem["plug-in"]
    assert abs(bias["jackknife"]) <= 4 * sem["jackknife"]


def test_the_effective_sample_size_counts_the_draws_that_carry_the_squares():
    np.testing.assert_allclose(dispersion_estimate(np.ones(12)).effective_sample_size, 12)
    theta = np.array([1.0] * 99 + [1000.0])
    found = dispersion_estimate(theta)
    np.testing.assert_allclose(found.effective_sample_size, np.sum(theta**2) ** 2 / np.sum(theta**4), rtol=1e-13)
    assert not found.reliable
    assert math.isnan(found.estimate.sem)


@pytest.mark.parametrize(
    ("variance", "n", "reliable"), [(0.01, 5, True), (0.1, 100, True), (0.5, 2000, True), (2.0, 500, False), (4.3, 5000, False)]
)
def test_reliability_follows_the_tail(variance, n, reliable):
    found = dispersion_estimate(log_normal(variance, n, 7))
    assert found.reliable == reliable
    assert found.status.startswith("reliable" if reliable else "unreliable")
    if reliable and n >= 100:
        assert abs(found.mean - math.exp(variance)) <= 4 * found.sem


def test_an_estimate_from_dense_networks_agrees_with_the_exact_law():
    theta = sampled_ntk((8, 16, 16, 1), 2.0, 4000, standard=False, biases=False, seed=4)
    found = dispersion_estimate(theta)
    assert found.reliable
    assert abs(found.mean - ntk_moments((8, 16, 16, 1), sigma_w2=2.0).dispersion) <= 4 * found.sem
    assert found.estimate == Estimate(found.mean, found.sem, 4000)


def test_a_network_as_deep_as_wide_is_called_unreliable_at_five_hundred_draws():
    theta = sampled_ntk((10,) * 10 + (1,), 2.0, 500, standard=True, biases=False, seed=9)
    assert not dispersion_estimate(theta).reliable


def test_the_scale_of_the_draws_does_not_matter_even_near_the_range_of_floats():
    theta = log_normal(0.3, 50, 3)
    small, large = dispersion_estimate(theta * 1e-200), dispersion_estimate(theta * 1e200)
    np.testing.assert_allclose([small.mean, small.sem], [large.mean, large.sem], rtol=1e-12)
    np.testing.assert_allclose(large.mean, dispersion_estimate(theta).mean, rtol=1e-12)


@pytest.mark.parametrize("samples", [[1.0, 2.0], [1.0, math.nan, 2.0], [0.0, 0.0, 0.0], [1.0, -1.0, 0.0], [1.0, 0.0, 0.0], ["a"] * 4])
def test_samples_that_have_no_dispersion_are_refused(samples):
    with pytest.raises(InputError, match=r"expected .*; got .*; .*"):
        dispersion_estimate(samples)


def test_an_unknown_method_is_refused():
    with pytest.raises(InputError, match="jackknife"):
        dispersion_estimate([1.0, 2.0, 3.0], method="jackknive")
    with pytest.raises(InputError, match="bootstrap"):
        dispersion_estimate([1.0, 2.0, 3.0], error="bootstrop")
