import math

import jax.numpy as jnp
import numpy as np
import pytest
from theory_references import erf_maps, relu_maps

from kernelregime._checks import InputError
from kernelregime.theory import edge_of_chaos, kernel_spectrum, ntk_moments, phase


def kernels(maps, weight, bias, depth, points, correlation, q1):
    """NNGP and NTK matrices of equally correlated points, by the recursion as it stands."""
    q, c = q1, correlation
    p, p_ab = q1, q1 * c
    for _ in range(depth - 1):
        (square, slope), (product, slopes) = maps(q, 1.0), maps(q, c)
        q, c = weight * square + bias, (weight * product + bias) / (weight * square + bias)
        p, p_ab = p * weight * slope + q, p_ab * weight * slopes + q * c
    ones, eye = np.ones((points, points)), np.eye(points)
    return {"nngp": q * (1 - c) * eye + q * c * ones, "ntk": (p - p_ab) * eye + p_ab * ones}


@pytest.mark.parametrize("kind", ["ntk", "nngp"])
@pytest.mark.parametrize(("name", "maps", "bias"), [("relu", relu_maps, 0.0), ("relu", relu_maps, 0.3), ("erf", erf_maps, 0.1)])
def test_the_spectrum_agrees_with_numerical_eigenvalues(name, maps, bias, kind):
    for correlation in (0.4, 0.0, -0.1):
        found = kernel_spectrum(name, sigma_w2=1.8, sigma_b2=bias, depth=7, points=6, correlation=correlation, q1=1.3, kind=kind)
        values = np.linalg.eigvalsh(kernels(maps, 1.8, bias, 7, 6, correlation, 1.3)[kind])
        np.testing.assert_allclose([found.smallest, found.largest], values[[0, -1]], rtol=1e-12)
        np.testing.assert_allclose(found.condition_number, values[-1] / values[0], rtol=1e-12)
        np.testing.assert_allclose(found.largest_learning_rate, 2 / values[-1], rtol=1e-12)


def test_gradient_descent_is_stable_just_below_the_largest_learning_rate_and_not_above():
    found = kernel_spectrum("erf", sigma_w2=1.8, sigma_b2=0.1, depth=4, points=5, correlation=0.3)
    kernel = found.difference * np.eye(5) + found.p_ab
    for share, stable in ((0.999, True), (1.001, False)):
        step = np.linalg.matrix_power(np.eye(5) - share * found.largest_learning_rate * kernel, 20000)
        assert (np.abs(step).max() < 1) == stable


def test_the_diagonal_of_relu_is_the_exact_mean_at_finite_width():
    # E Θ does not depend on the width in the ntk parameterization
    found = kernel_spectrum("relu", sigma_w2=1.7, depth=9, points=2, q1=1.7 * 3.0 / 10)
    exact = ntk_moments((10, 4, 7, 3, 3, 5, 8, 2, 9, 1), sigma_w2=1.7, input_norm2=3.0)
    np.testing.assert_allclose(found.p, exact.mean, rtol=1e-12)


def test_at_the_edge_relu_tends_to_a_quarter_off_the_diagonal():
    depth = 200
    found = kernel_spectrum("relu", sigma_w2=2.0, depth=depth, points=10)
    ratio = found.p_ab / found.p
    np.testing.assert_allclose(ratio - 0.25, 3 / 8 * math.log(depth) / depth, atol=2 / depth)
    np.testing.assert_allclose(found.condition_number, 13 / 3, rtol=0.1)


def test_at_the_edge_tanh_tends_to_a_third_off_the_diagonal():
    (weight,) = edge_of_chaos("tanh", sigma_b2=0.05)
    gaps = []
    for depth in (50, 200):
        found = kernel_spectrum("tanh", sigma_w2=weight, sigma_b2=0.05, depth=depth, points=10)
        gaps.append(1 / 3 - found.p_ab / found.p)
        np.testing.assert_allclose(found.condition_number, (found.p + 9 * found.p_ab) / (found.p - found.p_ab), rtol=1e-12)
    # the distance is of order log L/L
    assert 0 < gaps[1] < gaps[0]
    np.testing.assert_allclose(gaps[0] / gaps[1], 4 * math.log(50) / math.log(200), rtol=0.5)


def test_an_ordered_network_is_worse_conditioned_by_its_depth_scale():
    found = [kernel_spectrum("tanh", sigma_w2=0.9, sigma_b2=0.1, depth=depth, points=10) for depth in (120, 130, 140)]
    xi = phase("tanh", sigma_w2=0.9, sigma_b2=0.1).xi_c
    # p - p_ab = (A L + B) e^{-L/ξ}: without the exponential it is linear in depth
    line = [spectrum.difference * math.exp((120 + 10 * i) / xi) for i, spectrum in enumerate(found)]
    steps = np.diff(line)
    assert steps[0] > 0
    np.testing.assert_allclose(steps[1], steps[0], rtol=1e-9)
    assert found[2].condition_number > 1e15


def test_a_chaotic_network_is_perfectly_conditioned_at_a_vanishing_learning_rate():
    found = kernel_spectrum("tanh", sigma_w2=5.0, sigma_b2=0.05, depth=100, points=10)
    np.testing.assert_allclose(found.condition_number, 1, atol=1e-12)
    assert found.largest_learning_rate < 1e-15


def test_kernels_beyond_the_range_of_floats_keep_their_ratios():
    # without biases σ_w² multiplies every ReLU kernel by a power: L·10^{L-1} on the diagonal here
    large, edge = (kernel_spectrum("relu", sigma_w2=weight, depth=200, points=10) for weight in (20.0, 2.0))
    np.testing.assert_allclose(large.log_scale + math.log(large.p), math.log(200) + 199 * math.log(10), rtol=1e-12)
    np.testing.assert_allclose([large.condition_number, large.p_ab / large.p], [edge.condition_number, edge.p_ab / edge.p], rtol=1e-12)
    np.testing.assert_allclose(large.largest_learning_rate, edge.largest_learning_rate * 1e-199, rtol=1e-11)


def test_equal_inputs_are_singular_and_one_layer_is_the_input_kernel():
    assert kernel_spectrum("tanh", sigma_w2=1.3, depth=5, points=3, correlation=1.0).condition_number == math.inf
    one = kernel_spectrum("tanh", sigma_w2=1.3, depth=1, points=3, correlation=0.5, q1=2.0)
    np.testing.assert_allclose([one.p, one.p_ab, one.largest, one.smallest], [2, 1, 4, 1])


def test_a_vanishing_variance_leaves_correlations_as_they_are_for_tanh():
    deep = kernel_spectrum("tanh", sigma_w2=1e-4, depth=100, points=3, correlation=0.5, kind="nngp")
    assert deep.p == 0  # 1e-400
    middle, later = (kernel_spectrum("tanh", sigma_w2=1e-4, depth=depth, points=3, correlation=0.5, kind="nngp") for depth in (10, 60))
    np.testing.assert_allclose(later.p_ab / later.p, middle.p_ab / middle.p, rtol=1e-12)


@pytest.mark.parametrize("arguments", [
    {"depth": 0}, {"points": 1}, {"correlation": 1.5}, {"correlation": -0.9}, {"q1": 0.0}, {"kind": "ntx"}, {"sigma_w2": -1.0},
])  # fmt: skip
def test_bad_input_is_refused_with_one_line(arguments):
    good = {"sigma_w2": 1.0, "depth": 3, "points": 4}
    with pytest.raises(InputError, match=r"expected .*; got .*; .*"):
        kernel_spectrum("tanh", **(good | arguments))


def test_an_overflowing_variance_is_refused_with_its_layer():
    with pytest.raises(InputError, match="layer"):
        kernel_spectrum(jnp.exp, sigma_w2=1.0, depth=20, points=3)
