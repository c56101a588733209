import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from theory_references import erf_maps, hard_tanh, relu_maps

from kernelregime import activations
from kernelregime._checks import InputError
from kernelregime.theory import (
    chi,
    correlation_fixed_point,
    correlation_map,
    depth_scale,
    fixed_points,
    variance_map,
    variances,
)


def by_quad(function, q):
    """E f(√q z) by SciPy's adaptive rule."""
    root = math.sqrt(q)
    return quad(
        lambda z: function(root * z) * math.exp(-z * z / 2) / math.sqrt(2 * math.pi), -12, 12, epsabs=1e-14, epsrel=1e-13, limit=200
    )[0]


@pytest.mark.parametrize("q", [0.2, 5.0])
def test_variance_map_and_chi_of_tanh_agree_with_adaptive_quadrature(q):
    expected = 1.7 * by_quad(lambda x: math.tanh(x) ** 2, q) + 0.3
    np.testing.assert_allclose(variance_map("tanh", q, sigma_w2=1.7, sigma_b2=0.3), expected, rtol=1e-12)
    np.testing.assert_allclose(chi("tanh", q, sigma_w2=1.7), 1.7 * by_quad(lambda x: math.cosh(x) ** -4, q), rtol=1e-12)


@pytest.mark.parametrize(("name", "maps"), [("relu", relu_maps), ("erf", erf_maps)])
def test_the_correlation_map_agrees_with_closed_forms(name, maps):
    q, weight, bias = 0.7, 1.6, 0.2
    c = np.array([-1.0, -0.7, 0.0, 0.4, 0.999, 1.0])
    expected = [(weight * maps(q, x)[0] + bias) / (weight * maps(q, 1.0)[0] + bias) for x in c]
    np.testing.assert_allclose(correlation_map(name, c, q=q, sigma_w2=weight, sigma_b2=bias), expected, atol=1e-14)


def test_chi_is_the_slope_of_the_correlation_map_at_one_at_a_fixed_point():
    (point,) = fixed_points("tanh", sigma_w2=2.5, sigma_b2=0.3)
    step = 1e-5
    # the map is smooth at c = 1 for smooth φ: a one-sided difference, extrapolated
    fine, coarse = ((1 - correlation_map("tanh", 1 - s, q=point.q, sigma_w2=2.5, sigma_b2=0.3)) / s for s in (step, 2 * step))
    np.testing.assert_allclose(2 * fine - coarse, chi("tanh", point.q, sigma_w2=2.5), rtol=1e-8)


def test_variances_iterate_the_variance_map_from_the_input():
    found = variances("tanh", 30.0, sigma_w2=1.3, sigma_b2=0.1, depth=6)
    assert found[0] == 30.0
    np.testing.assert_allclose(found[1:], variance_map("tanh", found[:-1], sigma_w2=1.3, sigma_b2=0.1), rtol=1e-14)


def test_an_input_scale_far_from_the_fixed_point_shows_in_chi_of_the_first_layers():
    deep = variances("tanh", 100.0, sigma_w2=1.760955, sigma_b2=0.05, depth=40)
    found = chi("tanh", deep, sigma_w2=1.760955)
    assert found[0] < 0.2
    np.testing.assert_allclose(found[-1], 1, atol=1e-5)


def test_relu_variances_have_the_closed_form_even_at_overflow_and_underflow():
    np.testing.assert_allclose(variances("relu", 3.0, sigma_w2=2.6, depth=1000), 3 * 1.3 ** np.arange(1000), rtol=1e-12)
    assert variances("relu", 3.0, sigma_w2=20.0, depth=2000)[-1] == math.inf
    assert variances("relu", 3.0, sigma_w2=0.02, depth=2000)[-1] == 0
    assert variances(jnp.exp, 1.0, sigma_w2=1.0, depth=9)[-1] == math.inf


def test_tanh_variances_below_the_smallest_scale_still_shrink_by_the_weight_variance():
    found = variances("tanh", 1e-28, sigma_w2=0.5, depth=60)
    np.testing.assert_allclose(found, 1e-28 * 0.5 ** np.arange(60), rtol=1e-12)


@pytest.mark.parametrize(
    ("phi", "weight", "bias"),
    [("tanh", 1.3, 0.2), ("tanh", 2.0, 0.0), ("erf", 3.0, 0.01), (jax.nn.gelu, 2.3, 0.0), (jax.nn.silu, 2.5, 0.05)],
)
def test_fixed_points_are_fixed_and_their_slope_is_the_rate_of_approach(phi, weight, bias):
    points = fixed_points(phi, sigma_w2=weight, sigma_b2=bias)
    for point in points:
        np.testing.assert_allclose(variance_map(phi, point.q, sigma_w2=weight, sigma_b2=bias), point.q, rtol=1e-12)
        if point.q > 0:
            step = 1e-5 * point.q
            ends = variance_map(phi, [point.q - step, point.q + step], sigma_w2=weight, sigma_b2=bias)
            np.testing.assert_allclose(point.slope, (ends[1] - ends[0]) / (2 * step), rtol=1e-7)


def test_gelu_has_a_stable_fixed_point_at_zero_and_an_unstable_one_above():
    zero, above = fixed_points(jax.nn.gelu, sigma_w2=2.3)
    assert (zero.q, zero.stable, above.stable) == (0, True, False)
    assert variances(jax.nn.gelu, above.q * 0.9, sigma_w2=2.3, depth=120)[-1] < 1e-3
    assert variances(jax.nn.gelu, above.q * 1.1, sigma_w2=2.3, depth=120)[-1] > 100


def test_the_fixed_point_of_a_clipped_ramp_is_found_below_the_kinks_and_above():
    for weight, bias in ((0.5, 1e-4), (9.0, 0.3)):
        (point,) = fixed_points(hard_tanh(), sigma_w2=weight, sigma_b2=bias)
        np.testing.assert_allclose(variances(hard_tanh(), 1.0, sigma_w2=weight, sigma_b2=bias, depth=60)[-1], point.q, rtol=1e-12)


def test_the_correlation_fixed_point_is_where_deep_layers_arrive_and_chi_there_is_the_rate():
    settings = {"sigma_w2": 9.0, "sigma_b2": 0.5}
    (point,) = fixed_points("tanh", **settings)
    c_star, slope = correlation_fixed_point("tanh", point.q, **settings)
    c, errors = np.array([0.9, 0.0]), []
    for _ in range(20):
        c = correlation_map("tanh", c, q=point.q, **settings)
        errors.append(np.abs(c - c_star))
    assert (np.diff(errors, axis=0) < 0).all()
    assert errors[-1].max() < 0.01
    ends = correlation_map("tanh", [c_star - 1e-5, c_star + 1e-5], q=point.q, **settings)
    np.testing.assert_allclose(ends.mean(), c_star, rtol=1e-9)
    np.testing.assert_allclose((ends[1] - ends[0]) / 2e-5, slope, rtol=1e-8)
    np.testing.assert_allclose(depth_scale(slope), -1 / math.log(slope), rtol=1e-15)


def test_the_correlation_fixed_point_agrees_with_the_closed_form_map_of_erf():
    weight, bias = 4.0, 0.2
    (point,) = fixed_points("erf", sigma_w2=weight, sigma_b2=bias)
    c_star, slope = correlation_fixed_point("erf", point.q, sigma_w2=weight, sigma_b2=bias)
    product, slopes = erf_maps(point.q, c_star)
    np.testing.assert_allclose([(weight * product + bias) / point.q, weight * slopes], [c_star, slope], rtol=1e-12)


def test_near_the_edge_of_chaos_the_gap_of_the_correlation_fixed_point_keeps_its_digits():
    # smooth φ: 1 - c* is proportional to χ₁ - 1 to leading order
    ratios = []
    for excess in (1e-3, 1e-4):
        weight = 1.7609546396067397 * (1 + excess)
        (point,) = fixed_points("tanh", sigma_w2=weight, sigma_b2=0.05)
        ratios.append(
            (1 - correlation_fixed_point("tanh", point.q, sigma_w2=weight, sigma_b2=0.05)[0]) / (chi("tanh", point.q, sigma_w2=weight) - 1)
        )
    np.testing.assert_allclose(ratios[0], ratios[1], rtol=2e-3)


@pytest.mark.parametrize("call", [
    lambda: variance_map("tanh", -1.0, sigma_w2=1.0),
    lambda: variance_map("tanh", 1.0, sigma_w2=-1.0),
    lambda: variance_map("tahn", 1.0, sigma_w2=1.0),
    lambda: correlation_map("tanh", 1.2, q=1.0, sigma_w2=1.0),
    lambda: correlation_map("tanh", 0.2, q=0.0, sigma_w2=1.0),
    lambda: variances("tanh", 1.0, sigma_w2=1.0, depth=0),
    lambda: variances("tanh", math.nan, sigma_w2=1.0, depth=3),
    lambda: chi("tanh", 1.0, sigma_w2=math.inf),
    lambda: correlation_map(activations.get(lambda x: jnp.maximum(x, 0.3)), 0.3, q=1.0, sigma_w2=1.0),
])  # fmt: skip
def test_bad_input_is_refused_with_one_line(call):
    with pytest.raises(InputError, match=r"expected .*; got .*; .*"):
        call()
