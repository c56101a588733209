"""Relative distances between kernels and functions."""

import math

import numpy as np
import pytest

from kernelregime._checks import InputError
from kernelregime.observables import drift, function_distance, relative_distance


def naive_norm(a):
    return math.sqrt(math.fsum(float(v) ** 2 for v in np.ravel(a)))


def test_relative_distance_is_the_norm_of_the_difference_over_that_of_the_second():
    a, b = np.random.default_rng(0).standard_normal((2, 3, 4, 2))
    assert relative_distance(a, b) == pytest.approx(naive_norm(a - b) / naive_norm(b), rel=1e-14)


def test_a_kernel_that_grew_by_a_factor_has_drifted_by_the_factor_less_one():
    k = np.random.default_rng(0).standard_normal((5, 5))
    assert drift(1.25 * k, k) == pytest.approx(0.25, rel=1e-14)
    assert drift(k, k) == 0.0


def test_drift_of_steps_and_seeds_is_that_of_each_against_its_own_start():
    kernels = np.random.default_rng(1).standard_normal((3, 2, 4, 4))  # (T, S, N, N)
    found = drift(kernels, kernels[0])
    expected = [[naive_norm(kernels[t, s] - kernels[0, s]) / naive_norm(kernels[0, s]) for s in range(2)] for t in range(3)]
    np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_function_distance_is_the_linearization_error_over_the_movement_for_each_seed():
    f_t, f_lin, f_0 = np.random.default_rng(2).standard_normal((3, 4, 6, 2))
    expected = [naive_norm(f_t[s] - f_lin[s]) / naive_norm(f_t[s] - f_0[s]) for s in range(4)]
    np.testing.assert_allclose(function_distance(f_t, f_lin, f_0), expected, rtol=1e-13)


def test_function_distance_of_a_quadratic_model_is_half_its_curvature_times_the_step():
    # f(θ) = θ + c θ²/2 from θ = 0: f - f_lin = c θ²/2 and f - f_0 = θ + c θ²/2
    c, theta = 0.3, 0.1
    f_t = np.full((1, 5, 1), theta + c * theta**2 / 2)
    found = function_distance(f_t, np.full((1, 5, 1), theta), np.zeros((1, 5, 1)))
    assert found[0] == pytest.approx((c * theta / 2) / (1 + c * theta / 2), rel=1e-13)


def test_nothing_over_nothing_is_nan_and_something_over_nothing_is_infinite():
    zero, one = np.zeros((1, 2, 2)), np.ones((1, 2, 2))
    assert np.isnan(function_distance(zero, zero, zero)).all()
    assert np.isinf(function_distance(zero, one, zero)).all()
    assert np.isnan(drift(zero, zero)).all()
    assert np.isinf(drift(one, zero)).all()
    assert math.isnan(relative_distance(zero, zero))


def test_initial_outputs_may_be_shared_by_all_steps():
    f_t, f_lin = np.random.default_rng(2).standard_normal((2, 5, 3, 4, 2))  # (T, S, M, O)
    found = function_distance(f_t, f_lin, f_t[0])
    assert found.shape == (5, 3)
    assert found[4, 1] == pytest.approx(float(function_distance(f_t[4, 1], f_lin[4, 1], f_t[0, 1])), rel=1e-14)


@pytest.mark.parametrize(
    "call",
    [
        lambda: relative_distance(np.ones(3), np.ones(4)),
        lambda: relative_distance(np.ones((2, 3)), np.ones(3)),
        lambda: drift(np.ones((3, 3)), np.ones((1, 3))),
        lambda: drift(np.ones((4, 3, 3)), np.ones((2, 3, 3))),
        lambda: function_distance(np.ones((2, 4, 1)), np.ones((2, 3, 1)), np.ones((2, 4, 1))),
        lambda: function_distance(np.ones((2, 4, 1)), np.ones((2, 4, 1)), np.ones((2, 1, 1))),
        lambda: drift(np.full((2, 2), np.inf), np.ones((2, 2))),
    ],
)
def test_shapes_that_differ_and_infinities_are_refused(call):
    with pytest.raises(InputError, match=r"expected .*; got .*; "):
        call()
