import math

import numpy as np
import pytest

from kernelregime._checks import InputError
from kernelregime.prediction import eigen
from kernelregime.theory import (
    arora_bound,
    deep_bound,
    excess_risk_limit,
    expected_excess_risk,
    least_risk_ratio,
    least_squares_limit,
    printed_risk_limit,
    scale_free_bound,
)


def gaussian(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize(("points", "parameters"), [(12, 5), (5, 12)])
@pytest.mark.parametrize("from_zero", [True, False])
def test_gradient_descent_ends_at_the_solution_nearest_to_its_start(points, parameters, from_zero):
    x, y = gaussian(points, parameters), gaussian(points, seed=1)
    start = np.zeros(parameters) if from_zero else gaussian(parameters, seed=2)
    rate, w = 1 / np.linalg.eigvalsh(x.T @ x)[-1], start.copy()
    for _ in range(4000):
        w -= rate * x.T @ (x @ w - y)
    np.testing.assert_allclose(least_squares_limit(x, y, None if from_zero else start), w, atol=1e-10)


def test_of_all_solutions_the_limit_has_the_least_norm_also_for_dependent_columns():
    x, y = gaussian(6, 3), gaussian(6, seed=1)
    x = np.hstack([x, x[:, :1]])
    w, null = least_squares_limit(x, y), np.array([1.0, 0.0, 0.0, -1.0])
    np.testing.assert_allclose(x.T @ (x @ w - y), 0, atol=1e-12)
    np.testing.assert_allclose(w @ null, 0, atol=1e-12)


@pytest.mark.parametrize(("points", "parameters"), [(20, 8), (20, 50)])
def test_the_exact_excess_risk_is_that_of_least_squares_on_gaussian_points(points, parameters):
    signal, noise, draws = 3.0, 0.7, 1500
    w = np.zeros(parameters)
    w[0] = math.sqrt(signal)
    x, errors = gaussian(draws, points, parameters), math.sqrt(noise) * gaussian(draws, points, seed=1)
    found = np.einsum("dpn,dn->dp", np.linalg.pinv(x), x @ w + errors)
    risks = np.sum((found - w) ** 2, axis=1)
    sem = risks.std(ddof=1) / math.sqrt(draws)
    assert abs(risks.mean() - expected_excess_risk(points, parameters, signal=signal, noise=noise)) < 4 * sem


@pytest.mark.parametrize("ratio", [0.3, 0.9, 1.2, 4.0])
def test_many_gaussian_points_reach_the_limit(ratio):
    points = 10**6
    exact = expected_excess_risk(points, round(ratio * points), signal=2.0, noise=0.5)
    np.testing.assert_allclose(exact, excess_risk_limit(ratio, signal=2.0, noise=0.5), rtol=1e-4)


def test_printed_and_right_limits_differ_only_in_a_sign_above_the_threshold():
    ratio = np.array([0.2, 0.8, 1.5, 3.0])
    right, printed = (f(ratio, signal=2.0, noise=0.5) for f in (excess_risk_limit, printed_risk_limit))
    np.testing.assert_allclose(right - printed, np.where(ratio > 1, 2 * 0.5 / np.abs(ratio - 1), 0))


def test_at_the_threshold_noise_alone_makes_the_risk_infinite():
    assert excess_risk_limit(1.0, signal=2.0, noise=0.1) == math.inf == expected_excess_risk(7, 7, signal=2.0, noise=0.1)
    assert excess_risk_limit(1.0, signal=2.0, noise=0.0) == 0 == expected_excess_risk(7, 7, signal=2.0, noise=0.0)


def test_the_least_risk_is_found_by_search_and_the_risk_rises_beyond_it():
    ratio = np.linspace(1.01, 6, 50_000)
    risk = excess_risk_limit(ratio, signal=5.0, noise=1.0)
    best = least_risk_ratio(signal=5.0, noise=1.0)
    np.testing.assert_allclose(ratio[np.argmin(risk)], best, atol=1e-3)
    assert excess_risk_limit(1000.0, signal=5.0, noise=1.0) > risk.min()
    assert least_risk_ratio(signal=1.0, noise=1.0) == math.inf


def test_the_bounds_agree_with_a_linear_solve():
    x, y = gaussian(9, 20), np.sign(gaussian(9, seed=1))
    gram = x @ x.T
    norm = y @ np.linalg.solve(gram, y)
    np.testing.assert_allclose(arora_bound(gram, y), math.sqrt(2 * norm / 9), rtol=1e-10)
    np.testing.assert_allclose(arora_bound(eigen(gram), y[:, None]), math.sqrt(2 * norm / 9), rtol=1e-10)
    np.testing.assert_allclose(deep_bound(gram, y, depth=4), 4 * math.sqrt(norm / 9), rtol=1e-10)


def test_only_the_scale_free_bound_stays_when_the_kernel_is_multiplied():
    x, y = gaussian(9, 20), np.sign(gaussian(9, seed=1))
    gram = x @ x.T
    np.testing.assert_allclose(arora_bound(100 * gram, y), arora_bound(gram, y) / 10)
    np.testing.assert_allclose(scale_free_bound(100 * gram, y), scale_free_bound(gram, y))
    half = gram / (2 * np.mean(np.diag(gram)))
    np.testing.assert_allclose(scale_free_bound(gram, y), arora_bound(half, y))


def test_of_a_singular_kernel_targets_out_of_reach_have_an_infinite_bound():
    gram = np.ones((2, 2))
    assert arora_bound(gram, [1.0, -1.0]) == math.inf
    np.testing.assert_allclose(arora_bound(gram, [1.0, 1.0]), 1.0)


@pytest.mark.parametrize("call", [
    lambda: least_squares_limit(np.ones((2, 3)), [1.0]),
    lambda: least_squares_limit(np.ones((2, 3)), [1.0, 2.0], [0.0]),
    lambda: excess_risk_limit(0.0, signal=1.0, noise=1.0),
    lambda: printed_risk_limit(2.0, signal=-1.0, noise=1.0),
    lambda: expected_excess_risk(0, 3, signal=1.0, noise=1.0),
    lambda: least_risk_ratio(signal=1.0, noise=-1.0),
    lambda: arora_bound(np.eye(2), np.eye(2)),
    lambda: arora_bound([[0.0, 1.0], [1.0, 0.0]], [1.0, 1.0]),
    lambda: deep_bound(np.eye(2), [1.0, 1.0], depth=0),
])  # fmt: skip
def test_bad_input_is_refused_with_one_line(call):
    with pytest.raises(InputError, match=r"expected .*; got .*; .*"):
        call()
