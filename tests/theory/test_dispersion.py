import math
from fractions import Fraction

import numpy as np
import pytest
from theory_references import exact_moments, sampled_ntk

from kernelregime._checks import InputError
from kernelregime.theory import ntk_moments, width_for_dispersion

CASES = {"ntk": (False, None), "standard without biases": (True, None), "standard with zero biases": (True, 0.0)}


def arguments(case):
    standard, bias = CASES[case]
    return {"parameterization": "standard" if standard else "ntk", "sigma_b2": bias}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("a", ["1/3", "97/100", "1", "51/50", "2"])
@pytest.mark.parametrize("widths", [(8, 3, 2, 11, 4, 1), (3, *[6] * 9, 1), (5, 1)])
def test_the_recursion_agrees_with_the_double_sum_over_layers_in_exact_fractions(widths, a, case):
    standard, bias = CASES[case]
    mean, second = exact_moments(widths, Fraction(a), standard=standard, biases=bias is not None, input_norm2=Fraction(17, 10))
    found = ntk_moments(widths, sigma_w2=float(2 * Fraction(a)), input_norm2=1.7, **arguments(case))
    expected = [float(mean), float(second), float(second / mean**2)]
    np.testing.assert_allclose([found.mean, found.second, found.dispersion], expected, rtol=1e-12)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("widths", "sigma_w2"), [((8, 16, 16, 16, 1), 2.0), ((4, 12, 6, 9, 1), 1.4), ((3, 5, 7, 1), 3.0)])
def test_moments_agree_with_dense_networks_within_four_standard_errors(widths, sigma_w2, case):
    standard, bias = CASES[case]
    draws = sampled_ntk(widths, sigma_w2, 24000, standard=standard, biases=bias is not None, seed=11)
    found = ntk_moments(widths, sigma_w2=sigma_w2, **arguments(case))
    for power, exact in ((1, found.mean), (2, found.second)):
        values = draws**power
        assert abs(values.mean() - exact) <= 4 * values.std(ddof=1) / math.sqrt(values.size)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("widths", "sigma_w2"), [((8, 16, 16, 16, 10), 2.0), ((4, 12, 6, 9, 5), 1.4), ((3, 5, 7, 4), 3.0)])
def test_the_mean_over_outputs_has_the_moments_of_dense_networks(widths, sigma_w2, case):
    standard, bias = CASES[case]
    draws = sampled_ntk(widths, sigma_w2, 40000, standard=standard, biases=bias is not None, seed=12)
    found, one = (ntk_moments(widths, sigma_w2=sigma_w2, outputs=outputs, **arguments(case)) for outputs in ("mean", "one"))
    assert found.log_mean == one.log_mean
    sem = np.std(draws**2, ddof=1) / math.sqrt(draws.size)
    assert abs(np.mean(draws**2) - found.second) <= 4 * sem
    assert abs(np.mean(draws**2) - one.second) > 4 * sem  # which varies more


def test_the_mean_over_one_output_is_that_output_and_over_many_of_a_deep_network_is_finite():
    net = {"sigma_w2": 2.0, "sigma_b2": 0.0, "parameterization": "standard"}
    assert ntk_moments((3, *[6] * 9, 1), outputs="mean", **net) == ntk_moments((3, *[6] * 9, 1), **net)
    deep, one = (ntk_moments((10, *[50] * 20_000, 7), outputs=outputs, **net).log_dispersion for outputs in ("mean", "one"))
    assert one - math.log(7) < deep < one  # the mean of 7 has at least a seventh of the second moment


def test_layers_without_an_active_unit_are_counted_as_dense_networks_show():
    widths, exact = (2, 2, 2, 2, 1), ntk_moments((2, 2, 2, 2, 1), sigma_w2=2.0, sigma_b2=0.0, parameterization="standard")
    draws = sampled_ntk(widths, 2.0, 200000, standard=True, biases=True, seed=5, chunk=50000)
    sem = draws.std(ddof=1) / math.sqrt(draws.size)
    assert abs(draws.mean() - exact.mean) <= 4 * sem
    assert abs(np.mean(draws**2) - exact.second) <= 4 * np.std(draws**2, ddof=1) / math.sqrt(draws.size)
    # Σ_l n_{l-1}/n_0 + L, which ignores them, is refuted
    assert abs(draws.mean() - 8) > 4 * sem


@pytest.mark.parametrize(("parameterization", "printed"), [("ntk", "1.7952"), ("standard", "1.8262")])
def test_the_dispersion_of_the_small_network_agrees_with_the_reference(parameterization, printed):
    found = ntk_moments((8, 16, 16, 16, 1), sigma_w2=2.0, parameterization=parameterization)
    assert f"{found.dispersion:.4f}" == printed


@pytest.mark.parametrize(("widths", "printed"), [((5,) * 6 + (1,), "635.5"), ((8, *[16] * 7, 1), "1016.2")])
def test_second_moments_agree_with_the_reference(widths, printed):
    assert f"{ntk_moments(widths, sigma_w2=2.0, parameterization='standard').second:.1f}" == printed


def test_the_dispersion_without_biases_depends_neither_on_the_weight_variance_nor_on_the_input_nor_on_the_outputs():
    found = [
        ntk_moments((8, 20, 30, outputs), sigma_w2=weight, input_norm2=norm, parameterization=parameterization).dispersion
        for parameterization in ("ntk", "standard")
        for weight, norm, outputs in ((2.0, 1.0, 1), (0.3, 7.0, 1), (5.0, 0.1, 10))
    ]
    np.testing.assert_allclose(found[:3], found[0], rtol=1e-13)
    np.testing.assert_allclose(found[3:], found[3], rtol=1e-13)


def test_zero_biases_add_nothing_in_the_ntk_parameterization():
    with_biases, without = (ntk_moments((4, 9, 9, 1), sigma_w2=1.5, sigma_b2=bias) for bias in (0.0, None))
    assert with_biases == without


def test_a_network_without_hidden_layers_has_a_deterministic_kernel():
    found = ntk_moments((7, 1), sigma_w2=2.0, input_norm2=3.0)
    np.testing.assert_allclose([found.mean, found.dispersion], [2 * 3 / 7, 1], rtol=1e-15)
    assert found.coefficient_of_variation == 0


def constant_width_log_dispersion(width, depth):
    """Without biases and with equal terms: Σ over pairs at distance d of X^{L-1}[1/3 + 2/3·((1-1/n)/(1+5/n))^d]/L²."""
    d = np.arange(1, depth)
    ties = 1 / 3 + 2 / 3 * np.exp(d * (math.log1p(-1 / width) - math.log1p(5 / width)))
    return (depth - 1) * math.log1p(5 / width) + math.log((depth + 2 * np.sum((depth - d) * ties)) / depth**2)


@pytest.mark.parametrize("depth", [2, 30, 100_000])
def test_a_depth_of_a_hundred_thousand_does_not_overflow_and_agrees_with_the_closed_form(depth):
    found = ntk_moments((100,) * depth + (1,), sigma_w2=2.0)
    np.testing.assert_allclose(found.log_dispersion, constant_width_log_dispersion(100, depth), rtol=1e-12)
    np.testing.assert_allclose(found.log_mean, math.log(2 * depth / 100), rtol=1e-12)


@pytest.mark.parametrize("sigma_w2", [0.5, 1.9999, 2.0, 2.0001, 8.0])
def test_deep_networks_with_zero_biases_stay_finite_in_logarithms_in_every_phase(sigma_w2):
    found = ntk_moments((60,) * 20_000 + (1,), sigma_w2=sigma_w2, sigma_b2=0.0, parameterization="standard")
    np.testing.assert_allclose(found.log_second - 2 * found.log_mean, found.log_dispersion, rtol=1e-9, atol=1e-9)
    assert found.log_dispersion >= 0
    if sigma_w2 == 0.5:
        # Θ_b is then Σ_l a^{L-l} almost surely; its fluctuations are of order 5/n
        assert found.dispersion < 1.1
        np.testing.assert_allclose(found.mean, 1 / (1 - 0.25), rtol=1e-12)


def test_the_phase_boundary_is_crossed_without_a_jump():
    settings = {"sigma_b2": 0.0, "parameterization": "standard"}
    at, above, below = (ntk_moments((30,) * 40 + (1,), sigma_w2=2 + step, **settings).log_dispersion for step in (0, 1e-11, -1e-11))
    np.testing.assert_allclose([above, below], at, rtol=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_the_width_found_is_the_smallest_that_meets_the_target(case):
    settings = {"sigma_w2": 2.0, **arguments(case)}
    for target in (1.05, 1.7):
        width = width_for_dispersion(target, depth=6, inputs=10, **settings)
        found = [ntk_moments((10, *[w] * 5, 1), **settings).dispersion for w in range(1, width + 30)]
        assert all(value > target for value in found[: width - 1])
        assert all(value <= target for value in found[width - 1 :])


def test_where_the_dispersion_is_not_monotone_the_width_is_the_one_from_which_on_the_target_is_met():
    settings = {"sigma_w2": 2.6 / 2, "sigma_b2": 0.0, "parameterization": "standard"}
    found = [ntk_moments((5, *[w] * 99, 1), **settings).dispersion for w in range(1, 40)]
    assert found[4] < 2.6 < found[5]
    width = width_for_dispersion(2.6, depth=100, inputs=5, **settings)
    assert width == 7
    assert all(value <= 2.6 for value in found[width - 1 :])


def test_a_deep_network_needs_a_width_proportional_to_its_depth():
    widths = [width_for_dispersion(1.1, depth=depth, inputs=64, sigma_w2=2.0) for depth in (500, 1000)]
    np.testing.assert_allclose(widths[1] / widths[0], 2, rtol=5e-3)


@pytest.mark.parametrize("call", [
    lambda: ntk_moments((8, 16, 1), sigma_w2=2.0, sigma_b2=0.1),
    lambda: ntk_moments((8, 16, 1), sigma_w2=2.0, activation="tanh"),
    lambda: ntk_moments((8, 16, 1), sigma_w2=0.0),
    lambda: ntk_moments((8, 0, 1), sigma_w2=2.0),
    lambda: ntk_moments((8, 2.5, 1), sigma_w2=2.0),
    lambda: ntk_moments((8,), sigma_w2=2.0),
    lambda: ntk_moments(8, sigma_w2=2.0),
    lambda: ntk_moments((8, 16, 1), sigma_w2=2.0, parameterization="mup"),
    lambda: ntk_moments((8, 16, 1), sigma_w2=2.0, input_norm2=0.0),
    lambda: width_for_dispersion(1.0, depth=5, inputs=8, sigma_w2=2.0),
    lambda: width_for_dispersion(1 + 1e-12, depth=5, inputs=8, sigma_w2=2.0),
    lambda: width_for_dispersion(1.1, depth=1, inputs=8, sigma_w2=2.0),
])  # fmt: skip
def test_bad_input_is_refused_with_one_line(call):
    with pytest.raises(InputError, match=r"expected .*; got .*; .*"):
        call()
