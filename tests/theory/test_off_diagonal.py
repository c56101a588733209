import math

import numpy as np
import pytest
from theory_references import sampled_ntk

from kernelregime._checks import InputError
from kernelregime.theory import OFF_DIAGONAL_BOUNDS, off_diagonal_dispersion_bound, off_diagonal_ratio


def by_the_formula(t, depth, a):
    g = lambda t: (math.pi / 2 + math.asin(t)) / math.pi  # noqa: E731
    rho = [t]
    for _ in range(depth):
        t = min((math.sqrt(1 - t * t) + t * math.pi / 2 + t * math.asin(t)) / math.pi, 1.0)
        rho.append(t)
    terms = [a ** (depth - layer) * math.prod(g(rho[k - 1]) for k in range(layer, depth)) for layer in range(1, depth + 1)]
    return sum(terms) / sum(a ** (depth - layer) for layer in range(1, depth + 1))


@pytest.mark.parametrize("depth", [1, 2, 7, 40])
@pytest.mark.parametrize("t", [-1.0, -0.4, 0.1, 0.9])
def test_the_ratio_agrees_with_its_formula(t, depth):
    np.testing.assert_allclose(off_diagonal_ratio(t, depth=depth, sigma_w2=1.4), by_the_formula(t, depth, 0.7), rtol=1e-12)


def test_equal_inputs_have_ratio_one_and_all_ratios_lie_in_the_bounds():
    np.testing.assert_allclose(off_diagonal_ratio(1.0, depth=30, sigma_w2=1.9), 1, rtol=1e-14)
    found = [off_diagonal_ratio(t, depth=depth, sigma_w2=1.999) for t in (0.1, 0.5, 0.9) for depth in (2, 20, 300)]
    assert OFF_DIAGONAL_BOUNDS.lower <= min(found) <= max(found) <= OFF_DIAGONAL_BOUNDS.upper


def test_dense_ordered_networks_lie_above_the_estimate_and_near_it():
    c, depth, width = 0.3, 12, 60
    inputs = np.zeros((2, width))
    inputs[0, 0], inputs[1, :2] = 1, (c, math.sqrt(1 - c * c))
    widths = (width,) * depth + (1,)
    off = sampled_ntk(widths, 1.0, 400, standard=True, biases=True, seed=1, inputs=inputs, chunk=100)
    diagonal = sampled_ntk(widths, 1.0, 400, standard=True, biases=True, seed=1, inputs=inputs[:1], chunk=100)
    ratio = off.mean() / diagonal.mean()
    deviation = (off - ratio * diagonal).std(ddof=1) / math.sqrt(400) / diagonal.mean()
    estimate = off_diagonal_ratio(c, depth=depth, sigma_w2=1.0)
    assert ratio >= estimate - 4 * deviation
    np.testing.assert_allclose(ratio, estimate, atol=0.03 + 4 * deviation)


def test_the_dispersion_bound_is_sixteen_times_the_diagonal_one_and_sharper_with_a_ratio():
    assert off_diagonal_dispersion_bound(1.5) == 24
    ratio = off_diagonal_ratio(0.5, depth=30, sigma_w2=1.0)
    assert off_diagonal_dispersion_bound(1.5, ratio=ratio) == 1.5 / ratio**2 < 24


@pytest.mark.parametrize("call", [
    lambda: off_diagonal_ratio(1.1, depth=3, sigma_w2=1.0),
    lambda: off_diagonal_ratio(0.5, depth=0, sigma_w2=1.0),
    lambda: off_diagonal_ratio(0.5, depth=3, sigma_w2=2.0),
    lambda: off_diagonal_dispersion_bound(0.9),
    lambda: off_diagonal_dispersion_bound(1.2, ratio=0.0),
])  # fmt: skip
def test_bad_input_is_refused_with_one_line(call):
    with pytest.raises(InputError, match=r"expected .*; got .*; .*"):
        call()
