"""Piecewise linear activations with kinks anywhere, against integrals over one Gaussian of the conditional mean of the other."""

import math

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

from kernelregime.activations import from_function


def shrink(x):
    return jnp.sign(x) * jnp.maximum(jnp.abs(x) - 0.3, 0)


# φ, its kinks, and its slopes and values at 0 of the lines between them
CASES = {
    "hard_tanh": (jax.nn.hard_tanh, (-1.0, 1.0), ((0, -1), (1, 0), (0, 1))),
    "relu6": (jax.nn.relu6, (0.0, 6.0), ((0, 0), (1, 0), (0, 6))),
    "soft shrink": (shrink, (-0.3, 0.3), ((1, mp.mpf(0.3)), (0, 0), (1, -mp.mpf(0.3)))),
    "shifted relu": (lambda x: 1 + jax.nn.relu(x), (0.0,), ((0, 1), (1, 1))),
    "three kinks": (lambda x: jnp.clip(x, -1, 1) + 2 * jax.nn.relu(x), (-1.0, 0.0, 1.0), ((0, -1), (1, 0), (3, 0), (2, 1))),
}
ANGLES = (1e-6, 0.9, np.pi - 1e-2)
VARIANCES = ((1.0, 1.001), (0.02, 900.0))


def piece(x, kinks, lines):
    return lines[sum(x > k for k in kinks)]


def conditional(kinks, lines, mean, deviation):
    """E φ and E φ' of a Gaussian, in closed form."""
    ends = [(k - mean) / deviation for k in kinks]
    below, density = [0, *map(mp.ncdf, ends), 1], [0, *map(mp.npdf, ends), 0]
    value = slope = mp.mpf(0)
    for i, (tilt, level) in enumerate(lines):
        mass = below[i + 1] - below[i]
        slope += tilt * mass
        value += (level + tilt * mean) * mass + tilt * deviation * (density[i] - density[i + 1])
    return value, slope


def expected(kinks, lines, a, b, angle):
    """E φ(u)φ(v) and E φ'(u)φ'(v), by nodes over u."""
    root_a, root_b, cos, sin = mp.sqrt(a), mp.sqrt(b), mp.cos(angle), mp.sin(angle)
    edges = {k / root_a for k in kinks}
    for k in kinks:  # where the conditional mean bends
        edges |= {(k / root_b + t * sin) / cos for t in (-11, -3, 0, 3, 11)}

    def integrand(z):
        tilt, level = piece(root_a * z, kinks, lines)
        value, slope = conditional(kinks, lines, cos * root_b * z, sin * root_b)
        return mp.npdf(z) * mp.mpc((level + tilt * root_a * z) * value, tilt * slope)

    both = mp.quad(integrand, [-11, *sorted(e for e in edges if abs(e) < 11), 11], maxdegree=5)
    return both.real, both.imag


def moment(kinks, lines, q):
    def integrand(z):
        tilt, level = piece(mp.sqrt(q) * z, kinks, lines)
        return mp.npdf(z) * (level + tilt * mp.sqrt(q) * z) ** 2

    return mp.quad(integrand, [-11, *(k / mp.sqrt(q) for k in kinks if abs(k) < 11 * mp.sqrt(q)), 11])


@pytest.mark.parametrize("name", CASES)
def test_values_and_slopes_are_those_of_high_precision(name):
    function, kinks, lines = CASES[name]
    phi, t = from_function(function, kinks=kinks), np.array(ANGLES)
    with jax.enable_x64(True), mp.workdps(27):
        for a, b in VARIANCES:
            w, v = (jnp.asarray(2 * half**2) for half in (np.sin(t / 2), np.cos(t / 2)))
            found = phi.dual(jnp.full(3, a), jnp.full(3, b), w, v)
            moments = [moment(kinks, lines, q) for q in (a, b)]
            np.testing.assert_allclose(phi.second_moment(jnp.asarray([a, b])), np.array(moments, float), rtol=2e-14)
            for i, angle in enumerate(ANGLES):
                value, slope = expected(kinks, lines, a, b, mp.mpf(angle))
                rho = value / mp.sqrt(moments[0] * moments[1])
                at = f"variances {a}, {b}, angle {angle}"
                np.testing.assert_allclose(float(found.one_minus[i]), float(1 - rho), rtol=1e-10, atol=2e-15, err_msg=at)
                np.testing.assert_allclose(float(found.one_plus[i]), float(1 + rho), rtol=1e-10, atol=2e-15, err_msg=at)
                np.testing.assert_allclose(float(found.derivative[i]), float(slope), rtol=1e-13, atol=1e-14, err_msg=at)


def test_a_pair_at_a_small_angle_loses_no_digit():
    """1 - ρ' = a E φ'²(1 - cos θ)/E φ² - ... of two points of one length; the next term is of relative order θ."""
    phi = from_function(jax.nn.hard_tanh, kinks=(-1.0, 1.0))
    with jax.enable_x64(True):
        for angle in (1e-3, 1e-5, 1e-8):
            w, one = jnp.asarray([2 * np.sin(angle / 2) ** 2]), jnp.ones(1)
            found = phi.dual(one, one, w, 2 - w)
            slope, density = math.erf(math.sqrt(0.5)), math.exp(-0.5) / math.sqrt(2 * math.pi)
            # ∫_0^θ g(t)(cos t - cos θ) dt with the density g of two units at one kink, 2 (2π)^-1 exp(-1/2) at t = 0
            lost = 2 * math.exp(-0.5) / (2 * math.pi) * angle**3 / 3
            value = (slope * float(w[0]) - lost) / (slope + 1 - slope - 2 * density)
            assert abs(float(found.one_minus[0]) - value) <= (angle**2 + 1e-13) * value
            assert abs(float(found.derivative[0]) - (slope - math.exp(-0.5) / math.pi * angle)) <= angle**2 + 1e-15


@pytest.mark.parametrize("function", [jax.nn.hard_swish, lambda x: jnp.where(x > 1, x, 0), jnp.tanh])
def test_what_is_not_continuous_or_not_linear_between_its_kinks_keeps_the_rule(function):
    phi = from_function(function, kinks=(-3.0, 1.0, 3.0))
    one = jnp.ones(1)
    assert float(phi.dual(one, one, one, one).error) > 0


def test_a_ramp_that_ends_far_away_is_not_homogeneous():
    assert not from_function(lambda x: jnp.clip(x, 0, 20), kinks=(0.0, 20.0)).homogeneous
    assert not from_function(lambda x: jnp.clip(x, 0, 20)).homogeneous
