from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import quick
from gaussian import expectation, one_minus
from registry import ACTIVATIONS

from kernelregime.activations import Nonlinearity

GRID = np.linspace(-3, 3, 62)  # without 0
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
VARIANCES = (1e-6, 1e-3, 0.1, 0.3, 1.0, 4.0, 7.0)
NEAR = (1e-2, 1e-4, 1e-8, 1e-12, 1e-16)
JUMPS = ("sign", "rectified_monomial(degree=0)")  # φ itself jumps at 0
RADIAL = [name for name, phi in ACTIVATIONS.items() if not any(phi.kinks)]  # others: tests/activations/test_piecewise.py
ROUGH = ("elu(alpha=0.5)",)  # φ' jumps, and no closed form: 1 - ρ' near ρ = 1 has the digits of the error estimate only
SLOTS = 10  # pairs of every call, so that all tests of an activation run one program


@pytest.fixture(params=ACTIVATIONS)
def phi(request):
    return ACTIVATIONS[request.param]


@jax.jit
def values(phi, x):
    """φ, φ' and the derivative that automatic differentiation gives."""
    return phi(x), phi.derivative(x), jax.vmap(jax.grad(phi))(x)


@jax.jit
def expectations(phi, a, b, w, v):
    return phi.dual(a, b, w, v), phi.second_moment(jnp.stack([a, b]))


@cache
def at(phi, a, b, w, v, dtype="float64"):
    """The dual and second moments at pairs given as tuples; copies of the last pair fill the other slots."""
    n = len(a)
    columns = (jnp.asarray((*column, *(SLOTS - n) * column[-1:]), dtype) for column in (a, b, w, v))
    return jax.tree.map(lambda leaf: np.asarray(leaf)[..., :n] if np.ndim(leaf) else leaf, expectations(phi, *columns))


def at_pairs(phi, dtype="float64"):
    a, b, rho = (np.asarray(column) for column in zip(*PAIRS, strict=True))
    return at(phi, *(tuple(column.tolist()) for column in (a, b, 1 - rho, 1 + rho)), dtype)


def at_correlation_one(phi):
    n = len(VARIANCES)
    return at(phi, VARIANCES, VARIANCES, n * (0.0,), n * (2.0,))


def at_small_gaps(phi):
    """At variances 1.3, for w = 1 - ρ of `NEAR`, then for v = 1 + ρ of `NEAR`."""
    far = tuple(2 - w for w in NEAR)
    return at(phi, *2 * (2 * len(NEAR) * (1.3,),), NEAR + far, far + NEAR)[0]


@cache
def in_numpy(phi, derivative=False):
    compiled = jax.jit(phi.derivative if derivative else phi)
    return lambda x: np.asarray(compiled(jnp.asarray(x)))


def integral(phi, *pair, derivative=False):
    return expectation(in_numpy(phi, derivative), *pair)


def accuracy(phi):
    """What a dual promises, relative to the root mean squares of what it is the mean of."""
    return 1e-10 if phi.kinks else 1e-12


def test_the_derivative_is_that_of_automatic_differentiation(phi):
    _, derivative, automatic = values(phi, jnp.asarray(GRID))
    np.testing.assert_allclose(derivative, automatic, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("phi", RADIAL, indirect=True)
def test_the_second_moment_is_the_integral(phi):
    expected = [integral(phi, q, q, 0.0, 2.0) for q in VARIANCES]
    for side in at_correlation_one(phi)[1]:
        np.testing.assert_allclose(side, expected, rtol=1e-12)


@pytest.mark.parametrize("phi", RADIAL, indirect=True)
def test_the_dual_is_the_integral_over_the_plane(phi):
    dual, squares = at_pairs(phi)
    norm = np.sqrt(squares[0] * squares[1])
    each = [(a, b, 1 - rho, 1 + rho) for a, b, rho in PAIRS]
    value = np.array([integral(phi, *pair) for pair in each]) / norm
    slope = np.array([integral(phi, *pair, derivative=True) for pair in each])
    np.testing.assert_allclose(1 - dual.one_minus, value, atol=accuracy(phi))
    np.testing.assert_allclose(dual.one_plus - 1, value, atol=accuracy(phi))
    roots = [np.sqrt([integral(phi, q, q, 0.0, 2.0, derivative=True) for q in side]) for side in list(zip(*each, strict=True))[:2]]
    # at ρ = ±1 the two rays of a kink meet, and the mean of both sides enters
    tolerance = max(accuracy(phi), float(dual.error))
    assert (np.abs(dual.derivative - slope) <= tolerance * roots[0] * roots[1]).all()
    # only a jump of φ' that has no closed form is told to be worse than what is promised
    assert tolerance == accuracy(phi) or (phi.name == "elu(alpha=0.5)" and tolerance < 1e-6)


@pytest.mark.parametrize("w", NEAR)
@pytest.mark.parametrize("name", [name for name in RADIAL if name not in (*JUMPS, *ROUGH)])
def test_one_minus_the_correlation_keeps_its_digits_near_one(name, w):
    phi = ACTIVATIONS[name]
    expected = one_minus(in_numpy(phi), in_numpy(phi, derivative=True), 1.3, w)
    got = at_small_gaps(phi).one_minus[NEAR.index(w)]
    np.testing.assert_allclose(got, expected, rtol=1e-8 if phi.name.startswith("elu") else 1e-11)


@pytest.mark.parametrize(("name", "share"), [("sign", 2 / np.pi), ("rectified_monomial(degree=0)", 1 / np.pi)])
def test_functions_that_jump_lose_correlation_in_proportion_to_the_angle(name, share):
    theta = np.array([1e-8, 1e-3, 1.0])
    w = 2 * np.sin(theta / 2) ** 2
    dual, _ = at(ACTIVATIONS[name], *2 * (3 * (1.0,),), tuple(w.tolist()), tuple((2 - w).tolist()))
    np.testing.assert_allclose(dual.one_minus, share * theta, rtol=1e-12)


@pytest.mark.parametrize("name", dict.fromkeys(["erf", "sin", *(name for name, phi in ACTIVATIONS.items() if phi.kind.odd)]))
def test_one_plus_the_correlation_of_an_odd_function_keeps_its_digits_near_minus_one(name):
    dual, n = at_small_gaps(ACTIVATIONS[name]), len(NEAR)
    np.testing.assert_allclose(dual.one_plus[n:], dual.one_minus[:n], rtol=1e-14)
    np.testing.assert_allclose(dual.derivative[n:], dual.derivative[:n], rtol=1e-14)


def test_points_of_equal_variance_and_correlation_one_stay_exactly_equal(phi):
    assert (at_correlation_one(phi)[0].one_minus == 0).all()


def test_zero_variances_give_finite_numbers(phi):
    found = at(phi, (0.0, 0.0, 1.0), (0.0, 1.0, 0.0), 3 * (1.0,), 3 * (1.0,))
    assert all(np.isfinite(value).all() for value in jax.tree.leaves(found))


def test_the_flags_say_what_the_function_does(phi):
    at_grid, scaled, turned = (values(phi, jnp.asarray(factor * GRID))[0] for factor in (1, 2.7, -1))
    assert phi.homogeneous == np.allclose(scaled, 2.7 * np.asarray(at_grid), rtol=1e-12, atol=0)
    if phi.kind.odd:
        np.testing.assert_allclose(turned, -at_grid, rtol=1e-12)
    tenths = np.round(np.linspace(-3.1, 3, len(GRID)), 12)
    above, below = (values(phi, jnp.asarray(tenths + step))[1] for step in (1e-6, -1e-6))
    assert set(tenths[np.abs(np.asarray(above - below)) > 1e-3]) <= set(phi.kinks)


def test_the_parameters_are_numeric_leaves(phi):
    assert jax.tree.leaves(phi) == list(phi.values)
    assert isinstance(jax.tree.map(lambda leaf: leaf, phi), Nonlinearity)


def test_float32_inputs_give_float32_expectations_close_to_float64(phi):
    (low, squares), (high, _) = at_pairs(phi, "float32"), at_pairs(phi)
    for name in ("one_minus", "one_plus", "derivative"):
        assert getattr(low, name).dtype == np.float32
        np.testing.assert_allclose(getattr(low, name), getattr(high, name), rtol=1e-5, atol=3e-6)
    assert squares.dtype == np.float32


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_duals_of_uncorrelated_pairs_move_as_those_beside_them(name):
    """At ρ = 0, where formulas for acute and obtuse angles meet (orthogonal points, such as one-hot vectors)."""
    phi, step = ACTIVATIONS[name], 1e-5

    def both(rho):
        dual = phi.dual(jnp.asarray(0.7), jnp.asarray(0.9), 1 - rho, 1 + rho)
        return jnp.stack([1 - dual.one_minus, dual.derivative])

    @quick
    def slopes(step):
        return jax.jacfwd(both)(jnp.zeros_like(step)), (both(step) - both(-step)) / (2 * step)

    found, expected = slopes(jnp.asarray(step))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)
