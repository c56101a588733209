import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gaussian import expectation, one_minus
from registry import ACTIVATIONS

from kernelregime.activations import Nonlinearity

GRID = np.linspace(-3, 3, 60)  # without 0
PAIRS = [
    (1.0, 1.0, 0.3),
    (0.5, 2.0, 0.7),
    (2.0, 0.1, -0.6),
    (1.3, 1.3, 0.99),
    (0.9, 1.1, -0.99),
    (4.0, 3.0, 0.0),
    (1e-3, 1e-3, 0.5),
    (1.0, 2.0, 1.0),
    (1.0, 2.0, -1.0),
]


def numpy(function):
    return lambda x: np.asarray(function(jnp.asarray(x)))


JUMPS = ("sign", "rectified_monomial(degree=0)")  # φ itself jumps at 0
RADIAL = [name for name, phi in ACTIVATIONS.items() if not any(phi.kinks)]  # others: tests/activations/test_piecewise.py
ROUGH = ("elu(alpha=0.5)",)  # φ' jumps, and no closed form: 1 - ρ' near ρ = 1 has the digits of the error estimate only


@pytest.fixture(params=ACTIVATIONS)
def phi(request):
    return ACTIVATIONS[request.param]


def accuracy(phi):
    """What a dual promises, relative to the root mean squares of what it is the mean of."""
    return 1e-10 if phi.kinks else 1e-12


def columns(pairs):
    a, b, rho = (jnp.asarray(column) for column in zip(*pairs, strict=True))
    return a, b, 1 - rho, 1 + rho


def test_the_derivative_is_that_of_automatic_differentiation(phi):
    x = jnp.asarray(GRID)
    np.testing.assert_allclose(phi.derivative(x), jax.vmap(jax.grad(phi))(x), rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("phi", RADIAL, indirect=True)
def test_the_second_moment_is_the_integral(phi):
    q = jnp.asarray([1e-3, 0.3, 1.0, 4.0])
    expected = [expectation(numpy(phi), float(v), float(v), 0.0, 2.0) for v in q]
    np.testing.assert_allclose(phi.second_moment(q), expected, rtol=1e-12)


@pytest.mark.parametrize("phi", RADIAL, indirect=True)
def test_the_dual_is_the_integral_over_the_plane(phi):
    a, b, w, v = columns(PAIRS)
    dual = phi.dual(a, b, w, v)
    norm = np.sqrt(phi.second_moment(a) * phi.second_moment(b))
    each = list(zip(a.tolist(), b.tolist(), w.tolist(), v.tolist(), strict=True))
    value = np.array([expectation(numpy(phi), *pair) for pair in each]) / norm
    slope = np.array([expectation(numpy(phi.derivative), *pair) for pair in each])
    np.testing.assert_allclose(1 - np.asarray(dual.one_minus), value, atol=accuracy(phi))
    np.testing.assert_allclose(np.asarray(dual.one_plus) - 1, value, atol=accuracy(phi))
    roots = [np.sqrt([expectation(numpy(phi.derivative), float(q), float(q), 0.0, 2.0) for q in side]) for side in (a, b)]
    # at ρ = ±1 the two rays of a kink meet, and the mean of both sides enters
    tolerance = max(accuracy(phi), float(jnp.max(dual.error)))
    assert (np.abs(np.asarray(dual.derivative) - slope) <= tolerance * roots[0] * roots[1]).all()
    # only a jump of φ' that has no closed form is told to be worse than what is promised
    assert tolerance == accuracy(phi) or (phi.name == "elu(alpha=0.5)" and tolerance < 1e-6)


@pytest.mark.parametrize("w", [1e-2, 1e-4, 1e-8, 1e-12, 1e-16])
@pytest.mark.parametrize("name", [name for name in RADIAL if name not in (*JUMPS, *ROUGH)])
def test_one_minus_the_correlation_keeps_its_digits_near_one(name, w):
    phi, q = ACTIVATIONS[name], jnp.asarray([1.3])
    expected = one_minus(numpy(phi), numpy(phi.derivative), 1.3, w)
    got = phi.dual(q, q, jnp.asarray([w]), jnp.asarray([2 - w]))
    np.testing.assert_allclose(got.one_minus, [expected], rtol=1e-8 if phi.name.startswith("elu") else 1e-11)


@pytest.mark.parametrize(("name", "share"), [("sign", 2 / np.pi), ("rectified_monomial(degree=0)", 1 / np.pi)])
def test_functions_that_jump_lose_correlation_in_proportion_to_the_angle(name, share):
    theta, q = jnp.asarray([1e-8, 1e-3, 1.0]), jnp.ones(3)
    w = 2 * jnp.sin(theta / 2) ** 2
    np.testing.assert_allclose(ACTIVATIONS[name].dual(q, q, w, 2 - w).one_minus, share * theta, rtol=1e-12)


@pytest.mark.parametrize("w", [1e-2, 1e-8, 1e-16])
@pytest.mark.parametrize("name", ["erf", "sin", *(name for name, phi in ACTIVATIONS.items() if phi.kind.odd)])
def test_one_plus_the_correlation_of_an_odd_function_keeps_its_digits_near_minus_one(name, w):
    phi = ACTIVATIONS[name]
    q = jnp.asarray([1.3])
    near = phi.dual(q, q, jnp.asarray([w]), jnp.asarray([2 - w]))
    opposite = phi.dual(q, q, jnp.asarray([2 - w]), jnp.asarray([w]))
    np.testing.assert_allclose(opposite.one_plus, near.one_minus, rtol=1e-14)
    np.testing.assert_allclose(opposite.derivative, near.derivative, rtol=1e-14)


def test_points_of_equal_variance_and_correlation_one_stay_exactly_equal(phi):
    q = jnp.asarray([1e-6, 0.1, 1.0, 7.0])
    dual = phi.dual(q, q, jnp.zeros(4), jnp.full(4, 2.0))
    assert (np.asarray(dual.one_minus) == 0).all()


def test_zero_variances_give_finite_numbers(phi):
    a, b = jnp.asarray([0.0, 0.0, 1.0]), jnp.asarray([0.0, 1.0, 0.0])
    dual = phi.dual(a, b, jnp.ones(3), jnp.ones(3))
    assert all(np.isfinite(np.asarray(value)).all() for value in jax.tree.leaves(dual))
    assert np.isfinite(np.asarray(phi.second_moment(a))).all()


def test_the_flags_say_what_the_function_does(phi):
    x, scale = jnp.asarray(GRID), jnp.asarray(2.7)
    assert phi.homogeneous == bool(jnp.allclose(phi(scale * x), scale * phi(x), rtol=1e-12, atol=0))
    if phi.kind.odd:
        np.testing.assert_allclose(phi(-x), -phi(x), rtol=1e-12)
    at, step = jnp.asarray(np.round(np.linspace(-3, 3, 61), 12)), jnp.asarray(1e-6)
    jump = np.abs(np.asarray(phi.derivative(at + step) - phi.derivative(at - step)))
    assert set(np.asarray(at)[jump > 1e-3]) <= set(phi.kinks)


def test_the_parameters_are_numeric_leaves(phi):
    assert jax.tree.leaves(phi) == list(phi.values)
    assert isinstance(jax.tree.map(lambda leaf: leaf, phi), Nonlinearity)


def test_float32_inputs_give_float32_expectations_close_to_float64(phi):
    single = [column.astype(jnp.float32) for column in columns(PAIRS)]
    low, high = phi.dual(*single), phi.dual(*(column.astype(jnp.float64) for column in single))
    for name in ("one_minus", "one_plus", "derivative"):
        assert getattr(low, name).dtype == jnp.float32
        np.testing.assert_allclose(getattr(low, name), getattr(high, name), rtol=1e-5, atol=3e-6)
    assert phi.second_moment(single[0]).dtype == jnp.float32
