import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gaussian import expectation

from kernelregime import _precision, activations
from kernelregime._checks import InputError
from kernelregime.activations import from_function
from kernelregime.activations.quadrature import _basis, _rule

TANH = activations.get("tanh")


@pytest.fixture(autouse=True)
def float64():
    with _precision.enter("float64"):
        yield


def dual_at(phi, a, b, rho):
    rho = jnp.asarray(rho)
    shape = rho.shape
    return phi.dual(jnp.full(shape, a), jnp.full(shape, b), 1 - rho, 1 + rho)


def actual_error(phi, a, b, correlations):
    """The largest error of the dual at these correlations, by adaptive quadrature, as a share of √(E φ(u)² E φ(v)²)."""
    f, slope = (lambda x: np.asarray(phi(jnp.asarray(x)))), (lambda x: np.asarray(phi.derivative(jnp.asarray(x))))
    dual = dual_at(phi, a, b, correlations)
    norm = np.sqrt(float(phi.second_moment(jnp.asarray(a)) * phi.second_moment(jnp.asarray(b))))
    worst = 0.0
    for i, rho in enumerate(correlations):
        value = expectation(f, a, b, 1 - rho, 1 + rho, radial=600, angular=300)
        rate = expectation(slope, a, b, 1 - rho, 1 + rho, radial=600, angular=300)
        worst = max(worst, abs(float(dual.one_minus[i]) - (1 - value / norm)), abs(float(dual.derivative[i]) - rate))
    return worst


@pytest.mark.parametrize("q", [1e-3, 0.1, 1.0, 4.0, 10.0])
def test_the_error_of_tanh_is_below_its_own_estimate(q):
    correlations = [1.0, 0.9999, 0.9, 0.3, -0.5, -1.0]
    estimate = float(dual_at(TANH, q, q, correlations).error)
    assert actual_error(TANH, q, q, correlations) <= estimate + 1e-12
    assert estimate <= {1e-3: 1e-13, 0.1: 1e-13, 1.0: 1e-13, 4.0: 1e-11, 10.0: 1e-6}[q]


def test_tanh_of_unequal_variances_is_within_its_estimate():
    estimate = float(dual_at(TANH, 0.05, 6.0, [0.9]).error)
    assert actual_error(TANH, 0.05, 6.0, [0.9, -0.7, 0.0]) <= estimate + 1e-12


def test_a_variance_too_large_for_the_series_is_reported_not_hidden():
    estimate = float(dual_at(TANH, 2000.0, 2000.0, [0.5]).error)
    assert estimate > 1e-3
    assert 1e-6 < actual_error(TANH, 2000.0, 2000.0, [0.9999]) <= estimate


def test_a_function_with_kinks_by_quadrature_reports_a_large_error():
    kinked = from_function(jnp.abs, name="modulus")
    estimate = float(dual_at(kinked, 1.0, 1.0, [0.5]).error)
    assert estimate > 1e-6
    smooth = from_function(jax.nn.softplus)
    assert float(dual_at(smooth, 1.0, 1.0, [0.5]).error) < 1e-12


def test_erf_by_quadrature_agrees_with_its_closed_form():
    by_series, closed = from_function(jax.lax.erf, name="erf series"), activations.get("erf")
    a, b, rho = jnp.asarray([0.3, 1.0, 2.0]), jnp.asarray([0.3, 0.5, 1.0]), jnp.asarray([0.999, 0.4, -0.8])
    ours, expected = (phi.dual(a, b, 1 - rho, 1 + rho) for phi in (by_series, closed))
    for name in ("one_minus", "one_plus", "derivative"):
        np.testing.assert_allclose(getattr(ours, name), getattr(expected, name), rtol=1e-11)


def test_the_basis_is_orthonormal_under_the_rule():
    _, weights = _rule()
    basis = _basis()[:, :15] / np.sqrt(weights)[:, None]  # higher ones reach beyond the nodes before the weight is applied
    np.testing.assert_allclose(basis.T @ basis, np.eye(15), atol=1e-13)


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
