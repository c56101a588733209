import re
import threading

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from compiling import quick
from registry import NETWORKS, kernels, points

from kernelregime import activations, infinite, networks
from kernelregime._checks import InputError

NET = NETWORKS["relu with biases"]


@pytest.fixture(scope="module")
def reference():
    with jax.enable_x64(True):
        k = kernels(NET, jnp.asarray(points()))
    return {"nngp": np.asarray(k.nngp), "ntk": np.asarray(k.ntk)}


def agree(found, expected, rtol=1e-13):
    for kind in ("nngp", "ntk"):
        root = np.sqrt(np.diagonal(expected[kind]))
        assert (np.abs(getattr(found, kind) - expected[kind]) <= rtol * np.outer(root, root)).all()


def test_the_host_driver_agrees_with_the_pure_function_for_points_in_every_relation(reference):
    found = infinite.gram(NET, points())
    agree(found, reference)
    assert found.error == 0.0


def test_symmetric_grams_are_exactly_symmetric_with_the_diagonal_of_duplicates():
    found = infinite.gram(NET, points(), memory=20_000)
    for matrix in (found.nngp, found.ntk):
        np.testing.assert_array_equal(matrix, matrix.T)
        assert matrix[0, 1] == matrix[0, 0] == matrix[1, 1]


@pytest.mark.parametrize("workers", [1, 2])
def test_blocks_and_threads_change_nothing(reference, workers):
    agree(infinite.gram(NET, points(), memory=workers * 16 * 8 * 25, workers=workers), reference)


def test_two_arguments_give_the_blocks_of_the_whole(reference):
    found = infinite.gram(NET, points()[:5], points()[3:])
    for kind in ("nngp", "ntk"):
        np.testing.assert_allclose(getattr(found, kind), reference[kind][:5, 3:], rtol=1e-12)


def test_close_pairs_keep_their_digits_where_a_matrix_product_would_lose_them():
    """Angles of 1e-5 ... 1e-8 rad at depth 10: a kinked NTK depends on the angle itself, a Gram product holds its square only to 1e-16."""
    net = NETWORKS["deep relu without biases"]
    x = np.ascontiguousarray(points()[[0, 4, 5, 6]])
    with jax.enable_x64(True):
        expected = np.asarray(kernels(net, jnp.asarray(points())).ntk)[np.ix_([0, 4, 5, 6], [0, 4, 5, 6])]
    np.testing.assert_allclose(infinite.gram(net, x).ntk, expected, rtol=1e-12)
    # the tolerance of the reference library would hide the loss that a naive angle suffers
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    naive = np.arccos(np.clip(unit @ unit.T, -1, 1))[0, 3]
    assert abs(naive - 1e-8) > 1e-9


def test_only_the_kinds_asked_for_are_computed():
    found = infinite.gram(NET, points(), kind="nngp")
    assert found.ntk is None
    assert infinite.gram(NET, points(), kind=("ntk",)).nngp is None


@pytest.mark.parametrize(
    ("given", "asked", "expected"),
    [("float32", None, "float32"), ("float64", "float32", "float32"), ("float32", "float64", "float64"), ("int64", None, "float64")],
)
def test_precision_is_an_argument_and_otherwise_that_of_the_inputs(reference, given, asked, expected):
    x = (4 * points()).astype(given)
    found = infinite.gram(NET, x, dtype=asked)
    assert found.ntk.dtype == found.nngp.dtype == np.dtype(expected)
    assert isinstance(found.ntk, np.ndarray)


def test_float32_is_within_its_rounding_of_float64():
    x = points().astype(np.float32)
    low, high = infinite.gram(NET, x), infinite.gram(NET, x, dtype="float64")
    agree(low, {"nngp": high.nngp, "ntk": high.ntk}, rtol=2e-6)


def test_a_worker_thread_gets_float64_too(reference):
    found = []
    thread = threading.Thread(target=lambda: found.append(infinite.gram(NET, points(), dtype="float64")))
    with jax.enable_x64(False):
        thread.start()
        thread.join()
    agree(found[0], reference)


def test_huge_and_tiny_inputs_neither_overflow_nor_vanish():
    net = networks.mlp(depth=3, width=8)
    x = points()[[0, 3, 8]]
    expected = infinite.gram(net, x).ntk
    for scale in (1e-70, 1e70):
        np.testing.assert_allclose(infinite.gram(net, scale * x).ntk, scale**2 * expected, rtol=1e-13)
    for scale in (1e-8, 1e8):
        single = (scale * x).astype(np.float32)
        np.testing.assert_allclose(infinite.gram(net, single).ntk, scale**2 * expected, rtol=1e-5)


@pytest.mark.usefixtures("quick_grams")
def test_the_quadrature_error_is_reported():
    assert infinite.gram(NETWORKS["tanh with biases"], points()[:4]).error < 1e-12
    swish = activations.from_function(jax.nn.hard_swish, kinks=(-3.0, 3.0))
    assert infinite.gram(networks.mlp(depth=2, width=8, activation=swish), points()[:4]).error > 1e-6


def test_progress_reaches_the_end():
    seen = []
    infinite.gram(NET, points(), memory=16 * 8 * 49, progress=lambda *step: seen.append(step))
    assert seen[-1][0] == seen[-1][1] == len(seen) > 1


@pytest.mark.parametrize(
    ("arguments", "options", "wanted"),
    [
        (([1.0, 2.0],), {}, "x1 to be 2-dimensional"),
        (([[1.0, np.nan]],), {}, "x1 to be finite"),
        ((np.ones((2, 3)), np.ones((2, 4))), {}, "x2 with 3 features, as x1 has"),
        ((np.ones((2, 3)), np.full((1, 3), np.inf)), {}, "x2 to be finite"),
        ((np.ones((2, 3)),), {"kind": "ntkk"}, "did you mean 'ntk'"),
        ((np.ones((2, 3)),), {"dtype": "float16"}, "dtype to be float32 or float64"),
        ((np.ones((2, 3)),), {"memory": 3}, "a memory budget of at least"),
        ((np.ones((2, 3)),), {"workers": 0}, "workers to be an integer of at least 1"),
    ],
)
def test_bad_input_is_refused_in_one_line(arguments, options, wanted):
    with pytest.raises(InputError) as caught:
        infinite.gram(NET, *arguments, **options)
    assert wanted in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["relu with biases", "relu, standard parameterization", "tanh with biases"])
def test_the_diagonal_alone_is_that_of_the_matrix_exactly(name):
    whole, alone = infinite.gram(NETWORKS[name], points()), infinite.diagonal(NETWORKS[name], points())
    rounding = 4e-16 if name.startswith("tanh") else 0.0  # sums over nodes in another order
    np.testing.assert_allclose(alone.nngp, np.diagonal(whole.nngp), rtol=rounding, atol=0)
    np.testing.assert_allclose(alone.ntk, np.diagonal(whole.ntk), rtol=rounding, atol=0)
    assert infinite.diagonal(NETWORKS[name], points(), kind="nngp", dtype="float32").ntk is None


@pytest.mark.usefixtures("quick_grams")
@pytest.mark.parametrize("parameterization", ["ntk", "standard"])
def test_several_depths_in_one_pass_are_the_kernels_of_the_networks_cut_there(parameterization):
    def net(depth):
        return networks.mlp(depth=depth, width=16, sigma_w2=1.8, sigma_b2=0.1, parameterization=parameterization)

    depths = (1, 2, 4, 6, 9)
    together = infinite.gram(net(9), points(), depths=depths, memory=10**6)
    across = infinite.gram(net(9), points()[:3], points()[3:], depths=depths, kind="nngp")
    alone = infinite.diagonal(net(9), points(), depths=depths)
    with jax.enable_x64(True):
        pure = quick(infinite.kernel(net(9), depths=depths))(jnp.asarray(points()))
    for i, depth in enumerate(depths):
        # a cut network ends in 16 units, which in `standard` only the widths before them can tell from one
        single = infinite.gram(net(depth), points())
        for kind in ("nngp", "ntk"):
            expected = getattr(single, kind)
            np.testing.assert_allclose(getattr(together, kind)[i], expected, rtol=1e-13)
            np.testing.assert_allclose(getattr(alone, kind)[i], np.diagonal(expected), rtol=1e-15)
            np.testing.assert_allclose(getattr(pure, kind)[i], expected, rtol=1e-12, atol=1e-13 * expected.max())
        np.testing.assert_allclose(across.nngp[i], single.nngp[:3, 3:], rtol=1e-13)
    assert across.ntk is None


@pytest.mark.parametrize(
    ("depths", "got"), [((2, 1), "(2, 1)"), ((1, 4), "(1, 4)"), ((), "()"), ((0, 1), "a depth"), ((1, 1), "(1, 1)"), ((1.5,), "a depth")]
)
def test_depths_the_network_does_not_have_are_refused(depths, got):
    with pytest.raises(InputError, match=re.escape(got)):
        infinite.gram(networks.mlp(depth=3, width=4), points(), depths=depths)


def test_a_hundred_thousand_layers_cost_at_most_one_rounding_each():
    """Bias-free ReLU at σ_w² = 2: with angle t, ρ' = (sin t + (π - t) ρ)/π and Θ' = Θ (π - t)/π + ρ' a layer, in 30 digits."""
    depth, x = 100_000, np.sqrt(2) * np.array([[np.cos(t), np.sin(t)] for t in (0.0, 0.7, 1e-4, 3.1)])
    net = networks.mlp(depth=depth, width=4, sigma_w2=2.0)
    found, low = (infinite.gram(net, x, dtype=dtype) for dtype in ("float64", "float32"))
    with mpmath.workdps(30):
        first, others = [mpmath.mpf(float(v)) for v in x[0]], [[mpmath.mpf(float(v)) for v in row] for row in x[1:]]
        scale = mpmath.fsum(v * v for v in first)
        for j, other in enumerate(others, 1):
            norm = mpmath.sqrt(scale * mpmath.fsum(v * v for v in other))
            rho = mpmath.fsum(a * b for a, b in zip(first, other, strict=True)) / norm
            ntk = rho
            over_pi = 1 / mpmath.pi
            for _ in range(depth - 1):
                sine = mpmath.sqrt((1 - rho) * (1 + rho))
                left = 1 - mpmath.atan2(sine, rho) * over_pi
                rho = sine * over_pi + left * rho
                ntk = ntk * left + rho
            for matrix, exact in ((found.nngp, norm * rho), (found.ntk, norm * ntk)):
                assert abs(matrix[0, j] / float(exact) - 1) <= depth * 2.0**-53
            assert abs(low.ntk[0, j] / float(norm * ntk) - 1) <= depth * 2.0**-24
    np.testing.assert_allclose(np.diagonal(found.ntk), depth * 2, rtol=1e-12)


def test_the_status_says_whether_the_digits_are_there():
    x = np.random.default_rng(0).normal(size=(3, 4))
    assert infinite.gram(networks.mlp(depth=3, width=8, activation="tanh"), x).status == "reliable"
    growing = networks.mlp(depth=2, width=8, activation="gaussian(a=1.0, b=1.0)")  # E φ² is finite for variances below 1/4
    assert infinite.gram(growing, 0.1 * x).status == "reliable"
    assert infinite.gram(growing, x).status.startswith("NOT RELIABLE: E φ² of an activation is not finite")
    assert infinite.gram(networks.mlp(depth=3, width=8, activation="relu", sigma_w2=1e10), x.astype("float32")).status == "reliable"
    for biases in (None, 0.1):  # the kernels themselves leave the range of floats
        beyond = networks.mlp(depth=5, width=8, sigma_w2=1e20, sigma_b2=biases)
        for batch in (x, np.random.default_rng(0).normal(size=(300, 4))):
            found = infinite.gram(beyond, batch.astype("float32"))
            assert not np.isfinite(found.ntk).all()
            assert found.status.startswith("NOT RELIABLE")
    assert infinite.status(2e-3).startswith("NOT RELIABLE: off by 2.0e-03 relative to the kernel, by the quadrature of an activation")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_opposite_points_stay_opposite_at_any_depth_of_an_odd_network(dtype):
    """Near -1 the correlation map of sign takes roots: what is not exactly opposite is soon far from it."""
    x = np.random.default_rng(0).normal(size=(3, 4))
    found = infinite.gram(networks.mlp(depth=31, width=8, activation="sign"), np.concatenate([x, -x]), dtype=dtype)
    np.testing.assert_array_equal(np.diagonal(found.nngp[:3, 3:]), -np.diagonal(found.nngp)[:3])
