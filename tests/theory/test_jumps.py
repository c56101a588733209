"""Nonlinearities that jump: where they do, and what it means for correlations."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq

from kernelregime import activations
from kernelregime.theory import (
    chi,
    correlation_map,
    edge_of_chaos,
    edge_of_chaos_curve,
    fixed_points,
    gaussian_moments,
    phase,
    phase_diagram,
    variances,
)
from kernelregime.theory.jumps import jumps
from kernelregime.theory.pairs import PairRule

STEP = activations.get("rectified_monomial", degree=0)
MIXED = activations.get(lambda x: jnp.where(x > 0.4, 1.5, -0.5) + 0.3 * jnp.tanh(x) + jnp.abs(x + 1), kinks=(0.4, -1.0))
BEYOND = activations.get(lambda x: jnp.clip(x, -1, 1) + jnp.where(x > 8, 1.0, 0.0), kinks=(-1.0, 1.0, 8.0))


@pytest.mark.parametrize(
    ("function", "kinks", "heights"),
    [
        (jnp.sign, (0.0,), [2]),
        (lambda x: jnp.where(x >= 0, 1.0, 0.0), (0.0,), [1]),
        (lambda x: jnp.where(x > 0.3, 1.0, -1.0) + x, (0.3,), [2]),
        (lambda x: jnp.where(x > np.float32(0.3), 1.0, -1.0), (0.3,), [2]),
        (lambda x: jnp.sign(10 * x - 3), (0.3,), [2]),
        (lambda x: jnp.where(1 + x > 1, 1.0, 0.0), (0.0,), [1]),
        (lambda x: 1e-8 * jnp.sign(x - 1e-9) + 1e-3 * x, (1e-9,), [2e-8]),
        (lambda x: jnp.sign(x - 1e9) + 1e-9 * x, (1e9,), [2]),
        (lambda x: jnp.sign(x - 1) + jnp.sign(x - 1 - 1e-12), (1.0, 1 + 1e-12), [2, 2]),
        (lambda x: jnp.round(jnp.clip(x, -2, 2)), (-1.5, -0.5, 0.5, 1.5), [1, 1, 1, 1]),
        (lambda x: jnp.where(x > 2, 3.0, jnp.abs(x)), (0.0, 2.0), [1]),
    ],
)
def test_a_jump_is_found_at_any_place_and_scale(function, kinks, heights):
    found = jumps(activations.get(function, kinks=kinks))
    np.testing.assert_allclose(found.above - found.below, heights, rtol=1e-6)
    np.testing.assert_allclose(found.squares, np.square(heights), rtol=1e-6)


@pytest.mark.parametrize("name", [name for name, kind in activations.REGISTRY.items() if kind.kinks and kind.finite and name != "sign"])
def test_no_registered_activation_but_sign_jumps(name):
    assert jumps(activations.get(name)).at.size == 0


@pytest.mark.parametrize(
    ("function", "kinks"),
    [
        (lambda x: jnp.where(x > np.float32(0.3), x - 0.3, 0.0), (0.3,)),
        (lambda x: jnp.where(1 + x > 1, x, 0.0), (0.0,)),
        (lambda x: jnp.tanh(1e6 * x), (0.0,)),
        (lambda x: jnp.maximum(x.astype(jnp.float32) - 0.3, 0) + 1.0, (0.3,)),
        (lambda x: 100 + jnp.maximum(x - 1e-6, 0), (1e-6,)),
        (lambda x: jnp.zeros_like(x), (0.0,)),
    ],
)
def test_rounding_and_steep_ramps_are_no_jumps(function, kinks):
    assert jumps(activations.get(function, kinks=kinks)).at.size == 0


def test_sign_without_bias_is_chaotic_and_follows_the_arcsine():
    found = phase("sign", sigma_w2=1.5)
    assert (found.name, found.chi1, found.c_star) == ("chaotic", math.inf, 0)
    np.testing.assert_allclose([found.q_star, found.xi_c], [1.5, -1 / math.log(2 / math.pi)], rtol=1e-12)
    assert "φ jumps" in found.status
    c = np.array([0.0, 0.5, 1 - 1e-6, 1 - 1e-14, 1])
    np.testing.assert_allclose(correlation_map("sign", c, q=1.5, sigma_w2=1.5), 2 / math.pi * np.arcsin(c), atol=1e-14)


def test_zero_is_a_fixed_point_of_sign_that_every_variance_leaves():
    zero, other = fixed_points("sign", sigma_w2=1.5)
    assert (zero.q, zero.slope, zero.stable, other.stable) == (0, math.inf, False, True)
    assert phase("sign", sigma_w2=1.5, q1=1e-20).q_star == pytest.approx(1.5, rel=1e-12)
    assert "stable fixed points" not in phase("sign", sigma_w2=1.5).status
    assert phase("sign", sigma_w2=0.0).chi1 == 0


def test_a_step_without_bias_has_the_fixed_point_of_its_angle():
    found = phase(STEP, sigma_w2=1.5)
    angle = brentq(lambda t: math.cos(t) - 1 + t / math.pi, 0.1, 1.5, xtol=1e-15)  # c' = 1 - θ/π
    expected = [0.75, math.cos(angle), -1 / math.log(1 / (math.pi * math.sin(angle)))]
    np.testing.assert_allclose([found.q_star, found.c_star, found.xi_c], expected, rtol=1e-11)
    assert found.name == "chaotic"


@pytest.mark.parametrize(
    ("phi", "weight", "bias"), [("sign", 1.5, 0.3), ("sign", 0.01, 5.0), (STEP, 0.3, 2.0), (MIXED, 0.3, 2.0), (MIXED, 0.9, None)]
)
def test_c_star_and_xi_c_are_those_of_the_iterated_correlation_map(phi, weight, bias):
    found = phase(phi, sigma_w2=weight, sigma_b2=bias)
    step = 0.2 * (1 - found.c_star)
    c, layers = found.c_star + step, 12
    for _ in range(layers):
        c = float(correlation_map(phi, c, q=found.q_star, sigma_w2=weight, sigma_b2=bias))
    assert (found.name, found.chi1) == ("chaotic", math.inf)
    assert abs(c - found.c_star) < 1.5 * step * math.exp(-layers / found.xi_c)
    # a central difference of sixth order
    around = correlation_map(phi, found.c_star + 0.1 * step * np.arange(-3, 4), q=found.q_star, sigma_w2=weight, sigma_b2=bias)
    slope = around @ np.array([-1, 9, -45, 0, 45, -9, 1]) / 60 / (0.1 * step)
    np.testing.assert_allclose(found.xi_c, -1 / math.log(slope), rtol=1e-7)


def test_a_wide_network_of_signs_tears_near_inputs_apart():
    width, depth = 2000, 8
    keys = jax.random.split(jax.random.key(0), depth)
    h = jax.random.normal(jax.random.key(1), (width,))
    pair = jnp.stack([h, h + 1e-2 * jax.random.normal(jax.random.key(2), (width,))])
    for key in keys:
        pair = jnp.sign(pair) @ jax.random.normal(key, (width, width)).T * math.sqrt(1.5 / width)
    found = float(pair[0] @ pair[1] / jnp.linalg.norm(pair[0]) / jnp.linalg.norm(pair[1]))
    expected = 1 - 1e-4 / 2
    for _ in range(depth):
        expected = 2 / math.pi * math.asin(expected)
    assert abs(found - expected) < 4 / math.sqrt(width)


@pytest.mark.parametrize("phi", ["sign", STEP, MIXED])
def test_the_slope_of_the_pair_is_the_derivative_of_its_difference_at_every_gap(phi):
    phi = activations.get(phi)
    q = 1.7
    rule = PairRule.choose(phi, q)
    for gap in (0.7, 1e-3, 1e-9, 1e-14, 1e-40):
        steps = gap * (1 + 0.01 * np.arange(-3, 4))
        difference = np.array([rule.moments(q, step).difference for step in steps])
        slope = difference @ np.array([-1, 9, -45, 0, 45, -9, 1]) / 60 / (0.01 * gap)
        np.testing.assert_allclose(rule.slope(q, gap), slope / q, rtol=1e-7)
    assert rule.slope(q, 0.0) == math.inf


def test_the_slope_of_the_second_moment_holds_the_jumps():
    q, step = np.array([0.3, 2.0, 20.0]), 1e-5
    high, low = (gaussian_moments(MIXED, q * (1 + sign * step)).second_moment for sign in (1, -1))
    np.testing.assert_allclose(gaussian_moments(MIXED, q).slope, (high - low) / (2 * step * q), rtol=1e-7)


@pytest.mark.parametrize("phi", ["sign", STEP, MIXED])
@pytest.mark.parametrize("bias", [None, 0.3])
def test_a_jumping_nonlinearity_has_no_edge_of_chaos(phi, bias):
    assert edge_of_chaos(phi, sigma_b2=bias) == ()
    assert edge_of_chaos_curve(phi).q.size == 0


def test_the_diagram_agrees_with_the_phases_and_no_weights_mean_no_chaos():
    weights, biases = np.array([0.0, 0.5, 1.5]), np.array([0.0, 0.3])
    found = phase_diagram(MIXED, weights, biases)
    each = [[phase(MIXED, sigma_w2=weight, sigma_b2=bias) for bias in biases] for weight in weights]
    np.testing.assert_array_equal(found.chi1, [[one.chi1 for one in row] for row in each])
    np.testing.assert_allclose(found.q_star, [[one.q_star for one in row] for row in each], rtol=1e-10)
    assert found.chi1.tolist() == [[0, 0], [math.inf] * 2, [math.inf] * 2]


def test_chi_of_backpropagation_takes_the_derivative_where_it_exists():
    assert chi("sign", [0.0, 1.0], sigma_w2=2.0).tolist() == [math.inf, math.inf]
    assert chi("sign", 1.0, sigma_w2=2.0, backpropagated=True) == 0
    np.testing.assert_allclose(chi(MIXED, 0.7, sigma_w2=2.0, backpropagated=True), 2 * gaussian_moments(MIXED, 0.7).derivative)


def test_a_jump_that_no_signal_reaches_changes_nothing():
    assert phase(BEYOND, sigma_w2=0.5).chi1 == pytest.approx(0.5, rel=1e-12)
    np.testing.assert_allclose(edge_of_chaos(BEYOND), [1.0], rtol=1e-12)
    near = phase(BEYOND, sigma_w2=0.9, sigma_b2=0.05)
    assert (near.name, near.c_star) == ("ordered", 1)
    np.testing.assert_allclose(near.chi1, phase("hard_tanh", sigma_w2=0.9, sigma_b2=0.05).chi1, rtol=1e-10)


def test_a_jump_in_the_tails_parts_inputs_by_what_floats_cannot_tell_from_nothing():
    found = phase(BEYOND, sigma_w2=0.9, sigma_b2=0.2)
    assert (found.name, found.chi1) == ("chaotic", math.inf)
    smooth = phase("hard_tanh", sigma_w2=0.9, sigma_b2=0.2)
    # u' = a √u + χ u rests at u* = (a/(1 - χ))², where its slope is (1 + χ)/2
    np.testing.assert_allclose(found.xi_c, -1 / math.log((1 + smooth.chi1) / 2), rtol=1e-4)
    assert found.c_star == 1


def test_variances_of_a_step_off_the_origin_settle_where_the_phase_says():
    found = phase(MIXED, sigma_w2=0.5, sigma_b2=0.3)
    deep = variances(MIXED, 1.0, sigma_w2=0.5, sigma_b2=0.3, depth=200)
    np.testing.assert_allclose(deep[-1], found.q_star, rtol=1e-10)
    rate = (deep[11] - found.q_star) / (deep[10] - found.q_star)
    np.testing.assert_allclose(found.xi_q, -1 / math.log(rate), rtol=1e-2)
