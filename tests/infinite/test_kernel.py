import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import quick
from mpmath import mp
from registry import NETWORKS, points

from kernelregime import activations, empirical, infinite, networks
from kernelregime._checks import InputError
from kernelregime.infinite.kernel import input_moments
from kernelregime.infinite.pairs import Points

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


@pytest.mark.parametrize(
    "activation",
    [
        activations.get("leaky_relu", alpha=np.float64(0.1)),
        activations.get("erf", a=jnp.float32(1.1), b=np.float64(0.9), c=np.float32(0.1)),
        activations.get("polynomial", coef=np.array([0.3, 0.8])),
        activations.from_function(lambda x: np.float64(0.5) * jnp.tanh(x)),
    ],
)
@pytest.mark.parametrize("depth", [2, 4])
def test_parameters_of_another_precision_do_not_change_that_of_the_result(activation, depth):
    with jax.enable_x64(True):
        k = infinite.kernel(networks.mlp(depth=depth, width=4, activation=activation, sigma_w2=np.float64(1.7), sigma_b2=np.float32(0.1)))
        single, double = jnp.ones((2, 3), jnp.float32), jnp.ones((1, 3), jnp.float64)
        for second, expected in ((None, single.dtype), (double, double.dtype)):
            found = jax.eval_shape(k, single, second)
            assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {expected}


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


@pytest.mark.parametrize(
    "bad", [(jnp.ones(3),), ([1.0, 2.0],), (jnp.ones((2, 3)), jnp.ones((2, 4))), (jnp.ones((2, 3, 1)), jnp.ones((2, 4, 1)))]
)
def test_inputs_that_are_not_rows_of_one_length_are_refused(bad):
    with pytest.raises(InputError, match=r"expected x1 \(N1, d\) and x2 \(N2, d\)"):
        infinite.kernel(NET)(*bad)


@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool", "complex64", "float16", "bfloat16"])
def test_arrays_without_the_precision_of_a_kernel_are_refused(dtype):
    with pytest.raises(InputError, match=f"expected inputs of float32 or float64; got x2 of dtype {dtype}; convert them"):
        infinite.kernel(NET)(jnp.ones((2, 3)), jnp.ones((2, 3), dtype))


@pytest.mark.parametrize("x64", [False, True])
def test_numbers_in_lists_take_the_default_float_of_jax(x64):
    k = infinite.kernel(networks.mlp(depth=1, width=4, sigma_b2=0.1))
    with jax.enable_x64(x64):
        expected = k(jnp.asarray([[1.0, -2.0], [0.5, 3.0]]), jnp.asarray([[1.0, 2.0]])).ntk
        for found in (k([[1.0, -2.0], (0.5, 3)], [[1, 2]]), quick(k)([[1.0, -2.0], [0.5, 3.0]], [[1.0, 2.0]])):
            assert found.ntk.dtype == jnp.result_type(float)
            np.testing.assert_allclose(found.ntk, expected, rtol=1e-5)


@pytest.mark.parametrize("bad", [None, "digits", [["a"]], [[1.0, 2.0], [1.0]], [[True]], [[1j]], [[None]]])
def test_what_is_no_table_of_numbers_is_refused(bad):
    with pytest.raises(InputError, match=r"expected x1 to hold real numbers, in rows of one length; got .*; give an array \(N, d\)"):
        infinite.kernel(NET)(bad)


@pytest.mark.parametrize(("sigma_w2", "depth"), [(1.0, 80), (4.0, 70)])
def test_variances_whose_product_leaves_the_range_of_floats_keep_their_kernels(sigma_w2, depth):
    """The diagonal of bias-free ReLU: Σ = (σ_w²/2)^L 2|x|²/d and Θ = L Σ."""
    net = networks.mlp(depth=depth, width=8, sigma_w2=sigma_w2)
    x = np.ones((1, 3), np.float32)
    for k in (infinite.kernel(net)(jnp.asarray(x)), infinite.gram(net, x)):
        expected = 2.0 * (sigma_w2 / 2) ** depth
        np.testing.assert_allclose(np.asarray(k.nngp, float), [[expected]], rtol=1e-5)
        np.testing.assert_allclose(np.asarray(k.ntk, float), [[depth * expected]], rtol=1e-5)


@pytest.mark.parametrize("scale", [1e15, 1e-12])
def test_inputs_far_from_one_keep_their_kernels_in_float32(scale):
    x = (scale * np.array([[1.0, 2.0], [2.0, -1.5]])).astype(np.float32)
    net = networks.mlp(depth=2, width=8, activation="identity", sigma_w2=1.0)
    expected = x.astype(float) @ x.astype(float).T / 2
    np.testing.assert_allclose(np.asarray(infinite.gram(net, x).nngp, float), expected, rtol=1e-5)
    np.testing.assert_allclose(np.asarray(infinite.kernel(net)(jnp.asarray(x)).nngp, float), expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["identity", "erf", "tanh"])
def test_the_nngp_moves_with_a_point_at_zero_as_it_does_beside_it(name):
    net = networks.mlp(depth=3, width=8, activation=name, sigma_w2=1.5, sigma_b2=0.2)
    with jax.enable_x64(True):
        y = jnp.asarray([[1.0, 2.0, -0.5]])
        slope = quick(jax.grad(lambda x: infinite.kernel(net)(x, y).nngp[0, 0]))
        at, beside = slope(jnp.zeros((1, 3))), slope(jnp.full((1, 3), 1e-7))
        np.testing.assert_allclose(at, beside, rtol=1e-5)


@pytest.mark.parametrize("name", ["identity", "erf"])
def test_derivatives_in_a_bias_variance_of_zero_are_those_beside_it(name):
    with jax.enable_x64(True):
        x = jnp.asarray([[1.0, 2.0], [2.5, 5.0], [-1.0, -2.0]])  # collinear and opposite

        def nngp(sigma_b2):
            return infinite.kernel(networks.mlp(depth=2, width=8, activation=name, sigma_w2=1.5, sigma_b2=sigma_b2))(x).nngp

        slope = quick(jax.jacfwd(nngp))
        at, beside = (slope(jnp.asarray(value)) for value in (0.0, 1e-7))
        np.testing.assert_allclose(at, beside, rtol=1e-5)


def test_second_derivatives_at_equal_points_are_those_of_the_formula():
    """∂²k/∂x∂y of a linear network is σ_w² · (σ_w²/d) I."""
    with jax.enable_x64(True):
        k = infinite.kernel(networks.mlp(depth=2, width=8, activation="identity", sigma_w2=1.5, sigma_b2=0.2))
        x = jnp.asarray([1.0, -2.0, 0.5])
        second = jax.jacfwd(jax.jacrev(lambda x, y: k(x[None], y[None]).nngp[0, 0]), argnums=1)
        mixed = quick(second)(x, x)
        np.testing.assert_allclose(mixed, 1.5**2 / 3 * np.eye(3), atol=1e-12)


@pytest.mark.parametrize(
    ("dtype", "nudges", "rtol"), [("float64", [1e-3, 1e-6, 1e-8, 1e-10], 1e-13), ("float32", [1e-2, 1e-4, 1e-6], 2e-6)]
)
def test_the_gap_of_close_pairs_has_the_digits_of_their_difference(dtype, nudges, rtol):
    """1 - ρ by rational arithmetic on the stored points themselves, of equal and of other length, beside and opposite."""
    rng = np.random.default_rng(0)
    for nudge in nudges:
        for length in (1.0, 3.7, -0.2, -1.0):
            x = rng.normal(size=7).astype(dtype)
            y = (length * (x + nudge * rng.normal(size=7))).astype(dtype)
            with mp.workdps(60):
                a, b = ([mp.mpf(float(value)) for value in row] for row in (x, y))
                rho = mp.fdot(a, b) / mp.sqrt(mp.fdot(a, a) * mp.fdot(b, b))
                expected = float(1 - abs(rho))
            with jax.enable_x64(dtype == "float64"):
                found = input_moments(jnp.asarray(x[None]), jnp.asarray(y[None])).gap[0]
                first, second, whole = Points.of(x[None]), Points.of(y[None]), slice(0, 1)
                i, j, tile = first.close(second, whole, whole, *first.correlations(second, whole, whole))
            assert (i.tolist(), j.tolist()) == ([0], [0])
            for gap in (found, tile):
                np.testing.assert_allclose(float(gap[0]), expected if length > 0 else -expected, rtol=rtol, err_msg=f"{nudge} {length}")


def test_zero_points_have_the_ntk_of_the_finite_network():
    """ReLU of zero is silent and so is its slope: only the biases of the readout move a network at x = 0 when all biases are zero."""
    net = networks.mlp(depth=4, width=6, sigma_w2=1.5, sigma_b2=0.0, parameterization="standard")
    x = np.array([[0.0, 0.0], [0.0, 0.0], [1.0, 2.0]])
    params = net.init(jax.random.key(0), (2,))
    finite = empirical.ntk((net, params), x, dtype="float64")[:2, :2]
    np.testing.assert_array_equal(finite, np.ones((2, 2)))
    np.testing.assert_array_equal(infinite.gram(net, x).ntk[:2, :2], finite)
    with jax.enable_x64(True):
        np.testing.assert_array_equal(jax.jit(infinite.kernel(net))(jnp.asarray(x)).ntk[:2, :2], finite)


def test_float64_inputs_are_refused_where_jax_would_round_them_silently():
    with pytest.raises(InputError, match="expected float32 inputs while JAX has no float64"):
        infinite.kernel(NET)(np.ones((2, 3)))


@pytest.mark.parametrize("depths", [(1, 3), [1, 3], np.array([1, 3]), np.array([1, 3], np.uint8), jnp.array([1, 3]), range(1, 4, 2)])
def test_depths_are_any_integers_in_a_row(depths):
    net, x = networks.mlp(depth=3, width=4), jnp.ones((2, 3))
    expected = infinite.kernel(net, depths=(1, 3))(x).ntk
    for given in (depths, iter([int(depth) for depth in depths])):
        np.testing.assert_array_equal(infinite.kernel(net, depths=given)(x).ntk, expected)


@pytest.mark.parametrize(
    ("depths", "words"),
    [
        (3, r"expected depths as a sequence of integers; got 3; give depths=\(3,\)"),
        (np.int64(3), r"give depths=\(3,\)"),
        (np.array(3), r"give depths=\(3,\)"),
        (2.5, "got 2.5; give a tuple of integers"),
        ("3", "got '3'; give a tuple of integers"),
        (np.array([1.0, 2.0]), "a depth to be an integer of at least 1; got 1.0"),
        (np.array([[1, 2]]), r"a depth to be an integer of at least 1; got \[1, 2\]"),
        (iter((1, 9)), r"rising depths from 1 to 3, .*; got depths \(1, 9\) of a Sequential"),
        ((True,), "a depth to be an integer"),
    ],
)
def test_depths_that_are_no_integers_in_a_row_are_refused(depths, words):
    with pytest.raises(InputError, match=words):
        infinite.kernel(networks.mlp(depth=3, width=4), depths=depths)
