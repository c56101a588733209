import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from comparison import exact

from kernelregime import _precision, activations
from kernelregime.activations.angles import acute, angle, safe_sqrt


@pytest.fixture(autouse=True)
def float64():
    with _precision.enter("float64"), mpmath.workdps(60):
        yield


@jax.jit
def dual_of(phi, a, b, w, v):
    return phi.dual(a, b, w, v)


def dual_at(phi, a, b, w):
    return dual_of(phi, *(jnp.asarray(value) for value in ([a], [b], w, 2 - w)))


def one_minus_in_sixty_digits(expectations, a, b, w):
    a, b, w = mpmath.mpf(a), mpmath.mpf(b), mpmath.mpf(w)
    c = mpmath.sqrt(a * b) * (1 - w)
    return float(1 - expectations(a, c, b)[0] / mpmath.sqrt(expectations(a, a, a)[0] * expectations(b, b, b)[0]))


@pytest.mark.parametrize("name", ["relu", "erf", "identity"])
@pytest.mark.parametrize("q", [1e-6, 0.01, 1.3, 30.0, 1e6])
def test_one_minus_the_correlation_has_full_relative_accuracy_at_equal_variances(name, q):
    w = np.array([1e-30, 1e-18, 1e-12, 1e-8, 1e-4, 0.1, 0.9, 1.0, 1.5, 1.99])
    dual = dual_at(activations.get(name), q, q, w)
    expected = [one_minus_in_sixty_digits(exact.ACTIVATIONS[name.capitalize()](), q, q, t) for t in w]
    np.testing.assert_allclose(dual.one_minus, expected, rtol=1e-13)


@pytest.mark.parametrize("q", [0.01, 1.3, 30.0])
@pytest.mark.parametrize("apart", [1e-3, 1e-6, 1e-9])
def test_erf_of_nearly_equal_points_loses_no_more_digits_than_their_variances_hold(q, apart):
    w, b = np.array([0.0, 1e-18, 1e-14, 1e-8, 1e-4]), q * (1 + apart)
    dual = dual_at(activations.get("erf"), q, b, w)
    expected = [one_minus_in_sixty_digits(exact.ACTIVATIONS["Erf"](), q, b, t) for t in w]
    # 1 - ρ' is of the order of apart², and rounding errors of the order of ε·apart
    np.testing.assert_allclose(dual.one_minus, expected, rtol=1e-12, atol=2.0**-53 * apart)


@pytest.mark.parametrize(("a", "b"), [(1e-3, 1e3), (5.0, 0.2), (1e-8, 1.0)])
def test_erf_of_points_of_very_unequal_variances_agrees_with_sixty_digits(a, b):
    w = np.array([0.0, 1e-8, 0.3, 1.0, 1.7, 2.0])
    for first, second in ((a, b), (b, a)):
        dual = dual_at(activations.get("erf"), first, second, w)
        expected = np.array([one_minus_in_sixty_digits(exact.ACTIVATIONS["Erf"](), first, second, t) for t in w])
        np.testing.assert_allclose(dual.one_minus, expected, rtol=1e-13)
        np.testing.assert_allclose(dual.one_plus, 2 - expected, rtol=1e-13)


def test_the_angle_is_accurate_near_zero_and_near_pi():
    w = np.array([0.0, 1e-30, 1e-16, 1e-8, 0.5, 1.0, 1.5, 2 - 1e-8])
    expected = [float(mpmath.acos(1 - mpmath.mpf(t))) for t in w]
    np.testing.assert_allclose(angle(jnp.asarray(w), jnp.asarray(2 - w)), expected, rtol=1e-15)
    assert float(angle(jnp.asarray(2.0), jnp.asarray(0.0))) == np.pi


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_an_acute_angle_and_its_excess_keep_their_digits_down_to_zero(dtype):
    m = np.concatenate([np.geomspace(1e-20, 1, 60), np.linspace(0.01, 1, 90)]).astype(dtype)
    with mpmath.workdps(60):
        angles = [mpmath.acos(1 - mpmath.mpf(float(s))) for s in m]
        excess = [mpmath.sin(t) - t * mpmath.cos(t) for t in angles]
    for found, expected in zip(acute(jnp.asarray(m)), (angles, excess), strict=True):
        assert found.dtype == dtype
        np.testing.assert_allclose(found, np.array(expected, float), rtol=2 * np.finfo(dtype).eps)
    assert [float(part) for part in acute(jnp.zeros((), dtype))] == [0, 0]


def test_the_square_root_has_slope_zero_at_zero():
    value, slope = jax.vmap(jax.value_and_grad(safe_sqrt))(jnp.asarray([0.0, 4.0]))
    np.testing.assert_array_equal(value, [0.0, 2.0])
    np.testing.assert_array_equal(slope, [0.0, 0.25])


def test_duals_of_kinked_functions_have_finite_slopes_at_correlation_one_and_minus_one():
    relu = activations.get("relu")

    def outputs(w):
        return relu.dual(jnp.asarray(1.0), jnp.asarray(1.0), w, 2 - w)[:3]

    for w, slope in ((0.0, 1.0), (2.0, 0.0)):  # 1 - ρ' = w near ρ = 1; flat at ρ = -1
        one_minus, one_plus, derivative = jax.jacfwd(outputs)(jnp.asarray(w))
        np.testing.assert_allclose([one_minus, one_plus], [slope, -slope], atol=1e-15)
        assert np.isfinite(derivative)


@pytest.mark.parametrize(("name", "moment"), [("Cos", lambda a, c, b: mpmath.exp(-(a + b) / 2) * mpmath.cosh(c))])
@pytest.mark.parametrize(("q", "v"), [(1.0, 1e-7), (0.02, 1e-7), (0.0065, 7e-16), (30.0, 1e-12)])
def test_cosine_keeps_the_digits_of_nearly_opposite_points(name, moment, q, v):
    """cos is even: opposite points have correlation 1."""
    found = dual_of(activations.get(name.lower()), *(jnp.asarray(value) for value in (q, q, 2 - v, v)))
    c = mpmath.mpf(q) * (mpmath.mpf(v) - 1)
    expected = 1 - moment(q, c, q) / moment(q, q, q)
    np.testing.assert_allclose(found.one_minus, float(expected), rtol=1e-13)


@pytest.mark.parametrize("name", ["rbf", "exp", "gelu"])
def test_squared_differences_of_nearly_equal_norms_keep_their_digits(name):
    """1 - ρ' is a squared length: between three points in a row it grows as the square of the distance, to the last digits."""
    a = 0.00195
    step = a * 2.0**-26
    one, two = (float(dual_of(activations.get(name), *map(jnp.asarray, (a, a + k * step, 0.0, 2.0))).one_minus) for k in (1, 2))
    assert one > 0
    np.testing.assert_allclose(two / one, 4, rtol=1e-7)


@pytest.mark.parametrize("name", ["erf", "gelu", "sigmoid_like", "gabor", "sin", "tanh"])
@pytest.mark.parametrize(("a", "b"), [(0.0, 1e-30), (1e-30, 1e-30), (1e-30, 1e6), (0.0, 0.0), (1e-12, 1.0)])
def test_derivatives_at_tiny_variances_are_finite_in_float32(name, a, b):
    with _precision.enter("float32"):
        phi = activations.get(name)
        given = [jnp.asarray(value, jnp.float32) for value in (a, b, 0.3, 1.7)]
        found = jax.jacrev(lambda *values: phi.dual(*values)[:3], argnums=(0, 1, 2))(*given)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))


@pytest.mark.parametrize("name", ["erf", "gelu", "gabor", "sin"])
def test_tiny_variances_keep_the_correlation_in_float32(name):
    """Near 0 these are linear."""
    with _precision.enter("float32"):
        for q in (1e-30, 1e-20, 1e-10):
            found = activations.get(name).dual(*(jnp.asarray(value, jnp.float32) for value in (q, q, 0.3, 1.7)))
            np.testing.assert_allclose([found.one_minus, found.one_plus], [0.3, 1.7], rtol=1e-6)


@pytest.mark.parametrize(("dtype", "q"), [("float32", 1e18), ("float32", 1e25), ("float32", 1e34), ("float64", 1e155), ("float64", 1e250)])
@pytest.mark.parametrize("name", ["Erf", "Gelu"])
def test_variances_whose_squares_leave_the_range_of_floats_lose_nothing(name, dtype, q):
    expectations, eps, w = exact.ACTIVATIONS[name](), float(np.finfo(dtype).eps), np.array([1e-6, 1e-3, 0.3, 1.0, 1.7, 2 - 1e-3])
    with _precision.enter(dtype), mpmath.workdps(600):  # digits of 1 beside q²
        for ratio in (1.0, 1.5, 30.0):
            a, b = (np.asarray(value, dtype) for value in (q, q * ratio))
            found = dual_of(activations.get(name.lower()), *(jnp.asarray(value, dtype) for value in (a, b, w, 2 - w)))
            expected = [one_minus_in_sixty_digits(expectations, float(a), float(b), float(np.asarray(t, dtype))) for t in w]
            np.testing.assert_allclose(found.one_minus, expected, atol=8 * eps, rtol=8 * eps)
            assert np.isfinite(found.derivative).all()
