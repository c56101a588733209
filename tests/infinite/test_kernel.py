import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registry import NETWORKS, points

from kernelregime import infinite, networks
from kernelregime._checks import InputError

NET = NETWORKS["relu with biases"]


def test_compiled_and_not_compiled_agree_and_one_argument_means_both():
    with jax.enable_x64(True):
        x = jnp.asarray(points()[:4])
        k = infinite.kernel(networks.mlp(depth=2, width=8, sigma_b2=0.1))
        plain, compiled = k(x, x), jax.jit(k)(x)
        for kind in ("nngp", "ntk"):
            np.testing.assert_allclose(getattr(plain, kind), getattr(compiled, kind), rtol=1e-14)


def test_the_dtype_of_the_inputs_is_that_of_the_result():
    with jax.enable_x64(True):
        k = jax.jit(infinite.kernel(NETWORKS["deep relu without biases"]))
        assert k(jnp.ones((2, 3), jnp.float32)).ntk.dtype == jnp.float32
        assert k(jnp.ones((2, 3), jnp.float64)).ntk.dtype == jnp.float64


def test_a_linear_network_has_its_kernels_by_hand():
    with jax.enable_x64(True):
        x = jnp.asarray([[1.0, 2.0], [3.0, -1.0]])
        dot = np.asarray(x @ x.T) / 2
        k = infinite.kernel(networks.mlp(depth=2, width=8, activation="identity", sigma_w2=3.0, sigma_b2=0.5))(x)
        first = 3 * dot + 0.5
        second = 3 * first + 0.5
        np.testing.assert_allclose(k.nngp, second, rtol=1e-14)
        np.testing.assert_allclose(k.ntk, 3 * first + second, rtol=1e-14)


def test_a_standard_linear_network_has_its_ntk_by_hand():
    """f = V W x + bias terms: Θ = σ_w² Θ¹ + n Σ¹ + 1 with Θ¹ = d (x·y/d) + 1 and Σ¹ = σ_w² x·y/d + σ_b²."""
    with jax.enable_x64(True):
        x = jnp.asarray([[1.0, 2.0], [3.0, -1.0]])
        dot = np.asarray(x @ x.T) / 2
        net = networks.mlp(depth=2, width=8, activation="identity", sigma_w2=3.0, sigma_b2=0.5, parameterization="standard")
        np.testing.assert_allclose(infinite.kernel(net)(x).ntk, 3 * (2 * dot + 1) + 8 * (3 * dot + 0.5) + 1, rtol=1e-14)


@pytest.mark.parametrize("depth", [2, 5, 12])
def test_the_ntk_diagonal_of_relu_at_the_edge_of_chaos_is_depth_times_the_nngp(depth):
    with jax.enable_x64(True):
        x = jnp.asarray([[1.0, -2.0, 0.5]])
        k = infinite.kernel(networks.mlp(depth=depth, width=8))(x)
        np.testing.assert_allclose(k.nngp, 2 * np.asarray(x @ x.T) / 3, rtol=1e-14)
        np.testing.assert_allclose(k.ntk, depth * np.asarray(k.nngp), rtol=1e-14)


@pytest.mark.parametrize("bad", [(np.ones(3),), (np.ones((2, 3)), np.ones((2, 4))), (np.ones((2, 3, 1)),)])
def test_inputs_that_are_not_rows_of_one_length_are_refused(bad):
    with pytest.raises(InputError, match=r"expected x1 \(N1, d\) and x2 \(N2, d\)"):
        infinite.kernel(NET)(*bad)


def test_integers_are_refused_because_they_have_no_precision():
    with pytest.raises(InputError, match="expected floating-point inputs"):
        infinite.kernel(NET)(jnp.ones((2, 3), jnp.int32))
