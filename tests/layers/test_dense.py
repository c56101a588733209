import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import quick

from kernelregime import empirical, infinite
from kernelregime._checks import InputError
from kernelregime.layers import Activation, Dense, Moments, Sequential
from kernelregime.layers.moments import affine, gap_of

KEY = jax.random.key(0)


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def test_ntk_parameters_are_standard_normal_and_scaled_in_the_function():
    layer = Dense(500, 3.0, 0.25)
    params = layer.init(KEY, (400,))
    assert params["w"].shape == (400, 500)
    assert params["b"].shape == (500,)
    assert abs(float(params["w"].std()) - 1) < 4 / np.sqrt(2 * params["w"].size)
    x = jax.random.normal(jax.random.key(1), (3, 400))
    expected = np.sqrt(3.0 / 400) * np.asarray(x @ params["w"]) + 0.5 * np.asarray(params["b"])
    np.testing.assert_allclose(layer.apply(params, x), expected, rtol=1e-12)


def test_standard_parameters_have_the_variances_themselves():
    layer = Dense(500, 3.0, 0.25, "standard")
    params = layer.init(KEY, (400,))
    assert abs(float(params["w"].var()) * 400 / 3 - 1) < 4 * np.sqrt(2 / params["w"].size)
    assert abs(float(params["b"].var()) / 0.25 - 1) < 4 * np.sqrt(2 / 500)
    x = jax.random.normal(jax.random.key(1), (3, 400))
    np.testing.assert_allclose(layer.apply(params, x), np.asarray(x @ params["w"] + params["b"][None]), rtol=1e-12)


def test_no_bias_and_a_bias_that_starts_at_zero_are_different_things():
    assert "b" not in Dense(3, 1.0).init(KEY, (2,))
    started = Dense(3, 1.0, 0, "standard").init(KEY, (2,))
    np.testing.assert_array_equal(started["b"], np.zeros(3))
    x = jnp.asarray([[1.0, 2.0]])
    k = jnp.asarray([[2.5]])
    moments = Moments(k, k, jnp.zeros((1, 1)), jnp.zeros((1, 1)), None, 0.0, 2, gaussian=False)
    with_bias, without = (Dense(3, 1.0, b, "standard").propagate(moments).ntk for b in (0, None))
    np.testing.assert_allclose(with_bias - without, [[1.0]])
    assert x.shape == (1, 2)


def test_initialization_can_be_differentiated_and_batched_over_the_variances():
    def norm(variances):
        params = Dense(4, variances[0], variances[1], "standard").init(KEY, (3,))
        return sum(jnp.sum(leaf**2) for leaf in params.values())

    variances = jnp.asarray([2.0, 0.5])
    slope = jax.grad(norm)(variances)
    np.testing.assert_allclose(jnp.vdot(slope, variances), norm(variances), rtol=1e-12)  # homogeneous of degree one
    assert jax.vmap(norm)(jnp.stack([variances, 2 * variances])).shape == (2,)


def test_leading_axes_of_a_point_are_kept():
    layer = Dense(5, 1.0, 0.1)
    params = layer.init(KEY, (7, 3))
    assert params["w"].shape == (3, 5)
    assert layer.apply(params, jnp.ones((2, 7, 3))).shape == (2, *layer.output_shape((7, 3))) == (2, 7, 5)


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ({"width": 0}, "expected width to be an integer of at least 1; got 0"),
        ({"width": 2.5}, "expected width to be an integer of at least 1; got 2.5"),
        ({"width": 2, "sigma_w2": -1.0}, r"expected sigma_w2 \(a variance\) to be a finite number, at least 0; got -1.0"),
        ({"width": 2, "sigma_b2": float("nan")}, r"expected sigma_b2 \(a variance\) to be a finite number"),
        ({"width": 2, "parameterization": "ntkk"}, "did you mean 'ntk'"),
    ],
)
def test_hyperparameters_out_of_range_are_refused(arguments, wanted):
    with pytest.raises(InputError, match=wanted):
        Dense(**arguments)


def test_inputs_of_the_wrong_size_are_refused():
    layer = Dense(3)
    with pytest.raises(InputError, match=r"expected inputs with 2 features; got shape \(1, 4\)"):
        layer.apply(layer.init(KEY, (2,)), jnp.ones((1, 4)))
    with pytest.raises(InputError, match="expected points with at least one axis"):
        layer.output_shape(())


def test_the_affine_map_of_moments_is_that_of_the_covariance():
    """Against k' = scale·k + shift formed directly, at generic correlations, where that loses nothing."""
    rng = np.random.default_rng(0)
    k1, k2, rho = rng.uniform(0.1, 3, 50), rng.uniform(0.1, 3, 50), rng.uniform(-0.9, 0.9, 50)
    gap = np.where(rho >= 0, 1 - rho, -(1 + rho))
    moments = Moments(*(jnp.asarray(v) for v in (k1, k2, gap)), None, None, 0.0, 1, gaussian=False)
    new1, new2, new_gap, tilt = affine(moments, jnp.asarray(1.7), jnp.asarray(0.3))
    expected = (1.7 * np.sqrt(k1 * k2) * rho + 0.3) / np.sqrt((1.7 * k1 + 0.3) * (1.7 * k2 + 0.3))
    np.testing.assert_allclose(new1, 1.7 * k1 + 0.3, rtol=1e-15)
    np.testing.assert_allclose(new2, 1.7 * k2 + 0.3, rtol=1e-15)
    after = Moments(new1, new2, new_gap, None, tilt, 0.0, 1, gaussian=False)
    np.testing.assert_allclose(after.nngp, 1.7 * np.sqrt(k1 * k2) * rho + 0.3, atol=2e-15)
    np.testing.assert_allclose(after.w, 1 - expected, rtol=1e-12)
    np.testing.assert_allclose(after.v, 1 + expected, rtol=1e-12)


def test_the_gap_tells_opposite_points_from_equal_ones():
    w, v = jnp.asarray([0.0, 2.0, 1.0, 1e-20, -1e-30]), jnp.asarray([2.0, 0.0, 1.0, 2.0, 2.0])
    one = jnp.ones(5)
    moments = Moments(one, one, gap_of(w, v), None, None, 0.0, 1, gaussian=False)
    np.testing.assert_array_equal(moments.w, jnp.maximum(w, 0))
    np.testing.assert_array_equal(moments.v, v)
    np.testing.assert_array_equal(moments.nngp, [1, -1, 0, 1, 1])


def test_a_width_scale_keeps_the_ntk_of_the_base_widths_in_standard_parameterization():
    """Widths s times as large: without s the NTK is s times as large, with it the infinite-width one of the base widths."""
    x = jnp.asarray([[1.0, 2.0, -0.5]])

    def layers(s):
        return Dense(8, 1.5, 0.1, "standard", (1, s)), Activation("relu"), Dense(1, 1.5, 0.1, "standard", (s, 1))

    base, scaled = (quick(infinite.kernel(Sequential(layers(s))))(x).ntk for s in (1, 512))
    np.testing.assert_allclose(scaled, base, rtol=1e-12)
    wide = Sequential(layers(512))
    kernel = empirical.ntk_function(wide.apply)
    draws = quick(jax.vmap(lambda key: kernel(wide.init(key, (3,)), x).squeeze()))(jax.random.split(KEY, 16))
    assert abs(np.mean(draws) - base.item()) <= 4 * np.std(draws, ddof=1) / 4
