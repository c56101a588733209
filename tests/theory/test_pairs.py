import jax.numpy as jnp
import numpy as np
import pytest
from theory_references import erf_pair, hard_tanh, hard_tanh_pair, relu_pair

from kernelregime import activations
from kernelregime.theory.gaussian import gaussian_moments
from kernelregime.theory.pairs import PairRule

GAPS = (2.0, 2 - 1e-7, 1.6, 1.0, 0.3, 1e-3, 1e-8, 1e-11, 1e-13, 1e-20, 1e-60)


def moments(phi, q, gap):
    found = PairRule.choose(phi, q).moments(q, gap)
    return found.difference, found.derivative, found.derivative_difference


@pytest.mark.parametrize("q", [0.01, 1.0, 20.0])
@pytest.mark.parametrize(("name", "exact"), [("erf", erf_pair), ("relu", relu_pair)])
def test_pair_moments_agree_with_closed_forms_to_relative_accuracy_at_every_gap(name, exact, q):
    phi = activations.get(name)
    rule = PairRule.choose(phi, q)
    for gap in GAPS:
        found, expected = rule.moments(q, gap), exact(q, gap)
        np.testing.assert_allclose([found.difference, found.derivative], expected[:2], rtol=1e-12, atol=1e-15, err_msg=f"gap {gap}")
        np.testing.assert_allclose(found.derivative_difference, expected[2], rtol=1e-9, err_msg=f"gap {gap}")


@pytest.mark.parametrize("q", [0.3, 2.0, 30.0])
@pytest.mark.parametrize("c", [0.95, 0.2, -0.6])
def test_pair_moments_with_two_kinks_agree_with_conditional_means(q, c):
    phi = hard_tanh()
    difference, derivative, apart = moments(phi, q, 1 - c)
    product, slopes = hard_tanh_pair(q, c)
    one = gaussian_moments(phi, q)
    np.testing.assert_allclose(float(one.second_moment) - difference, product, atol=1e-12)
    np.testing.assert_allclose([derivative, float(one.derivative) - apart], slopes, atol=1e-12)


@pytest.mark.parametrize("phi", [activations.get("tanh"), activations.get("relu"), hard_tanh()])
def test_the_derivative_of_the_difference_is_q_times_the_product_of_slopes(phi):
    q, gap, step = 1.7, 0.4, 1e-4
    high, low = moments(phi, q, gap + step)[0], moments(phi, q, gap - step)[0]
    np.testing.assert_allclose((high - low) / (2 * step), q * moments(phi, q, gap)[1], rtol=1e-8)


@pytest.mark.parametrize("phi", [activations.get("tanh"), activations.get("relu"), hard_tanh()])
def test_the_expansion_at_small_gaps_joins_the_rule(phi):
    q = 0.8
    power = 0.5 if phi.kinks else 1.0
    above, below = (np.divide(moments(phi, q, x * 1e-12), [x, 1, x**power]) for x in (1 + 1e-6, 1 - 1e-6))
    np.testing.assert_allclose(above, below, rtol=1e-9)


def test_a_function_with_undeclared_kinks_has_a_large_error_estimate():
    assert PairRule.choose(activations.get(lambda x: jnp.maximum(x, 0.3)), 1.0).error > 1e-6
