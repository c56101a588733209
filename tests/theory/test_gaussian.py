import math

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from theory_references import hard_tanh, mean_over_gaussian

from kernelregime import activations
from kernelregime._checks import InputError
from kernelregime.theory.gaussian import TOLERANCE, gaussian_moments, homogeneous_moment, usable_moments

VARIANCES = np.array([1e-10, 1e-3, 0.3, 1.0, 7.0, 300.0, 1e6])


@pytest.mark.parametrize("q", [1e-3, 1.0, 60.0])
def test_moments_of_tanh_agree_with_mpmath_to_13_digits(q):
    moments = gaussian_moments("tanh", q)
    square = mean_over_gaussian(lambda x: mpmath.tanh(x) ** 2, q)
    derivative = mean_over_gaussian(lambda x: mpmath.sech(x) ** 4, q)
    slope = mean_over_gaussian(lambda x: x * mpmath.tanh(x) * mpmath.sech(x) ** 2, q) / q
    found = [float(moments.second_moment), float(moments.derivative), float(moments.slope)]
    np.testing.assert_allclose(found, [square, derivative, slope], rtol=1e-13)


def test_moments_of_erf_agree_with_closed_forms_at_every_variance():
    moments = gaussian_moments("erf", VARIANCES)
    square = 2 / np.pi * np.arctan2(2 * VARIANCES, np.sqrt(1 + 4 * VARIANCES))
    np.testing.assert_allclose(moments.second_moment, square, rtol=1e-13)
    np.testing.assert_allclose(moments.derivative, 4 / np.pi / np.sqrt(1 + 4 * VARIANCES), rtol=1e-13)
    # d/dq (2/π) arcsin(2q/(1+2q))
    np.testing.assert_allclose(moments.slope, 4 / np.pi / ((1 + 2 * VARIANCES) * np.sqrt(1 + 4 * VARIANCES)), rtol=1e-12)


def test_moments_of_relu_agree_with_closed_forms_at_every_variance():
    moments = gaussian_moments("relu", VARIANCES)
    np.testing.assert_allclose(moments.second_moment, VARIANCES / 2, rtol=1e-13)
    np.testing.assert_allclose([moments.derivative, moments.slope], 0.5, rtol=1e-13)


@pytest.mark.parametrize("q", [0.01, 1.0, 40.0])
def test_moments_with_two_kinks_agree_with_mpmath(q):
    moments = gaussian_moments(hard_tanh(), q)
    z = 1 / math.sqrt(q)
    inside = math.erf(z / math.sqrt(2))
    square = q * (inside - 2 * z * math.exp(-z * z / 2) / math.sqrt(2 * math.pi)) + 1 - inside
    np.testing.assert_allclose([moments.second_moment, moments.derivative], [square, inside], rtol=1e-13)


@pytest.mark.parametrize("function", [jax.nn.gelu, jax.nn.silu, jax.nn.softplus, jax.nn.sigmoid])
def test_the_error_estimate_of_smooth_functions_is_at_rounding_at_every_variance(function):
    assert gaussian_moments(function, VARIANCES).error.max() < TOLERANCE


def softened(x):
    return jnp.where(x > 0, x, 0.5 * jnp.sin(x))


# E clip(z, -1, 1)² = 1 - 2n(1) with the normal density n; E sin(z)² = (1 - exp(-2))/2
@pytest.mark.parametrize(
    ("function", "kinks", "exact"),
    [(softened, (0.0,), 0.5 + (1 - math.exp(-2)) / 16), (lambda x: jnp.clip(x, -1, 1), (-1.0, 1.0), 1 - math.sqrt(2 / (math.pi * math.e)))],
)
def test_undeclared_kinks_are_seen_by_the_error_estimate_and_refused(function, kinks, exact):
    moments = gaussian_moments(function, 1.0)
    np.testing.assert_allclose(gaussian_moments(activations.from_function(function, kinks=kinks), 1.0).second_moment, exact, rtol=1e-13)
    assert abs(float(moments.second_moment) / exact - 1) <= float(moments.error)
    with pytest.raises(InputError, match="declare its kinks"):
        usable_moments(function, 1.0)


def test_an_overflowing_function_has_infinite_error_and_raises_no_warning():
    assert gaussian_moments(jnp.exp, 1e8).error == np.inf
    np.testing.assert_allclose(gaussian_moments(jnp.exp, 1.0).second_moment, math.exp(2), rtol=1e-13)


def test_at_tiny_variances_the_second_moment_stays_linear_down_to_the_smallest_float():
    q = np.array([0.0, 1e-300, 1e-31, 1e-29])
    np.testing.assert_allclose(gaussian_moments("tanh", q).second_moment, q, rtol=1e-14)
    np.testing.assert_allclose(gaussian_moments("relu", q).second_moment, q / 2, rtol=1e-13)
    assert gaussian_moments(jnp.cos, 0.0).second_moment == 1


def test_the_homogeneous_moment_is_exact_for_relu_and_the_identity():
    assert homogeneous_moment(activations.get("relu")) == 0.5
    assert homogeneous_moment(activations.get("identity")) == 1.0


def test_results_are_float64_of_the_shape_of_q():
    moments = gaussian_moments("tanh", np.ones((2, 3), dtype=np.float32))
    for value in (moments.second_moment, moments.derivative, moments.slope, moments.error):
        assert value.shape == (2, 3)
        assert value.dtype == np.float64


@pytest.mark.parametrize("q", [-1.0, math.nan, "one"])
def test_bad_variances_are_refused(q):
    with pytest.raises(InputError):
        gaussian_moments("tanh", q)
