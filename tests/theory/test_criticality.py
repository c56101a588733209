import math

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy.optimize import brentq
from theory_references import hard_tanh, mean_over_gaussian

from kernelregime._checks import InputError
from kernelregime.theory import chi, edge_of_chaos, edge_of_chaos_curve, fixed_points, phase, variance_map, variances


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
    found = edge_of_chaos(phi, sigma_b2=bias, stable=False)
    assert found
    for weight in found:
        slopes = [float(chi(phi, point.q, sigma_w2=weight)) for point in fixed_points(phi, sigma_w2=weight, sigma_b2=bias)]
        assert min(abs(slope - 1) for slope in slopes) < 1e-10


def test_the_branch_of_silu_at_an_unstable_fixed_point_is_found_but_is_not_critical_in_depth():
    (weight,) = edge_of_chaos(jax.nn.silu, sigma_b2=0.05, stable=False)
    assert edge_of_chaos(jax.nn.silu, sigma_b2=0.05) == ()
    critical = [
        p for p in fixed_points(jax.nn.silu, sigma_w2=weight, sigma_b2=0.05) if abs(chi(jax.nn.silu, p.q, sigma_w2=weight) - 1) < 1e-9
    ]
    assert [p.stable for p in critical] == [False]
    reached = phase(jax.nn.silu, sigma_w2=weight, sigma_b2=0.05, q1=0.9 * critical[0].q)
    assert reached.name == "ordered"
    assert edge_of_chaos(jax.nn.silu, sigma_b2=1.0, stable=False) == edge_of_chaos(jax.nn.silu, sigma_b2=1.0)


def test_at_zero_bias_tanh_attracts():
    np.testing.assert_allclose(edge_of_chaos("tanh"), [1.0], rtol=1e-14)
    np.testing.assert_allclose(edge_of_chaos(lambda x: jnp.tanh(1e5 * x)), [1e-10], rtol=1e-12)
    deep = variances("tanh", 1.0, sigma_w2=1.0, depth=2000)
    assert (np.diff(deep) < 0).all()
    np.testing.assert_allclose(deep[-1] * 2000, 0.5, rtol=1e-2)  # E tanh² = q - 2q² + …


@pytest.mark.parametrize(("name", "bend"), [("gelu", 6 / math.pi), ("silu", 0.75)])
def test_gelu_and_silu_without_bias_have_chi_one_at_zero_only_where_every_variance_leaves_zero(name, bend):
    assert edge_of_chaos(name) == ()
    np.testing.assert_allclose(edge_of_chaos(name, stable=False), [4.0], rtol=1e-14)
    small = np.array([1e-8, 1e-5, 1e-3])
    rise = variance_map(name, small, sigma_w2=4.0) / small - 1
    np.testing.assert_allclose(rise, bend * small, rtol=2e-3, atol=1e-14)  # 4 E φ² = q + bend q² + …
    for q1 in (1e-2, 1.0, 10.0):
        deep = variances(name, q1, sigma_w2=4.0, depth=40)
        assert (np.diff(deep) > 0).all()
        assert phase(name, sigma_w2=4.0, q1=q1).q_star == math.inf
    # just below, variances of order one diverge all the same; those that vanish are below a fixed point that repels, with χ₁ < 1
    zero, other = fixed_points(name, sigma_w2=3.9)
    assert (zero.stable, other.stable) == (True, False)
    assert other.q < 0.05
    assert phase(name, sigma_w2=3.9, q1=0.9 * other.q).chi1 == pytest.approx(3.9 / 4)
    assert phase(name, sigma_w2=3.9, q1=1.1 * other.q).q_star == math.inf


@pytest.mark.parametrize("name", ["gelu", "silu", "tanh", "erf"])
@pytest.mark.parametrize("bias", [0.05, 0.3, 1.0])
def test_a_deep_network_on_the_edge_is_critical(name, bias):
    for weight in edge_of_chaos(name, sigma_b2=bias):
        found = phase(name, sigma_w2=weight, sigma_b2=bias)
        assert found.name == "edge of chaos"
        np.testing.assert_allclose(found.chi1, 1, rtol=1e-9)
    assert (edge_of_chaos(name, sigma_b2=bias) == ()) == (bias < {"gelu": 0.2, "silu": 0.6}.get(name, 0))


@pytest.mark.parametrize(("phi", "kept"), [("tanh", 30), (hard_tanh(), 30), (jax.nn.gelu, 8)])
def test_the_curve_solves_both_equations_of_the_edge(phi, kept):
    assert edge_of_chaos_curve(phi, np.geomspace(1e-3, 50, 30)).q.size == kept
    q, weight, bias = edge_of_chaos_curve(phi, np.geomspace(1e-3, 50, 30), stable=False)
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
    square = edge_of_chaos_curve(lambda x: x * x, [0.5, 1.0], stable=False)
    np.testing.assert_allclose([square.sigma_w2, square.sigma_b2], [[0.5, 0.25], [0.125, 0.25]], rtol=1e-12)
    stable = edge_of_chaos_curve(lambda x: x * x, [0.5, 1.0])
    assert stable.q.size == 0  # the slope there is 3/2


@pytest.mark.parametrize("call", [
    lambda: edge_of_chaos("tanh", sigma_b2=-1.0),
    lambda: edge_of_chaos_curve("tanh", [0.0, 1.0]),
    lambda: edge_of_chaos_curve("tanh", 1.0),
])  # fmt: skip
def test_bad_input_is_refused_with_one_line(call):
    with pytest.raises(InputError, match=r"expected .*; got .*; .*"):
        call()
