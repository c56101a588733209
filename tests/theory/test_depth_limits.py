import math

import mpmath
import numpy as np
import pytest

from kernelregime._checks import InputError
from kernelregime.theory import (
    correlation_gap_asymptotics,
    correlation_gaps,
    depth_to_matter,
    kernel_spectrum,
    normalized_ntk,
    normalized_ntk_limit,
    ntk_gap_asymptotics,
    predictor_limit,
)


def recursion(gap, depth):
    """1 - ρ_l and Θ̄_l by the formulas in ρ, to 60 digits."""
    with mpmath.workdps(60):
        rho = 1 - mpmath.mpf(gap)
        theta_bar, gaps, found = rho, [gap], [float(rho)]
        for layer in range(1, depth):
            theta = mpmath.acos(rho)
            slope = (mpmath.pi - theta) / mpmath.pi
            rho = (mpmath.sin(theta) + (mpmath.pi - theta) * rho) / mpmath.pi
            theta_bar = (layer * theta_bar * slope + rho) / (layer + 1)
            gaps.append(float(1 - rho))
            found.append(float(theta_bar))
        return gaps, found


@pytest.mark.parametrize("gap", [2.0, 1.3, 0.2, 0.05, 1e-6, 1e-14])
def test_gaps_and_ntk_agree_with_mpmath_to_relative_accuracy(gap):
    gaps, found = recursion(gap, 400)
    np.testing.assert_allclose(correlation_gaps(gap, 400), gaps, rtol=1e-13)
    np.testing.assert_allclose(normalized_ntk(gap, 400), found, rtol=1e-12, atol=1e-60)


def test_arrays_of_gaps_are_followed_each_by_itself():
    gaps = np.array([[2.0, 0.3], [1e-9, 0.0]])
    for function in (correlation_gaps, normalized_ntk):
        found = function(gaps, 50)
        assert found.shape == (50, 2, 2)
        for i in np.ndindex(2, 2):
            np.testing.assert_allclose(found[(slice(None), *i)], function(gaps[i], 50), rtol=1e-14)


def test_equal_inputs_stay_equal():
    assert (correlation_gaps(0.0, 30) == 0).all()
    np.testing.assert_allclose(normalized_ntk(0.0, 30), 1, rtol=1e-14)


def test_at_depth_a_million_the_gap_follows_its_asymptotics():
    found = correlation_gaps(1.0, 10**6)
    np.testing.assert_allclose(found[-1], 9 * math.pi**2 / 2e12, rtol=1e-4)
    depths = np.array([10**3, 10**4, 10**5, 10**6])
    errors = np.abs(correlation_gap_asymptotics(1.0, depths) / found[depths - 1] - 1)
    assert (np.diff(errors) < 0).all()
    assert errors[-1] < 1e-4


def test_the_asymptotics_hold_from_the_first_layer_for_close_pairs_and_depth_matters_at_its_scale():
    gap = 1e-8
    depths = np.array([1, 100, 10**4, 10**5])
    found = correlation_gaps(gap, 10**5)[depths - 1]
    np.testing.assert_allclose(correlation_gap_asymptotics(gap, depths), found, rtol=1e-3)
    scale = round(float(depth_to_matter(gap)))
    np.testing.assert_allclose(correlation_gaps(gap, scale)[-1], gap / 4, rtol=1e-3)  # (1 + 1)^-2


@pytest.mark.parametrize("gap", [2.0, 1.0, 0.5])
def test_the_ntk_tends_to_a_quarter_like_three_eighths_log_l_over_l_for_every_pair(gap):
    depths = np.array([10**3, 10**4, 10**5])
    found = normalized_ntk(gap, 10**5)[depths - 1] - 0.25
    rest = (found - ntk_gap_asymptotics(depths)) * depths  # of order one: the difference is of order 1/L
    np.testing.assert_allclose(rest[2], rest[1], atol=0.02)
    assert abs(rest[2]) < 5


def test_the_ntk_decreases_from_the_start_for_correlated_pairs_and_overshoots_for_others():
    assert (np.diff(normalized_ntk(0.6, 2000)) < 0).all()
    other = normalized_ntk(0.9, 2000)
    assert other[0] < 0.25 < other.max()
    assert other[-1] < other.max()


def test_the_smallest_normalized_ntk_over_pairs_has_the_reference_values():
    lowest = normalized_ntk(np.linspace(0, 2, 20001), 3).min(axis=1)
    assert [f"{value:.3f}" for value in lowest] == ["-1.000", "-0.068", "0.087"]


@pytest.mark.parametrize(("sigma_w2", "expected"), [(1.5, 1.0), (2.0, 4 / 7), (3.0, 0.25)])
def test_with_biases_the_limit_follows_the_phase(sigma_w2, expected):
    assert normalized_ntk_limit(sigma_w2=sigma_w2, sigma_b2=1.0) == expected
    found = []
    for depth in (100, 400):
        spectrum = kernel_spectrum("relu", sigma_w2=sigma_w2, sigma_b2=1.0, depth=depth, points=2, correlation=0.2)
        found.append(spectrum.p_ab / spectrum.p)
    # at σ_w² = 2 the error is of order L^{-1/2}, else of order log L/L or exponentially small: both are extrapolated by it or better
    errors = np.abs(np.array(found) - expected)
    assert errors[1] <= errors[0] / 1.7 or errors[1] < 1e-12
    assert abs(2 * found[1] - found[0] - expected) < 0.025


def test_without_biases_the_limit_is_a_quarter_in_every_phase():
    assert {normalized_ntk_limit(sigma_w2=w, sigma_b2=b) for w in (1.0, 2.0, 3.0) for b in (None, 0.0)} == {0.25}


def test_the_predictor_limit_is_that_of_the_limiting_kernel():
    for settings in ({"sigma_w2": 1.0}, {"sigma_w2": 2.0, "sigma_b2": 0.1}):
        c = normalized_ntk_limit(**settings)
        kernel = (1 - c) * np.eye(5) + c
        np.testing.assert_allclose(np.linalg.solve(kernel, np.full(5, c)), predictor_limit(5, **settings), rtol=1e-13)
    np.testing.assert_allclose([predictor_limit(5, sigma_w2=2.0), predictor_limit(5, sigma_w2=2.0, sigma_b2=1.0)], [1 / 8, 4 / 23])
    assert predictor_limit(5, sigma_w2=1.0, sigma_b2=1.0) == 1 / 5


@pytest.mark.parametrize("call", [
    lambda: correlation_gaps(2.1, 3),
    lambda: correlation_gaps(-0.1, 3),
    lambda: correlation_gaps(0.1, 0),
    lambda: normalized_ntk(math.nan, 3),
    lambda: correlation_gap_asymptotics(0.0, 3),
    lambda: ntk_gap_asymptotics(0),
    lambda: normalized_ntk_limit(sigma_w2=-1.0),
    lambda: predictor_limit(0, sigma_w2=1.0),
])  # fmt: skip
def test_bad_input_is_refused_with_one_line(call):
    with pytest.raises(InputError, match=r"expected .*; got .*; .*"):
        call()
