import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from theory_references import erf_maps, hard_tanh

from kernelregime._checks import InputError
from kernelregime.theory import chi, gaussian_moments, phase, phase_diagram, variances


@pytest.mark.parametrize(
    ("phi", "weight", "bias", "name"),
    [
        ("tanh", 1.3, 0.05, "ordered"),
        ("tanh", 1.760955, 0.05, "edge of chaos"),
        ("tanh", 2.3, 0.05, "chaotic"),
        ("erf", 1.375839, 0.05, "edge of chaos"),
        ("relu", 1.9, None, "ordered"),
        ("relu", 2.0, None, "edge of chaos"),
        ("relu", 2.1, None, "chaotic"),
        ("identity", 1.0, None, "edge of chaos"),
    ],
)
def test_the_phase_has_its_name(phi, weight, bias, name):
    assert phase(phi, sigma_w2=weight, sigma_b2=bias).name == name


@pytest.mark.parametrize(("phi", "weight", "bias"), [("tanh", 1.3, 0.05), ("tanh", 3.0, 0.05), ("erf", 2.0, 0.3), (hard_tanh(), 1.5, 0.1)])
def test_q_star_and_chi_are_those_of_a_deep_network_whatever_its_input(phi, weight, bias):
    for q1 in (0.01, 50.0):
        found = phase(phi, sigma_w2=weight, sigma_b2=bias, q1=q1)
        deep = variances(phi, q1, sigma_w2=weight, sigma_b2=bias, depth=100)
        np.testing.assert_allclose(found.q_star, deep[-1], rtol=1e-12)
        np.testing.assert_allclose(found.chi1, chi(phi, deep[-1], sigma_w2=weight), rtol=1e-12)
        assert found.status == "every variance converges to q*"
        assert found.error < 1e-12


def test_xi_q_is_the_rate_at_which_variances_approach_q_star():
    found = phase("tanh", sigma_w2=1.3, sigma_b2=0.05)
    errors = np.abs(variances("tanh", 1.0, sigma_w2=1.3, sigma_b2=0.05, depth=40) - found.q_star)
    np.testing.assert_allclose(-1 / math.log(errors[-1] / errors[-2]), found.xi_q, rtol=1e-4)


def test_erf_fixed_point_correlation_and_depth_scale_follow_the_closed_forms():
    found = phase("erf", sigma_w2=4.0, sigma_b2=0.2)
    product, slope = erf_maps(found.q_star, found.c_star)
    np.testing.assert_allclose((4 * product + 0.2) / found.q_star, found.c_star, rtol=1e-12)
    np.testing.assert_allclose(-1 / math.log(4 * slope), found.xi_c, rtol=1e-11)
    assert found.name == "chaotic"


def test_an_ordered_network_loses_correlations_at_rate_chi_and_the_edge_has_no_depth_scale():
    ordered, edge = phase("tanh", sigma_w2=1.3, sigma_b2=0.05), phase("tanh", sigma_w2=1.760955, sigma_b2=0.05)
    np.testing.assert_allclose(ordered.xi_c, -1 / math.log(ordered.chi1), rtol=1e-14)
    assert ordered.c_star == 1
    assert edge.xi_c == math.inf


def test_chaotic_tanh_without_bias_makes_every_pair_of_inputs_orthogonal():
    found = phase("tanh", sigma_w2=2.0)
    assert found.c_star == 0
    # E φ'(u)φ'(v) = (E φ')² at correlation zero
    z = np.linspace(-12, 12, 4001)
    mean = np.sum(np.cosh(math.sqrt(found.q_star) * z) ** -2.0 * np.exp(-z * z / 2)) / np.sum(np.exp(-z * z / 2))
    np.testing.assert_allclose(found.xi_c, -1 / math.log(2 * mean**2), rtol=1e-10)


def test_relu_with_a_bias_at_or_above_the_edge_says_that_the_variance_diverges():
    for weight, growth in ((2.0, "linearly"), (2.5, "exponentially")):
        found = phase("relu", sigma_w2=weight, sigma_b2=0.1)
        assert found.q_star == math.inf
        assert "diverges" in found.status
        assert growth in found.status
        assert (found.chi1, found.c_star) == (weight / 2, 1.0)


def test_bias_free_relu_keeps_every_variance_at_the_edge_and_loses_it_below():
    edge = phase("relu", sigma_w2=2.0, q1=0.37)
    assert (edge.q_star, edge.chi1, edge.c_star, edge.xi_q, edge.xi_c) == (0.37, 1.0, 1.0, math.inf, math.inf)
    assert "every variance is a fixed point" in edge.status
    below = phase("relu", sigma_w2=1.5)
    assert (below.q_star, below.chi1) == (0, 0.75)
    assert "vanishes" in below.status
    above = phase("relu", sigma_w2=math.sqrt(2) ** 2 + 0.5)
    assert above.q_star == math.inf
    assert phase("relu", sigma_w2=math.sqrt(2) ** 2).chi1 == 1


def test_ordered_relu_with_a_bias_has_its_closed_form():
    found = phase("relu", sigma_w2=1.5, sigma_b2=0.1)
    np.testing.assert_allclose([found.q_star, found.chi1, found.xi_c], [0.1 / 0.25, 0.75, -1 / math.log(0.75)], rtol=1e-14)


def test_tanh_without_bias_below_the_edge_vanishes_and_says_so():
    found = phase("tanh", sigma_w2=0.5)
    assert (found.q_star, found.chi1) == (0, 0.5)
    assert math.isnan(found.c_star)
    assert "vanishes" in found.status


def test_the_input_decides_between_the_fates_of_gelu():
    small, large = (phase(jax.nn.gelu, sigma_w2=2.3, q1=q1) for q1 in (1.0, 1.4))
    assert (small.q_star, small.name) == (0, "ordered")
    assert (large.q_star, large.name) == (math.inf, "chaotic")
    assert "diverges" in large.status
    np.testing.assert_allclose(large.chi1, 1.15, rtol=1e-3)  # φ' -> 1 on half the line


def test_the_input_decides_between_two_stable_fixed_points_and_the_status_lists_them():
    # φ = x/4 near zero and tanh(3x) beyond: a steep part between two flat ones
    phi = lambda x: 0.25 * x + jnp.tanh(x) ** 3  # noqa: E731
    small, large = (phase(phi, sigma_w2=3.2, sigma_b2=0.001, q1=q1) for q1 in (0.01, 10.0))
    assert small.q_star < 0.1 < large.q_star
    assert "2 stable fixed points" in large.status
    for found, q1 in ((small, 0.01), (large, 10.0)):
        np.testing.assert_allclose(variances(phi, q1, sigma_w2=3.2, sigma_b2=0.001, depth=60)[-1], found.q_star, rtol=1e-10)


@pytest.mark.parametrize("phi", [jnp.cos, lambda x: jnp.exp(-4 * x**2), lambda x: x * jnp.exp(-(x**2))])
def test_a_falling_variance_map_never_oscillates_and_is_followed_to_its_fixed_point(phi):
    q = np.geomspace(1e-3, 1e3, 13)
    moments = gaussian_moments(phi, q)
    usable = moments.error < 1e-6
    assert (moments.slope < 0).any()
    assert (q * moments.slope >= -0.5 * moments.second_moment - 1e-12)[usable].all()
    settings = {"sigma_w2": 30.0, "sigma_b2": 0.1}
    deep = variances(phi, 1.0, depth=60, **settings)
    np.testing.assert_allclose(phase(phi, **settings).q_star, deep[-1], rtol=1e-9)


def test_a_fixed_point_below_every_scale_is_still_found():
    found = phase("tanh", sigma_w2=0.5, sigma_b2=1e-40)
    np.testing.assert_allclose(found.q_star, 2e-40, rtol=1e-12)
    np.testing.assert_allclose(phase_diagram("tanh", [0.5], [1e-40]).q_star, 2e-40, rtol=1e-9)


def test_exponential_growth_diverges_or_converges_as_the_input_decides():
    assert phase(jnp.exp, sigma_w2=0.1, sigma_b2=0.1).q_star < 1
    assert phase(jnp.exp, sigma_w2=0.1, sigma_b2=0.1, q1=2.0).q_star == math.inf


@pytest.mark.parametrize(
    "arguments",
    [{"sigma_w2": -1.0}, {"sigma_w2": math.nan}, {"sigma_w2": 1.0, "sigma_b2": -0.1}, {"sigma_w2": 1.0, "q1": 0.0}],
)
def test_bad_variances_are_refused_with_one_line(arguments):
    with pytest.raises(InputError, match=r"expected .*; got .*; .*"):
        phase("tanh", **arguments)


def test_an_unknown_name_is_met_with_the_nearest_and_undeclared_kinks_with_advice():
    with pytest.raises(InputError, match="tanh"):
        phase("tahn", sigma_w2=1.0)
    with pytest.raises(InputError, match="declare its kinks"):
        phase(lambda x: jnp.maximum(x, 0.3), sigma_w2=1.0)
