"""Variances and covariances of activations and gradients, and the NTK they add up to, by other routes."""

import math

import numpy as np
import pytest

from kernelregime import infinite
from kernelregime._checks import InputError
from kernelregime.networks import mlp
from kernelregime.theory import ntk_factors, printed_ntk_factors, sample_ntk_matrix

RHO = np.array([-0.3, 0.0, 0.5, 1.0])


@pytest.mark.parametrize("activation", ["relu", "erf"])
def test_the_factors_add_up_to_the_infinite_width_ntk(activation):
    widths = (6, 9, 9, 9, 1)
    found = ntk_factors(activation, RHO, widths=widths, sigma_w2=1.7, sigma_b2=0.4)
    x = math.sqrt(6) * np.array([[1.0, 0, 0, 0, 0, 0], *([r, math.sqrt(1 - r * r), 0, 0, 0, 0] for r in RHO)])
    network = mlp(depth=4, width=9, activation=activation, sigma_w2=1.7, sigma_b2=0.4, parameterization="standard")
    grams = infinite.gram(network, x)
    own, pair = found.ntk
    np.testing.assert_allclose(own, grams.ntk[0, 0], rtol=1e-8)
    np.testing.assert_allclose(pair, grams.ntk[0, 1:], rtol=1e-8)
    np.testing.assert_allclose(found.q_pair[-1], grams.nngp[0, 1:], rtol=1e-8)
    np.testing.assert_allclose(pair[-1], own, rtol=1e-12)


def test_the_closed_forms_of_erf_hold_in_one_layer():
    weight, bias = 1.5, 0.2
    found = ntk_factors("erf", RHO, widths=(5, 5, 1), sigma_w2=weight, sigma_b2=bias)
    q, pair = weight + bias, weight * RHO + bias
    np.testing.assert_allclose(found.activated_pair[1], 2 / np.pi * np.arcsin(2 * pair / (1 + 2 * q)), rtol=1e-12)
    np.testing.assert_allclose(found.p_pair[0], weight * 4 / np.pi / np.sqrt((1 + 2 * q) ** 2 - 4 * pair**2), rtol=1e-12)


@pytest.mark.parametrize("activation", ["relu", "erf"])
def test_wide_networks_have_this_ntk_on_average(activation):
    width, draws, rho = 100, 400, 0.5
    widths = (width, width, width, 1)
    x = np.zeros((2, width))
    x[0, 0], x[1, :2] = 1, (rho, math.sqrt(1 - rho**2))
    drawn = sample_ntk_matrix(
        widths, activation, math.sqrt(width) * x, sigma_w2=1.5, sigma_b2=0.3, parameterization="standard", draws=draws, seed=0
    )
    own, pair = ntk_factors(activation, rho, widths=widths, sigma_w2=1.5, sigma_b2=0.3).ntk
    for theta, value in ((drawn.theta[:, 0, 0], own), (drawn.theta[:, 0, 1], pair)):
        assert abs(theta.mean() - value) <= 4 * theta.std(ddof=1) / math.sqrt(draws) + 2 / width * value  # + O(1/M), as the lemma has it


def test_kappas_are_the_ntk_without_biases_over_alpha_times_m():
    widths = (12, 6, 18, 1)
    found = ntk_factors("relu", 0.3, widths=widths, sigma_w2=2.0)
    alpha = (6 * 12 + 18 * 6) / 6**2
    n = np.array(widths[:-1])
    np.testing.assert_allclose(alpha * 6 * found.kappa1, np.sum(n * found.activated * found.p))
    np.testing.assert_allclose(alpha * 6 * found.kappa2, np.sum(n * found.activated_pair * found.p_pair))


@pytest.mark.parametrize("activation", ["relu", "erf"])
def test_the_printed_recursion_agrees_on_one_input_given_that_inputs_pass_through_phi(activation):
    printed = printed_ntk_factors(activation, 0.5, widths=(7, 7, 7, 7, 1), sigma_w2=1.3, sigma_b2=0.1)
    q = printed.q[0]  # from where the recursions are the same
    shifted = ntk_factors(activation, 0.5, widths=(7, 7, 7, 7, 1), sigma_w2=1.3, sigma_b2=0.1)
    assert abs(shifted.q[0] - q) > 0.1
    moment = q / 2 if activation == "relu" else 2 / math.pi * math.asin(2 * q / (1 + 2 * q))
    np.testing.assert_allclose(printed.q[1], 1.3 * moment + 0.1, rtol=1e-12)


def test_the_printed_pair_of_equal_inputs_is_not_the_diagonal():
    relu = printed_ntk_factors("relu", 1.0, widths=(7, 7, 7, 7, 1), sigma_w2=1.3, sigma_b2=0.1)
    np.testing.assert_allclose(relu.p_pair, relu.p)  # at c = 1 its misprint cannot be seen
    apart = printed_ntk_factors("relu", 0.5, widths=(7, 7, 7, 7, 1), sigma_w2=1.3, sigma_b2=0.1)
    assert apart.p_pair[0] > apart.p_pair[-1] * np.prod(apart.p_pair[:-1] / apart.p[1:])
    erf = printed_ntk_factors("erf", 1.0, widths=(7, 7, 7, 7, 1), sigma_w2=1.3, sigma_b2=0.1)
    assert abs(float(erf.q_pair[-1]) - erf.q[-1]) > 0.05


def test_bad_input_is_refused():
    for bad in ({"widths": (5, 1)}, {"widths": (5, 5, 2)}, {"correlation": 1.5}, {"sigma_w2": -1.0}):
        with pytest.raises(InputError):
            ntk_factors(**{"phi": "relu", "correlation": 0.5, "widths": (5, 5, 1), "sigma_w2": 2.0} | bad)
    with pytest.raises(InputError):
        printed_ntk_factors("tanh", 0.5, widths=(5, 5, 1), sigma_w2=2.0)
