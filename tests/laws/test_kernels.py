import jax
import jax.numpy as jnp
import numpy as np
import pytest
from comparison import exact, translate
from registry import NETWORKS, TRACED, gradients, kernels, one_by_one, points

KINDS = ("nngp", "ntk")
N = len(points())


@pytest.fixture(params=NETWORKS)
def network(request):
    return NETWORKS[request.param]


@pytest.fixture
def x():
    return jnp.asarray(points())


def close(ours, expected, scale, rtol):
    """|ours - expected| <= rtol √(k11 k22), with k11 and k22 from the diagonal of `scale`; zero points without biases: exactly."""
    root = np.sqrt(np.diagonal(scale))
    return (np.abs(np.asarray(ours) - np.asarray(expected)) <= rtol * np.outer(root, root)).all()


def test_kernels_are_symmetric_positive_and_finite_for_points_in_every_relation(network, x):
    for matrix in map(np.asarray, kernels(network, x)[:2]):
        assert np.isfinite(matrix).all()
        assert close(matrix, matrix.T, matrix, 1e-14)
        values = np.linalg.eigvalsh(matrix)
        assert values[0] >= -1e-14 * N * values[-1]


def test_identical_points_have_exactly_the_diagonal_between_them(network, x):
    for matrix in map(np.asarray, kernels(network, x)[:2]):
        assert matrix[0, 1] == matrix[1, 0] == matrix[0, 0] == matrix[1, 1]


def test_kernels_of_points_one_by_one_are_rows_and_diagonal_of_the_whole(network, x):
    rows, alone = one_by_one(network, x)
    for kind in KINDS:
        whole = np.asarray(getattr(kernels(network, x), kind))
        assert close(getattr(rows, kind)[:, 0], whole, whole, 1e-14)
        np.testing.assert_allclose(np.ravel(getattr(alone, kind)), np.diagonal(whole), rtol=1e-14)


# An evaluation in 60 digits exists for the activations with closed forms.
CLOSED = [name for name, network in NETWORKS.items() if exact.known(translate.spec(network))]


@pytest.mark.parametrize("name", CLOSED)
def test_kernels_agree_with_sixty_digits_for_points_in_every_relation(name, x):
    found, spec = kernels(NETWORKS[name], x), translate.spec(NETWORKS[name])
    for i, j in zip(*np.triu_indices(N), strict=True):
        expected = exact.pair(spec, points()[i], points()[j])
        for kind in KINDS:
            matrix = np.asarray(getattr(found, kind))
            scale = np.sqrt(matrix[i, i] * matrix[j, j])
            assert abs(matrix[i, j] - expected[kind]) <= 1e-13 * scale, (kind, i, j)


@pytest.mark.parametrize("kind", [0, 1], ids=KINDS)
def test_gradients_are_finite_for_points_in_every_relation(network, x, kind):
    weights = jnp.zeros((2, N, N)).at[kind].set(1.0)
    assert all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(gradients(network, x, weights)))


def apart():
    """Random weights on pairs of points that are neither zero nor within 0.05 rad of parallel or opposite."""
    norm = np.linalg.norm(points(), axis=1)
    with np.errstate(invalid="ignore"):
        cosine = points() @ points().T / np.outer(norm, norm)
    return np.where(np.abs(cosine) < np.cos(0.05), np.random.default_rng(1).normal(size=(2, N, N)), 0)


def difference(function, step):
    """The derivative at 0 by a central difference of fourth order."""
    weights = {1: 2 / 3, 2: -1 / 12}
    return sum(c * (function(k * step) - function(-k * step)) for k, c in weights.items()) / step


def test_gradients_are_those_of_finite_differences_in_inputs_and_variances(network, x):
    weights, rng = apart(), np.random.default_rng(2)
    slopes = gradients(network, x, jnp.asarray(weights))
    parts = {"variances": (0.1, 0.0), "inputs": (0.0, 1.0)}
    for part, (of_variances, of_inputs) in parts.items():
        leaves, structure = jax.tree.flatten(network)
        size = np.linalg.norm(points(), axis=1, keepdims=True)  # a small point is not turned far
        along = [of_variances * rng.normal() for _ in leaves], of_inputs * size * rng.normal(size=x.shape)

        def moved(t, leaves=leaves, structure=structure, along=along):
            varied = jax.tree.unflatten(structure, [leaf + t * s for leaf, s in zip(leaves, along[0], strict=True)])
            found = kernels(varied, x + t * along[1])
            return np.sum(weights[0] * found.nngp + weights[1] * found.ntk)

        slope = sum(float(g) * s for g, s in zip(jax.tree.leaves(slopes[0]), along[0], strict=True)) + np.sum(slopes[1] * along[1])
        np.testing.assert_allclose(slope, difference(moved, 1e-4), rtol=1e-8, err_msg=part)


def test_a_change_of_variances_does_not_compile_again(network, x):
    first, key = kernels(network, x), (jax.tree.structure(network), x.shape, "float64")
    before = TRACED[key]
    second = kernels(jax.tree.map(lambda leaf: 1.5 * leaf, network), x)
    assert TRACED[key] == before > 0
    assert not np.allclose(first.ntk, second.ntk)


def test_float32_inputs_give_float32_kernels_close_to_float64(network):
    single = jnp.asarray(points().astype(np.float32))
    low, high = kernels(network, single), kernels(network, single.astype(jnp.float64))
    for kind in KINDS:
        expected = np.asarray(getattr(high, kind))
        assert getattr(low, kind).dtype == jnp.float32
        assert close(getattr(low, kind), expected, expected, 1e-5)
        np.testing.assert_allclose(np.diagonal(getattr(low, kind)), np.diagonal(expected), rtol=2e-6)
