import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from kernelregime._checks import InputError
from kernelregime.theory import first_step, first_step_limit, ntk_moments

CASES = {"ntk": (False, None), "standard without biases": (True, None), "standard with zero biases": (True, 0.0)}


def dense_rates(widths, sigma_w2, draws, *, standard, biases, target, seed):
    """(f - y) dΘ(x, x) along ∇f, of networks with weights, by automatic differentiation of the kernel."""
    import jax
    import jax.numpy as jnp

    from kernelregime import _precision

    x = np.eye(1, widths[0])[0]
    scales = [1.0 if standard else math.sqrt(sigma_w2 / n) for n in widths[:-1]]

    def f(params):
        units = x
        for layer, ((w, b), scale) in enumerate(zip(params, scales, strict=True)):
            units = scale * (w @ units) + b
            units = jnp.maximum(units, 0) if layer + 2 < len(widths) else units
        return units[0]

    def gradient(params):
        found = jax.grad(f)(params)
        return [(w, b if biases else jnp.zeros_like(b)) for w, b in found]

    def theta(params):
        return sum(jnp.sum(part**2) for part in jax.tree.leaves(gradient(params)))

    def rate(params):
        return (f(params) - target) * jax.jvp(theta, (params,), (gradient(params),))[1]

    rng = np.random.default_rng(seed)
    pairs = list(itertools.pairwise(widths))
    params = [(rng.standard_normal((draws, m, n)) * (math.sqrt(sigma_w2 / n) if standard else 1.0), np.zeros((draws, m))) for n, m in pairs]
    with _precision.enter("float64"):
        return np.asarray(jax.jit(jax.vmap(rate))(params))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("widths", "sigma_w2", "target"), [((3, 6, 1), 2.0, 0.0), ((4, 7, 5, 8, 1), 1.2, 1.0)])
def test_the_mean_change_agrees_with_differentiated_networks_within_four_standard_errors(widths, sigma_w2, target, case):
    standard, bias = CASES[case]
    rates = -dense_rates(widths, sigma_w2, 20_000, standard=standard, biases=bias is not None, target=target, seed=7)
    found = first_step(widths, sigma_w2=sigma_w2, sigma_b2=bias, parameterization="standard" if standard else "ntk")
    assert found.change < 0
    assert abs(rates.mean() - found.change) <= 4 * rates.std(ddof=1) / math.sqrt(rates.size)


def by_the_double_sum(widths, a, *, standard, biases):
    """-E ΔΘ/η by the sum over pairs of layers, in exact fractions."""
    n, depth = [Fraction(width) for width in widths], len(widths) - 1

    def growth(i, j):
        return math.prod((1 + 5 / n[k] for k in range(i, j)), start=Fraction(1))

    def trace(m, last):
        p, r = Fraction(1), Fraction(0)
        for k in range(m, last):
            p, r = (1 + 1 / n[k]) * p + 4 / n[k] * r, 2 / n[k] * p + (1 + 3 / n[k]) * r
        return r

    total = Fraction(0)
    for m, last in itertools.combinations(range(1, depth + 1), 2):
        s_m, s_l = (Fraction(1) if standard else 2 * a / n[layer - 1] for layer in (m, last))
        x2 = a ** (m - 1) * n[m - 1] / n[0]
        moved = s_m * x2**2 * growth(1, m) + (x2 if biases else 0)
        total += (
            s_l * a ** (2 * (last - m)) * n[last - 1] / n[m - 1] * trace(m, last) * a ** (2 * (depth - last)) * growth(last, depth) * moved
        )
    return 4 * total


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("a", ["1/3", "1", "3/2"])
@pytest.mark.parametrize("widths", [(8, 3, 2, 11, 4, 1), (3, *[6] * 9, 1), (5, 2, 1)])
def test_the_recursion_agrees_with_the_double_sum_over_layers_in_exact_fractions(widths, a, case):
    standard, bias = CASES[case]
    exact = by_the_double_sum(widths, Fraction(a), standard=standard, biases=bias is not None)
    options = {"sigma_w2": float(2 * Fraction(a)), "sigma_b2": bias, "parameterization": "standard" if standard else "ntk"}
    found = first_step(widths, **options)
    np.testing.assert_allclose(-found.change, float(exact), rtol=1e-12)
    np.testing.assert_allclose(found.relative, found.change / ntk_moments(widths, **options).mean, rtol=1e-12)


def test_a_linear_model_keeps_its_kernel_and_depth_does_not_overflow():
    assert first_step((5, 1), sigma_w2=2.0).change == 0
    assert math.isfinite(first_step((100, *[100] * 20_000, 1), sigma_w2=3.0, sigma_b2=0.0, parameterization="standard").log_change)


@pytest.mark.parametrize(("sigma_w2", "bias"), [(2.0, None), (2.0, 0.0), (3.0, 0.0), (1.0, None)])
@pytest.mark.parametrize("ratio", [0.1, 0.5])
def test_wide_networks_come_near_the_limit(ratio, sigma_w2, bias):
    width = 5000
    depth, alpha = round(ratio * width), 0.5
    found = first_step((round(alpha * width), *[width] * (depth - 1), 1), sigma_w2=sigma_w2, sigma_b2=bias, parameterization="standard")
    log_units = (depth - 1) * math.log(sigma_w2 / 2) + math.log(depth)
    limit = first_step_limit(ratio, sigma_w2=sigma_w2, sigma_b2=bias, alpha0=alpha)
    np.testing.assert_allclose(-math.exp(found.log_change - found.log_mean - log_units), limit, rtol=20 / depth)


@pytest.mark.parametrize("call", [
    lambda: first_step((3,), sigma_w2=2.0),
    lambda: first_step((3, 4, 1), sigma_w2=2.0, sigma_b2=0.1),
    lambda: first_step_limit(-1.0, sigma_w2=2.0),
    lambda: first_step_limit(0.5, sigma_w2=2.0, alpha0=0.0),
])  # fmt: skip
def test_bad_input_is_refused_with_one_line(call):
    with pytest.raises(InputError, match=r"expected .*; got .*; .*"):
        call()
