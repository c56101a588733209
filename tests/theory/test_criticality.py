import math

import jax
import mpmath
import numpy as np
import pytest
from scipy.optimize import brentq
from theory_references import hard_tanh, mean_over_gaussian

from kernelregime._checks import InputError
from kernelregime.theory import chi, edge_of_chaos, edge_of_chaos_curve, fixed_points, phase, variance_map


@pytest.mark.parametrize(
    ("phi", "bias", "printed"),
    [
        ("tanh", 0.01, "1.424205"),
        ("tanh", 0.05, "1.760955"),
        ("tanh", 0.2, "2.285152"),
        ("erf", 0.05, "1.375839"),
        ("erf", 1.0, "2.718381"),
    ],
)
def test_the_edge_of_chaos_agrees_with_the_reference_to_all_printed_digits(phi, bias, printed):
    (found,) = edge_of_chaos(phi, sigma_b2=bias)
    assert f"{found:.6f}" == printed


def test_the_edge_of_tanh_at_unit_bias_variance_agrees_with_mpmath_where_201_hermite_nodes_miss_the_sixth_decimal():
    # 3.443210 in the literature's Gauss-Hermite rule; the integrals themselves give 3.44321091
    nodes, share = np.polynomial.hermite_e.hermegauss(201)
    share /= share.sum()

    def hermite(q):
        root = np.sqrt(q) * nodes
        weight = 1 / (share @ np.cosh(root) ** -4)
        return weight, q - weight * (share @ np.tanh(root) ** 2)

    q = brentq(lambda q: hermite(q)[1] - 1, 1, 6, xtol=1e-14)
    assert f"{hermite(q)[0]:.6f}" == "3.443210"

    def bias(q):
        square, slope = (mean_over_gaussian(f, q) for f in (lambda x: mpmath.tanh(x) ** 2, lambda x: mpmath.sech(x) ** 4))
        return q - square / slope

    q = brentq(lambda q: bias(q) - 1, 3.0, 3.1, xtol=1e-14)
    exact = 1 / mean_over_gaussian(lambda x: mpmath.sech(x) ** 4, q)
    np.testing.assert_allclose(edge_of_chaos("tanh", sigma_b2=1.0), [exact], rtol=1e-12)


@pytest.mark.parametrize("bias", [None, 0.0, 0.3])
def test_relu_is_at_the_edge_at_two_with_any_bias(bias):
    assert edge_of_chaos("relu", sigma_b2=bias) == (2.0,)


def test_without_bias_the_edge_is_where_the_slope_at_zero_is_one():
    np.testing.assert_allclose(edge_of_chaos("tanh"), [1.0], rtol=1e-14)
    np.testing.assert_allclose(edge_of_chaos("erf"), [math.pi / 4], rtol=1e-14)


@pytest.mark.parametrize("phi", ["tanh", "erf", hard_tanh(), jax.nn.silu, jax.nn.gelu])
@pytest.mark.parametrize("bias", [0.01, 0.3])
def test_every_value_has_a_fixed_point_at_which_chi_is_one(phi, bias):
    found = edge_of_chaos(phi, sigma_b2=bias)
    assert found
    for weight in found:
        slopes = [float(chi(phi, point.q, sigma_w2=weight)) for point in fixed_points(phi, sigma_w2=weight, sigma_b2=bias)]
        assert min(abs(slope - 1) for slope in slopes) < 1e-10


def test_the_branch_of_silu_at_an_unstable_fixed_point_is_found_but_is_not_critical_in_depth():
    (weight,) = edge_of_chaos(jax.nn.silu, sigma_b2=0.05)
    assert edge_of_chaos(jax.nn.silu, sigma_b2=0.05, stable=True) == ()
    critical = [
        p for p in fixed_points(jax.nn.silu, sigma_w2=weight, sigma_b2=0.05) if abs(chi(jax.nn.silu, p.q, sigma_w2=weight) - 1) < 1e-9
    ]
    assert [p.stable for p in critical] == [False]
    reached = phase(jax.nn.silu, sigma_w2=weight, sigma_b2=0.05, q1=0.9 * critical[0].q)
    assert reached.name == "ordered"
    assert edge_of_chaos(jax.nn.silu, sigma_b2=1.0, stable=True) == edge_of_chaos(jax.nn.silu, sigma_b2=1.0)


def test_at_zero_bias_tanh_attracts_and_gelu_repels():
    np.testing.assert_allclose(edge_of_chaos("tanh", stable=True), [1.0], rtol=1e-14)
    np.testing.assert_allclose(edge_of_chaos(jax.nn.gelu), [4.0], rtol=1e-14)
    assert edge_of_chaos(jax.nn.gelu, stable=True) == ()


@pytest.mark.parametrize("phi", ["tanh", hard_tanh(), jax.nn.gelu])
def test_the_curve_solves_both_equations_of_the_edge(phi):
    q, weight, bias = edge_of_chaos_curve(phi, np.geomspace(1e-3, 50, 30))
    assert q.size == 30
    assert (bias >= 0).all()
    for i in range(0, 30, 7):
        np.testing.assert_allclose(chi(phi, q[i], sigma_w2=weight[i]), 1, rtol=1e-12)
        np.testing.assert_allclose(variance_map(phi, q[i], sigma_w2=weight[i], sigma_b2=bias[i]), q[i], rtol=1e-12)


def test_the_curve_of_relu_is_one_point_and_variances_with_negative_bias_variance_are_left_out():
    q, weight, bias = edge_of_chaos_curve("relu", [0.1, 1.0, 10.0])
    np.testing.assert_allclose([weight, bias], [[2.0] * 3, [0.0] * 3], atol=1e-12)
    assert q.tolist() == [0.1, 1.0, 10.0]
    # φ = x²: E φ² = 3q², E φ'² = 4q
    square = edge_of_chaos_curve(lambda x: x * x, [0.5, 1.0])
    np.testing.assert_allclose([square.sigma_w2, square.sigma_b2], [[0.5, 0.25], [0.125, 0.25]], rtol=1e-12)
    stable = edge_of_chaos_curve(lambda x: x * x, [0.5, 1.0], stable=True)
    assert stable.q.size == 0  # the slope there is 3/2


@pytest.mark.parametrize("call", [
    lambda: edge_of_chaos("tanh", sigma_b2=-1.0),
    lambda: edge_of_chaos_curve("tanh", [0.0, 1.0]),
    lambda: edge_of_chaos_curve("tanh", 1.0),
])  # fmt: skip
def test_bad_input_is_refused_with_one_line(call):
    with pytest.raises(InputError, match=r"expected .*; got .*; .*"):
        call()
