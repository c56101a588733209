import itertools
import math

import numpy as np
import pytest

from kernelregime._checks import InputError
from kernelregime.theory import layer_ratio_product, layer_ratio_skewness, printed_layer_ratio_product


def dense_products(inputs, hidden, draws, seed):
    """|δ^1|²|x^m|²/(|x^0|² |δ^{m+1}|²) over its mean with independent passes, of ReLU networks with weights, for m = the hidden layers."""
    rng = np.random.default_rng(seed)
    sizes = [inputs, *hidden, 1]
    weights = [rng.standard_normal((draws, m, n)) * math.sqrt(2 / n) for n, m in itertools.pairwise(sizes)]
    units, masks = np.eye(inputs, 1) + np.zeros((draws, 1, 1)), []
    for w in weights[:-1]:
        masks.append(w @ units > 0)
        units = masks[-1] * (w @ units)
    delta = np.ones((draws, 1, 1))
    for w, mask in zip(weights[:0:-1], masks[::-1], strict=True):
        delta = mask * (np.swapaxes(w, 1, 2) @ delta)
    return np.sum(units**2, axis=(1, 2)) * np.sum(delta**2, axis=(1, 2)) * inputs / hidden[-1]


@pytest.mark.parametrize("hidden", [(4,), (5, 3), (4, 8, 6), (8, 8, 8, 8)])
def test_products_of_layer_ratios_agree_with_dense_networks_within_four_standard_errors(hidden):
    found = dense_products(3, hidden, 20_000, seed=len(hidden))
    exact = layer_ratio_product(hidden)[-1]
    assert abs(found.mean() - exact) <= 4 * found.std(ddof=1) / math.sqrt(found.size)


def test_a_constant_width_gives_the_closed_form_whose_limit_is_not_the_printed_one():
    m = np.arange(1, 31)
    np.testing.assert_allclose(layer_ratio_product((30,) * 30), ((1 + 5 / 30) ** m + 2 * (1 - 1 / 30) ** m) / 3, rtol=1e-13)
    n, ratio = 100_000, 0.5
    layers = (n,) * round(ratio * n)
    np.testing.assert_allclose(layer_ratio_product(layers)[-1], (math.exp(5 * ratio) + 2 * math.exp(-ratio)) / 3, rtol=1e-4)
    np.testing.assert_allclose(printed_layer_ratio_product(layers)[-1], math.exp(ratio), rtol=1e-4)


def test_the_printed_product_is_the_first_order_of_the_exact_one():
    n = 1_000_000
    exact, printed = layer_ratio_product((n, n, n)) - 1, printed_layer_ratio_product((n, n, n)) - 1
    np.testing.assert_allclose(exact, printed, atol=30 / n**2)


def test_the_skewness_agrees_with_sampled_layers_within_four_standard_errors():
    rng, n = np.random.default_rng(0), 12
    ratio = np.sum(np.maximum(rng.standard_normal((200_000, n)), 0) ** 2, axis=1) * 2 / n
    cubes = ((ratio - 1) / math.sqrt(5 / n)) ** 3
    assert abs(cubes.mean() - layer_ratio_skewness(n)) <= 4 * cubes.std(ddof=1) / math.sqrt(cubes.size)


@pytest.mark.parametrize("call", [
    lambda: layer_ratio_product(()),
    lambda: layer_ratio_product(5),
    lambda: printed_layer_ratio_product((3, 0)),
    lambda: layer_ratio_skewness(0),
])  # fmt: skip
def test_bad_input_is_refused_with_one_line(call):
    with pytest.raises(InputError, match=r"expected .*; got .*; .*"):
        call()
