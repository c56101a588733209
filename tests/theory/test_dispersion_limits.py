import math

import numpy as np
import pytest
from theory_references import sampled_ntk

from kernelregime._checks import InputError
from kernelregime.theory import dispersion_limit, ntk_moments, printed_dispersion_limit, printed_ntk_moments

ZERO_BIASES = {"sigma_b2": 0.0, "parameterization": "standard"}
RATIOS = np.array([0.05, 0.3, 1.0, 2.5])


def exact(width, ratio, alpha0, **settings):
    depth = round(ratio * width)
    return ntk_moments((round(alpha0 * width), *[width] * (depth - 1), 1), **settings).dispersion


@pytest.mark.parametrize(
    ("settings", "alpha0"),
    [
        ({"sigma_w2": 2.0, **ZERO_BIASES}, 1.0),
        ({"sigma_w2": 2.0, **ZERO_BIASES}, 0.25),
        ({"sigma_w2": 3.0, **ZERO_BIASES}, 1.0),
        ({"sigma_w2": 1.0, **ZERO_BIASES}, 0.5),
        ({"sigma_w2": 2.0}, 1.0),
        ({"sigma_w2": 1.3, "parameterization": "standard"}, 2.0),
    ],
)
@pytest.mark.parametrize("ratio", [0.5, 1.0])
def test_the_exact_dispersion_tends_to_the_limit_like_one_over_width(settings, alpha0, ratio):
    limit = float(dispersion_limit(ratio, alpha0=alpha0, **settings))
    errors = [exact(width, ratio, alpha0, **settings) / limit - 1 for width in (800, 1600)]
    assert abs(errors[1]) < 0.015
    np.testing.assert_allclose(errors[0] / errors[1], 2, rtol=0.03)
    np.testing.assert_allclose(2 * errors[1] - errors[0], 0, atol=3e-4)


def test_the_limits_agree_with_their_formulas_as_they_stand():
    lam, alpha = RATIOS, 0.7
    e5 = np.exp(5 * lam)
    weights = e5 * (1 / 3 + 2 / (9 * lam) * (1 - (1 - np.exp(-6 * lam)) / (6 * lam)))
    biases = 2 * (e5 - 1) / (25 * lam**2) - 2 / (5 * lam)
    mixed = (e5 - 1 - 5 * lam) / (25 * lam**2) + (e5 - (e5 - 1) / (5 * lam)) / (15 * lam)
    mixed += 2 / (3 * lam) * ((e5 - 1) / (5 * lam) - e5 * (1 - np.exp(-6 * lam)) / (6 * lam))
    edge = (weights + 2 * alpha * mixed + alpha**2 * biases) / (1 + alpha) ** 2
    np.testing.assert_allclose(dispersion_limit(lam, sigma_w2=2.5, **ZERO_BIASES), weights, rtol=1e-12)
    np.testing.assert_allclose(dispersion_limit(lam, sigma_w2=2.0, alpha0=alpha, **ZERO_BIASES), edge, rtol=1e-12)


def test_the_printed_limits_agree_with_equations_8_9_and_10_as_they_stand():
    lam, alpha = RATIOS, 0.7
    e5 = np.exp(5 * lam)
    chaotic = e5 / (2 * lam) * (1 - (1 - np.exp(-4 * lam)) / (4 * lam))
    edge = e5 * (1 / (2 * lam) + (2 * alpha**2 - 8 * alpha) / (25 * lam**2)) + (np.exp(lam) - e5) * (1 - 4 * alpha) / (8 * lam**2)
    edge = (edge + 2 * alpha / (5 * lam) * ((4 - alpha) / (5 * lam) - 1 - alpha)) / (1 + alpha) ** 2
    np.testing.assert_allclose(printed_dispersion_limit(lam, sigma_w2=2.5, alpha0=alpha), chaotic, rtol=1e-11)
    np.testing.assert_allclose(printed_dispersion_limit(lam, sigma_w2=2.0, alpha0=alpha), edge, rtol=1e-11)
    assert (printed_dispersion_limit(lam, sigma_w2=1.9) == 1).all()


def test_the_corrected_limit_lies_12_and_37_percent_above_the_printed_one():
    ratio = dispersion_limit([0.5, 1.0], sigma_w2=3.0) / printed_dispersion_limit([0.5, 1.0], sigma_w2=3.0)
    assert [round(100 * (value - 1)) for value in ratio] == [12, 37]


@pytest.mark.parametrize("sigma_w2", [2.0, 3.0])
def test_shallow_wide_networks_have_dispersion_one_without_cancellation(sigma_w2):
    lam = np.array([0.0, 1e-12, 1e-6])
    # to first order in λ the limits of E Θ_W², E Θ_b² and E Θ_WΘ_b grow by 11λ/3, 5λ/3 and 11λ/6
    slope = 11 / 3 if sigma_w2 > 2 else (11 / 3 + 5 / 3 + 2 * 11 / 6) / 4
    np.testing.assert_allclose(dispersion_limit(lam, sigma_w2=sigma_w2, **ZERO_BIASES), 1 + slope * lam, rtol=1e-11)
    printed = printed_dispersion_limit(lam, sigma_w2=sigma_w2)
    np.testing.assert_allclose(printed[:2], 1, rtol=1e-10)


def test_one_limit_serves_every_phase_without_trained_biases():
    found = [dispersion_limit(RATIOS, sigma_w2=weight, parameterization=name) for weight in (1.0, 2.0, 3.0) for name in ("ntk", "standard")]
    np.testing.assert_allclose(found, np.broadcast_to(found[0], (6, 4)))
    np.testing.assert_allclose(found[0], dispersion_limit(RATIOS, sigma_w2=2.0, alpha0=0.0, **ZERO_BIASES))


def test_limits_beyond_the_range_of_floats_are_infinite_without_a_warning():
    assert dispersion_limit(1000.0, sigma_w2=2.0, **ZERO_BIASES) == np.inf
    assert printed_dispersion_limit(1000.0, sigma_w2=3.0) == np.inf


@pytest.mark.parametrize(("widths", "lemma", "theorem"), [((5,) * 6 + (1,), "539.2", "946.5"), ((8, *[16] * 7, 1), "954.7", "980.4")])
def test_printed_second_moments_agree_with_the_reference(widths, lemma, theorem):
    assert f"{printed_ntk_moments(widths, sigma_w2=2.0).second:.1f}" == lemma
    assert f"{printed_ntk_moments(widths, sigma_w2=2.0, form='theorem').second:.1f}" == theorem


@pytest.mark.parametrize("a", [0.6, 1.0, 1.7])
@pytest.mark.parametrize("form", ["lemma", "theorem"])
def test_printed_moments_agree_with_their_double_sums(a, form):
    n, x2 = [7.0, 5.0, 9.0, 4.0, 6.0], 1.3
    depth = len(n)
    layers = range(1, depth + 1)
    X = lambda i, j: math.prod(1 + 5 / n[k] for k in range(i, j))  # noqa: E731
    C = lambda i, j: math.prod(1 + 1 / n[k] for k in range(i, j))  # noqa: E731
    pairs = [(i, j) for i in layers for j in layers if i < j]
    if form == "lemma":
        tied = sum(2 * n[i - 1] * n[j - 1] * C(i, j) * X(1, i) * X(j, depth) for i, j in pairs)
    else:
        tied = sum(n[i - 1] * n[j - 1] * C(i, j) * X(1, depth) for i, j in pairs)
    weights = x2**2 * a ** (2 * depth - 2) / n[0] ** 2 * (X(1, depth) * sum(n[i - 1] ** 2 for i in layers) + tied)
    biases = sum(a ** (2 * depth - 2 * i) * X(i, depth) for i in layers) + 2 * sum(a ** (2 * depth - i - j) * X(j, depth) for i, j in pairs)
    mixed = sum(n[i - 1] * X(i, depth) / a**i for i in layers)
    mixed += sum(X(j, depth) / a**i * n[i - 1] * (n[j - 1] / n[i - 1] * C(i, j) + a**i / a**j) for i, j in pairs)
    second = weights + biases + 2 * mixed * x2 * a ** (2 * depth - 1) / n[0]
    mean = x2 * a ** (depth - 1) * sum(n) / n[0] + sum(a ** (depth - i) for i in layers)
    found = printed_ntk_moments((7, 5, 9, 4, 6, 1), sigma_w2=2 * a, sigma_b2=0.0, input_norm2=x2, form=form)
    np.testing.assert_allclose([found.mean, found.second, found.dispersion], [mean, second, second / mean**2], rtol=1e-12)


def test_dense_networks_agree_with_the_exact_second_moment_and_refute_the_printed_ones():
    widths = (2, 2, 2, 1)
    draws = sampled_ntk(widths, 2.0, 400000, standard=True, biases=False, seed=3, chunk=100000) ** 2
    sem = draws.std(ddof=1) / math.sqrt(draws.size)
    assert abs(draws.mean() - ntk_moments(widths, sigma_w2=2.0, parameterization="standard").second) <= 4 * sem
    for form in ("lemma", "theorem"):
        assert abs(draws.mean() - printed_ntk_moments(widths, sigma_w2=2.0, form=form).second) > 4 * sem


def test_printed_moments_of_very_deep_networks_stay_finite_in_logarithms():
    # the theorem's X(1, L) multiplies ties of (1 + 1/n)^{l2-l1}
    for form, growth in (("lemma", 1.05), ("theorem", 1.05 * 1.01)):
        found = printed_ntk_moments((100,) * 100_000 + (1,), sigma_w2=2.0, sigma_b2=0.0, form=form)
        np.testing.assert_allclose(found.log_dispersion, 1e5 * math.log(growth), rtol=1e-2)


@pytest.mark.parametrize("call", [
    lambda: dispersion_limit(-0.1, sigma_w2=2.0),
    lambda: dispersion_limit(0.1, sigma_w2=2.0, sigma_b2=0.2),
    lambda: dispersion_limit(0.1, sigma_w2=2.0, alpha0=-1.0),
    lambda: printed_dispersion_limit(math.nan, sigma_w2=2.0),
    lambda: printed_ntk_moments((3, 4, 1), sigma_w2=2.0, form="corollary"),
])  # fmt: skip
def test_bad_input_is_refused_with_one_line(call):
    with pytest.raises(InputError, match=r"expected .*; got .*; .*"):
        call()
