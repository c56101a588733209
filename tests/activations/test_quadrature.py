import math
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import quick

from kernelregime import _precision, activations
from kernelregime._checks import InputError
from kernelregime.activations import Nonlinearity, from_function
from kernelregime.activations.quadrature import Rule, _correction, _dual, _radii, quadrature_kind

VARIANCES = (1e-6, 1e-3, 1.0, 5.0, 100.0, 1e4)
GAPS = np.array([0.0, 1e-16, 1e-12, 1e-8, 1e-4, 1e-2, 0.3, 1.0])
W = np.concatenate([GAPS, 2 - GAPS[::-1]])
V = W[::-1]


@pytest.fixture(autouse=True)
def float64():
    with _precision.enter("float64"):
        yield


@quick
def dual(phi, a, b, w, v):
    return phi.dual(a, b, w, v)


def dual_at(phi, a, b, w=W, v=V):
    """At every correlation for one point of variance a and one of variance b, whose tables are made once."""
    return dual(phi, jnp.asarray([a]), jnp.asarray([b]), jnp.asarray(w), jnp.asarray(v))


def worst(found, expected):
    """The largest error of a dual, relative to √(E φ(u)² E φ(v)²) and √(E φ'(u)² E φ'(v)²)."""
    scale = float(jnp.max(jnp.abs(expected.derivative)))
    values = max(float(jnp.max(jnp.abs(getattr(found, n) - getattr(expected, n)))) for n in ("one_minus", "one_plus"))
    return values, float(jnp.max(jnp.abs(found.derivative - expected.derivative))) / scale


@cache
def by_quadrature(name, kinks=()):
    """An activation with a closed form, as a function that nothing is known of."""
    phi = activations.get(name)
    return phi, Nonlinearity(quadrature_kind(f"{name} by quadrature", lambda x: phi(x), lambda x: phi.derivative(x), kinks=kinks))


@pytest.mark.parametrize("name", ["erf", "gelu", "sigmoid_like"])
def test_quadrature_agrees_with_closed_forms_to_twelve_digits_at_any_variance_and_correlation(name):
    closed, numerical = by_quadrature(name)
    for a, b in [*((q, q) for q in VARIANCES), (1e-3, 1e2), (1.0, 1.0001)]:
        expected, found = dual_at(closed, a, b), dual_at(numerical, a, b)
        assert max(worst(found, expected)) <= 1e-12, (a, b)
        assert float(found.error) <= 1e-10
        q = jnp.asarray([a, b])
        np.testing.assert_allclose(numerical.second_moment(q), closed.second_moment(q), rtol=1e-12)


@pytest.mark.parametrize("name", ["relu", "rectified_monomial(degree=2)"])
def test_a_break_of_a_derivative_at_zero_costs_no_digit(name):
    closed, numerical = by_quadrature(name, kinks=(0.0,))
    for a, b in ((1e-3, 1e-3), (1e4, 1e4), (1.0, 100.0)):
        expected, found = dual_at(closed, a, b), dual_at(numerical, a, b)
        assert max(worst(found, expected)) <= 1e-12
        assert float(found.error) <= 1e-11


def test_elu_has_the_same_dual_by_a_short_and_by_a_long_series():
    """Its first three derivatives all jump at 0."""
    phi = activations.get("elu(alpha=0.5)")
    functions = tuple(partial(lambda f, x: f(x, 0.5), f) for f in (phi.kind.function, phi.kind.derivative))
    series = [quick(partial(_dual, functions, Rule(order, broken=True), False)) for order in (416, 4608)]
    for q in (1e-3, 1.0, 100.0):
        short, long = (of(*(jnp.asarray(value) for value in ([q], [q], W, V))) for of in series)
        assert max(worst(short, long)) <= float(short.error)
        assert float(long.error) <= 1e-12
        assert max(worst(dual_at(phi, q, q), long)) <= 1e-11


@pytest.mark.parametrize("name", ["sin", "rbf(gamma=1)", "exp(a=0.8, b=0.5)", "abrelu(a=-0.5, b=1.2)", "gaussian"])
@pytest.mark.parametrize("q", [1.0, 1e4])
def test_the_error_is_below_its_own_estimate_where_the_rule_is_not_enough(name, q):
    closed, numerical = by_quadrature(name, kinks=(0.0,) * name.startswith("ab"))
    expected, found = dual_at(closed, q, q), dual_at(numerical, q, q)
    if np.isfinite(float(closed.second_moment(jnp.asarray(q)))):
        values, slopes = worst(found, expected)
        assert max(min(values, 1.0), min(slopes, 1.0)) <= float(found.error) + 1e-12
    else:
        assert float(found.error) == float(expected.error) == np.inf


def test_a_kink_elsewhere_than_at_zero_is_within_its_estimate():
    swish = from_function(jax.nn.hard_swish, kinks=(-3.0, 3.0))
    found = dual_at(swish, 1.3, 1.3, np.array([0.1, 0.7]), np.array([1.9, 1.3]))

    def f(x):
        return x * np.clip(x + 3, 0, 6) / 6

    rng = np.random.default_rng(0)
    u, e = rng.normal(size=(2, 4_000_000)) * np.sqrt(1.3)
    for k, w in enumerate((0.1, 0.7)):
        rho = 1 - w
        products = f(u) * f(rho * u + np.sqrt(1 - rho * rho) * e)
        squares = float(swish.second_moment(jnp.asarray(1.3)))
        sem = products.std() / np.sqrt(products.size) / squares
        assert abs(1 - float(found.one_minus[k]) - products.mean() / squares) <= 4 * sem + 2 * float(found.error)
    assert 1e-9 < float(found.error) < 0.1


def test_homogeneous_functions_are_recognized_and_have_closed_forms():
    leaky = from_function(lambda x: jnp.where(x > 0, x, 0.1 * x))
    assert leaky.homogeneous
    assert leaky.kinks == (0.0,)
    expected = dual_at(activations.get("leaky_relu(alpha=0.1)"), 1.0, 2.0)
    for name in ("one_minus", "one_plus", "derivative"):
        np.testing.assert_allclose(getattr(dual_at(leaky, 1.0, 2.0), name), getattr(expected, name), rtol=1e-13)
    assert from_function(lambda x: 3 * x).kind.odd
    assert not from_function(jnp.tanh).homogeneous


@pytest.mark.parametrize(
    "function",
    [
        lambda x: jnp.clip(x, 0, 20),
        lambda x: jnp.clip(x, -3e5, 3e5),
        lambda x: jnp.where(jnp.abs(x) > 1e-3, x, 0.0),
        lambda x: jnp.where((x > 50) & (x < 90), 0.0, x),
        lambda x: x / (1 + 1e-9 * jnp.abs(x)),
    ],
)
def test_a_function_that_is_homogeneous_near_one_alone_is_not_taken_for_one(function):
    assert not from_function(function).homogeneous


def test_a_declared_kink_elsewhere_than_at_zero_rules_homogeneity_out():
    assert not from_function(lambda x: jnp.clip(x, -1e9, 1e9), kinks=(-1e9, 1e9)).homogeneous
    assert from_function(lambda x: jnp.maximum(x, 0), kinks=(0.0,)).homogeneous


def test_a_wide_clip_has_the_dual_of_its_own_values_at_large_variances():
    """At a variance of 10⁴, E clip(√q z, 0, 20)² is nearly 400 P(z > 0), not q/2."""
    clipped = from_function(lambda x: jnp.clip(x, 0, 20))
    z = np.linspace(-9, 9, 2_000_001)
    exact = np.trapezoid(np.clip(100 * z, 0, 20) ** 2 * np.exp(-z * z / 2), z) / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(float(clipped.second_moment(jnp.asarray(1e4))), exact, rtol=1e-2)


def test_the_rule_of_the_radii_has_the_moments_of_the_density():
    r, weight = _radii()
    for k in range(0, 7, 2):
        np.testing.assert_allclose(weight @ r**k, 2 ** (k // 2) * math.factorial(k // 2), rtol=1e-12)


def test_the_corrected_ends_integrate_smooth_functions():
    x = np.arange(4000) + 0.5
    weights = np.ones(4000)
    weights[: len(_correction())] += _correction()
    for rate in (0.05, 0.1):
        np.testing.assert_allclose(weights @ np.exp(-rate * x), 1 / rate, rtol=1e-10)


def test_one_function_object_is_one_kind_so_that_nothing_compiles_twice():
    def cubic(x):
        return x**3

    assert from_function(cubic).kind is from_function(cubic).kind
    assert from_function(cubic).name == "cubic"


def test_the_derivative_comes_from_automatic_differentiation_unless_given():
    x = jnp.linspace(-2, 2, 9)
    np.testing.assert_allclose(from_function(jnp.sin).derivative(x), jnp.cos(x), rtol=1e-15)
    given = from_function(jnp.sin, derivative=jnp.cos)
    np.testing.assert_allclose(given.derivative(x), jnp.cos(x), rtol=1e-15)


@pytest.mark.parametrize("bad", [3.0, lambda x: jnp.sum(x), lambda x: x[..., None]])
def test_what_is_not_an_elementwise_function_is_refused(bad):
    with pytest.raises(InputError, match="expected"):
        from_function(bad)


@pytest.mark.parametrize("q", [1.0, 1e4])
def test_float32_keeps_its_digits_where_jumps_are_large(q):
    """What jumps of the second and third derivative leave at a variance of 10⁴ is a thousand times the sum it is taken from."""
    phi = activations.get("elu(alpha=3)")
    high, low = (dual(phi, *(jnp.asarray(value, dtype) for value in (q, q, 0.3, 1.7))) for dtype in (jnp.float64, jnp.float32))
    np.testing.assert_allclose(low.derivative, high.derivative, rtol=1e-5)
    np.testing.assert_allclose(low.one_minus, high.one_minus, rtol=1e-5)


def test_a_derivative_without_a_limit_at_zero_is_no_jump():
    phi = from_function(lambda x: jnp.where(x > 0, jnp.abs(x) ** 1.5, 0.0), kinks=(0.0,))
    found = dual(phi, *(jnp.asarray(value) for value in (100.0, 100.0, 0.0, 2.0)))
    assert float(found.error) < 1e-6
    np.testing.assert_allclose(found.derivative, 1.5**2 * 10 / np.sqrt(2 * np.pi), rtol=1e-6)
