"""Sequences and graphs: several lengths, recurrent layers and given maps, against references written from the definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import quick

from kernelregime import infinite, layers
from kernelregime._checks import InputError
from kernelregime.layers import (
    Activation,
    Aggregate,
    Attention,
    Batch,
    Branches,
    Conv,
    Crop,
    Dense,
    Flatten,
    GlobalPool,
    Identity,
    Last,
    LayerNorm,
    Pool,
    PositionMap,
    Recurrent,
    Resize,
    Sequential,
)

pytestmark = pytest.mark.usefixtures("quick_grams", "strict_float64")
RELU = Activation("relu")
WEIGHTS = {"sigma_w2": 1.6, "sigma_b2": 0.1}


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def both(network, x1, x2=None, **options):
    found = quick(infinite.kernel(network, **options))(*(x if x is None else jax.tree.map(jnp.asarray, x) for x in (x1, x2)))
    return np.asarray(found.nngp), np.asarray(found.ntk)


def relu_duals(k, theta):
    """E φ(u)φ(v), and Θ times E φ'φ', for covariances of all units with one another."""
    root = np.sqrt(np.outer(np.diag(k), np.diag(k)))
    angle = np.arccos(np.clip(k / root, -1, 1))
    return root * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / (2 * np.pi), theta * (np.pi - angle) / (2 * np.pi)


def recurrence(inputs, times, sigma_w2, parameters):
    """Σ and Θ of relu states of a recurrent layer: `inputs` are the covariances of U x + b for all units (sequence, time)."""
    count = len(inputs)
    sigma, theta = np.zeros((count, count)), np.zeros((count, count))
    for t in range(times):  # every pair (t, t') with min(t, t') = t is final after this round
        before, moved = relu_duals(sigma + 1e-300 * np.eye(count), theta) if t else (np.zeros_like(sigma), np.zeros_like(theta))
        index = np.arange(count).reshape(-1, times)
        came, slope = np.zeros_like(sigma), np.zeros_like(theta)
        later, earlier = index[:, 1:].ravel(), index[:, :-1].ravel()
        came[np.ix_(later, later)], slope[np.ix_(later, later)] = before[np.ix_(earlier, earlier)], moved[np.ix_(earlier, earlier)]
        sigma = inputs + sigma_w2 * came
        theta = parameters(inputs, came) + sigma_w2 * slope
    return relu_duals(sigma, theta)


@pytest.mark.parametrize("parameterization", ["ntk", "standard"])
def test_recurrent_layers_have_the_kernels_of_the_recursion_over_all_units(parameterization):
    x, times, width = normal(3, 4, 2), 4, 7
    units = x.reshape(12, 2)
    gram = units @ units.T / 2

    def own(inputs, came):
        return inputs + 1.3 * came if parameterization == "ntk" else 2 * gram + 1 + width * came

    nngp, ntk = recurrence(0.8 * gram + 0.2, times, 1.3, own)
    network = Sequential((Recurrent(width, "relu", 1.3, 0.8, 0.2, parameterization),))
    wanted = [k.reshape(3, 4, 3, 4).transpose(0, 2, 1, 3) for k in (nngp, ntk)]
    for found, expected in zip(both(network, x, positions="all"), wanted, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-7)  # of the reference, whose angles come from arccos
    for found, expected in zip(both(network, x), wanted, strict=True):
        np.testing.assert_allclose(found, np.diagonal(expected, axis1=2, axis2=3), rtol=1e-7)
    for end, expected in ((Last(), [k[..., -1, -1] for k in wanted]), (GlobalPool(), [k.mean((2, 3)) for k in wanted])):
        for found, kernel in zip(both(Sequential((*network.layers, end)), x), expected, strict=True):
            np.testing.assert_allclose(found, kernel, rtol=1e-7)


def test_a_recurrent_network_of_great_width_has_the_infinite_kernels():
    network = Sequential((Recurrent(600, "tanh", 1.3, 0.8, 0.2), Last(), Dense(1, 1.2)))
    x = Batch(jnp.asarray(normal(2, 3, 2)), jnp.asarray([[True] * 3, [True, True, False]]))

    def one(key):
        params = network.init(key, (3, 2), jnp.float64)
        f, rows = network.apply(params, x)[:, 0], jax.jacrev(lambda p: network.apply(p, x)[:, 0])(params)
        flat = jnp.concatenate([leaf.reshape(2, -1) for leaf in jax.tree.leaves(rows)], axis=1)
        return jnp.outer(f, f), flat @ flat.T

    samples = quick(lambda keys: jax.lax.map(one, keys))(jax.random.split(jax.random.key(0), 100))
    for sample, kernel in zip(samples, both(network, x), strict=True):
        sem = sample.std(axis=0, ddof=1) / 10
        assert (np.abs(sample.mean(axis=0) - kernel) <= 4 * sem + 5 / 600 * np.abs(kernel)).all()


SHORT = {
    "convolutions": (Conv(8, (3,), **WEIGHTS), RELU, Conv(8, (3,), **WEIGHTS), RELU),
    "dilated": (Conv(8, (3,), **WEIGHTS, dilation=(2,)), RELU),
    "two dilated taps": (Conv(8, (2,), **WEIGHTS, dilation=(2,)), RELU),
    "every position alone": (Dense(8, 1.6, 0.1), RELU, Dense(8, 1.6, 0.1), LayerNorm(), RELU),
    "residual": (Conv(8, (3,), **WEIGHTS), Branches((Sequential((RELU, Conv(8, (3,), 1.2))), Identity())), RELU),
    "concatenated": (Branches((Sequential((Conv(8, (3,), 1.2), RELU)), Dense(4)), "concatenate"),),
    "softmax attention": (Dense(8, 1.6, 0.1), Attention(8, sigma_b2=0.1), RELU),
    "attention with positions": (Dense(8, 1.6), Attention(8, embedding="sum")),
    "attention with positions in values": (Dense(8, 1.6), Attention(8, embedding="sum", embed_values=True, embedding_length=2.0), RELU),
    "linear attention": (Dense(8, 1.6), Attention(8, weights="relu"), RELU),
    "attention of 1/√d": (Dense(8, 1.6), Attention(8, weights="identity", scaling="root")),
    "softmax attention of 1/√d": (Dense(8, 1.6), Attention(8, sigma_b2=0.1, scaling="root", embedding="sum", samples=64), RELU),
    "linear attention of 1/√d": (Dense(8, 1.6), Attention(8, weights="relu", scaling="root", embedding="sum"), RELU),
    "recurrent": (Recurrent(8, "erf", 1.3, 0.8, 0.2),),
    "pooled by two": (Conv(8, (3,), **WEIGHTS), RELU, Pool((2,), edges="inside"), Dense(8), RELU),
}
ENDS = {"mean": GlobalPool(), "sum": GlobalPool("sum"), "last": Last()}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("name", SHORT)
def test_a_sequence_that_ends_early_is_the_shorter_sequence(name, end):
    """At infinite and at finite width, whatever stands where it has ended."""
    network = Sequential((*SHORT[name], ENDS[end], Dense(1, 1.3, 0.2)))
    x = normal(3, 7, 2)
    there = np.arange(7) < np.array([[4], [7], [4]])
    short = x[[0, 2], :4]
    filled = np.where(there[..., None], x, np.nan)
    for found, expected in zip(both(network, Batch(filled, there)), both(network, short), strict=True):
        # angles have the digits of covariances after a pooling
        rtol = 1e-9 if name.startswith("pooled") else 1e-12
        np.testing.assert_allclose(found[np.ix_([0, 2], [0, 2])], expected, rtol=rtol)
        assert np.isfinite(found).all()
    params = network.init(jax.random.key(0), (7, 2), jnp.float64)
    shorter = [dict(p, p=p["p"][:4]) if isinstance(p, dict) and "p" in p else p for p in params]
    out = network.apply(params, Batch(jnp.asarray(filled), jnp.asarray(there)))
    np.testing.assert_allclose(out[jnp.array([0, 2])], network.apply(tuple(shorter), jnp.asarray(short)), rtol=1e-12)


GAPS = np.array([[0, 1, 1, 0, 1], [1, 0, 0, 1, 1], [0, 0, 1, 1, 1]], bool)  # the last is padded in front
ENDED = np.arange(5) < GAPS.sum(1)[:, None]


def gaps_and_none(x):
    """Sequences with gaps, and the same closed up."""
    ended = np.full_like(x, np.nan)
    ended[ENDED] = x[GAPS]
    return Batch(np.where(GAPS[..., None], x, np.nan), GAPS), Batch(ended, ENDED)


def test_recurrent_states_pass_what_is_absent_unchanged():
    """Kernels at all pairs of positions and at equal ones, and outputs, are those of the sequences without their gaps."""
    network = Sequential((Recurrent(8, "relu", 1.3, 0.8, 0.2), Recurrent(9, "relu", 1.2, 1.1, 0.1, "standard")))
    batches, kernel = gaps_and_none(normal(3, 5, 2)), quick(infinite.kernel(network, positions="all"))
    own = infinite.gram(network, batches[0])
    found, closed = (kernel(jax.tree.map(jnp.asarray, batch)) for batch in batches)
    for name in ("nngp", "ntk"):
        each, other = (np.asarray(getattr(k, name)) for k in (found, closed))
        wanted = np.zeros_like(each)
        for i, j in np.ndindex(3, 3):
            wanted[i, j][np.ix_(GAPS[i], GAPS[j])] = other[i, j][np.ix_(ENDED[i], ENDED[j])]
        np.testing.assert_allclose(each, wanted, rtol=1e-13)
        np.testing.assert_allclose(getattr(own, name), np.einsum("ijpp->ijp", wanted), rtol=1e-13)
    params = network.init(jax.random.key(0), (5, 2), jnp.float64)
    out, wanted = (network.apply(params, jax.tree.map(jnp.asarray, batch)).values for batch in batches)
    np.testing.assert_allclose(out[GAPS], wanted[ENDED], rtol=1e-13)
    assert (out[~GAPS] == 0).all()


def test_states_after_a_convolution_with_gaps_are_those_of_the_recursion_over_what_is_present():
    x, conv = normal(3, 5, 2), Conv(8, (3,), 1.6, 0.1)
    batch = gaps_and_none(x)[0]
    k, theta = (part[np.ix_(GAPS.ravel(), GAPS.ravel())] for part in convolved_sequences(x * GAPS[..., None], conv))
    inputs, moved = 0.8 * k + 0.2, 0.8 * theta
    sigma, tangents = inputs, np.zeros_like(inputs)
    before = np.where(np.diff(np.nonzero(GAPS)[0], prepend=-1) == 0, np.arange(len(k)) - 1, len(k))  # the unit before, or none
    for _ in range(5):  # after round t the states that follow t others are final
        duals = [np.pad(part, (0, 1)) for part in relu_duals(sigma, tangents)]
        came, slope = (part[np.ix_(before, before)] for part in duals)
        sigma = inputs + 1.3 * came
        tangents = moved + sigma + 1.3 * slope
    last = np.cumsum(GAPS.sum(1)) - 1
    network = Sequential((conv, Recurrent(7, "relu", 1.3, 0.8, 0.2), Last()))
    found = infinite.gram(network, batch)
    for kernel, expected in zip((found.nngp, found.ntk), relu_duals(sigma, tangents), strict=True):
        np.testing.assert_allclose(kernel, expected[np.ix_(last, last)], rtol=1e-7)  # of the reference, whose angles come from arccos


def convolved_sequences(x, conv):
    """Σ and Θ of all units (sequence, position) after a "SAME" window of three."""
    padded = np.pad(x, ((0, 0), (1, 1), (0, 0)))
    taps = np.concatenate([padded[:, t : t + x.shape[1]] for t in range(3)], axis=-1)
    k = conv.sigma_w2 * covariances(taps) + conv.sigma_b2
    return k, k


def test_flattening_keeps_zeros_where_a_sequence_has_ended():
    network = Sequential((Dense(8, 1.6, 0.1), RELU, Flatten(), Dense(1, 1.3)))
    x, there = normal(2, 5, 2), np.arange(5) < np.array([[3], [5]])
    found, whole = both(network, Batch(x, there)), both(network, x[:, :3])
    for kernel, shorter in zip(found, whole, strict=True):
        np.testing.assert_allclose(kernel[0], 3 / 5 * shorter[0], rtol=1e-12)


def covariances(x):
    """Of all units (point, node)."""
    units = x.reshape(-1, x.shape[-1])
    return units @ units.T / x.shape[-1]


def block_diagonal(graphs):
    n, p, _ = graphs.shape
    whole = np.zeros((n * p, n * p))
    for index, graph in enumerate(graphs):
        whole[index * p : (index + 1) * p, index * p : (index + 1) * p] = graph
    return whole


@pytest.mark.parametrize("signs", ["positive", "both", "none add up"])
def test_graph_networks_have_the_kernels_of_sums_over_edges(signs):
    x, graphs = normal(3, 4, 2), normal(3, 4, 4, seed=1)
    if signs == "positive":
        graphs = np.abs(graphs) * (graphs > -0.5)
    if signs == "none add up":  # a Laplacian
        graphs = np.abs(graphs)
        graphs = np.eye(4) * graphs.sum(-1, keepdims=True) - graphs
    a, k, theta = block_diagonal(graphs), covariances(x), np.zeros((12, 12))
    for _ in range(2):
        k, theta = a @ k @ a.T, a @ theta @ a.T
        k = 1.6 * k + 0.1
        theta = 1.6 * theta + k
        k, theta = relu_duals(k, theta)
    network = Sequential((Aggregate(), Dense(8, 1.6, 0.1), RELU) * 2 + (GlobalPool(),))
    for found, expected in zip(both(network, Batch(x, None, graphs)), (k, theta), strict=True):
        np.testing.assert_allclose(found, expected.reshape(3, 4, 3, 4).mean((1, 3)), rtol=1e-6)


def test_near_points_on_one_graph_have_the_digits_of_covariances():
    x, graph = normal(1, 4, 2), np.abs(normal(1, 4, 4, seed=1))
    y = x + 1e-5 * normal(1, 4, 2, seed=2)
    network = Sequential((Dense(8, 1.6), RELU, Aggregate(), Dense(8), RELU, GlobalPool(), Dense(1)))
    gaps = []
    for step in (1.0, 0.5):
        near = Batch(np.concatenate([x, x + step * (y - x)]), None, np.concatenate([graph, graph]))
        _, ntk = both(network, near)
        gaps.append((ntk[0, 0] + ntk[1, 1] - 2 * ntk[0, 1]) / ntk[0, 0])
    np.testing.assert_allclose(gaps[0] / gaps[1], 2, rtol=1e-3)  # the NTK of a ReLU is not smooth: a distance, not its square


def test_a_map_of_positions_is_the_same_as_a_graph_for_all():
    x, graph = normal(3, 4, 2), normal(4, 4, seed=1)
    networks = [Sequential((Dense(8, 1.6, 0.1), RELU, layer, Dense(8), RELU, GlobalPool())) for layer in (Aggregate(), PositionMap(graph))]
    for one, other in zip(both(networks[0], Batch(x, None, np.stack([graph] * 3))), both(networks[1], x), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_stores_tell_batches_apart(tmp_path):
    network = Sequential((Dense(8, 1.6), RELU, GlobalPool(), Dense(1)))
    there = np.arange(5) < np.array([[3], [5], [4]])
    x = np.where(there[..., None], normal(3, 5, 2), 0)
    first = infinite.gram(network, Batch(x, there), store=tmp_path / "s.zarr")
    np.testing.assert_allclose(first.ntk, both(network, Batch(x, there))[1], rtol=1e-12)
    with pytest.raises(InputError, match="present"):
        infinite.gram(network, Batch(x, np.ones_like(there)), store=tmp_path / "s.zarr")


def test_what_does_not_fit_is_refused():
    x, there = normal(2, 5, 2), np.ones((2, 5), bool)
    net = Sequential((Dense(8), RELU, GlobalPool(), Dense(1)))
    for bad, message in (
        (Batch(x, np.ones((2, 4), bool)), "present, booleans of shape"),
        (Batch(x, there.astype(float)), "present, booleans"),
        (Batch(x, None, np.ones((2, 4, 4))), "graph of shape"),
        (Batch(x[:, 0]), "points with positions"),
    ):
        with pytest.raises(InputError, match=message):
            infinite.gram(net, bad)
        with pytest.raises(InputError, match=message):
            infinite.kernel(net)(jax.tree.map(jnp.asarray, bad))
    with pytest.raises(InputError, match="both x1 and x2"):
        infinite.gram(net, Batch(x, None, np.ones((2, 5, 5))), x)
    graph = Sequential((Aggregate(), Dense(8), GlobalPool()))
    for fails in (lambda: infinite.gram(graph, x), lambda: graph.apply(graph.init(jax.random.key(0), (5, 2)), jnp.asarray(x))):
        with pytest.raises(InputError, match="a graph for each point"):
            fails()
    for layer in (Resize((3,)), LayerNorm("all"), PositionMap(np.ones((3, 5)))):
        network = Sequential((Dense(8), layer, GlobalPool()))
        with pytest.raises(InputError, match="positions are all present"):
            infinite.gram(network, Batch(x, there))
        with pytest.raises(InputError, match="positions are all present"):
            network.apply(network.init(jax.random.key(0), (5, 2)), Batch(jnp.asarray(x), jnp.asarray(there)))
    with pytest.raises(InputError, match="weights of shape"):
        PositionMap(np.ones((3, 4))).output_shape((5, 2))
    assert Crop(((0, 2, None),)).apply_batch((), Batch(jnp.asarray(x), there, np.ones((2, 5, 5)))).graph.shape == (2, 2, 2)
    assert isinstance(layers.Batch(x), Batch)


def test_a_pool_of_three_keeps_the_diagonal():
    """A unit has the angle 0 with itself, whatever the rounding of a sum of 36 squares leaves."""
    x = normal(2, 4, 6, 2)
    layers = (Conv(4, (3, 3), 1.7, 0.1), RELU, Pool((2, 3)), Conv(4, (2, 3), 1.7, 0.1), RELU, GlobalPool(), Dense(1, 1.3, 0.2))
    network = Sequential(layers)
    found, low = infinite.gram(network, x).ntk, infinite.gram(network, x, dtype="float32").ntk
    pure = jax.jit(infinite.kernel(network))(jnp.asarray(x)).ntk
    # of one point, Θ(x, x) is what comes of it with a point that is as good as equal
    apart = infinite.gram(network, x, x * (1 + 1e-15)).ntk
    np.testing.assert_allclose(pure, found, rtol=1e-13)
    np.testing.assert_allclose(low, found, rtol=2e-6)
    np.testing.assert_allclose(np.diagonal(apart), np.diagonal(found), rtol=1e-6)
    k, theta = covariances(x), np.zeros((48, 48))
    np.testing.assert_allclose(np.diagonal(found), [naive_pooled(k, theta, n) for n in range(2)], rtol=1e-7)


def naive_pooled(k, theta, point):
    """Θ(x, x) of the network above, from all covariances of the units of one point."""
    at = slice(24 * point, 24 * point + 24)
    k, theta = convolved(k[at, at], theta[at, at], (4, 6), (3, 3))
    k, theta = relu_duals(k, theta)
    pool = np.kron(np.kron(np.eye(2), np.ones((1, 2))) / 2, np.kron(np.eye(2), np.ones((1, 3))) / 3)
    k, theta = convolved(pool @ k @ pool.T, pool @ theta @ pool.T, (2, 2), (2, 3))
    k, theta = relu_duals(k, theta)
    return 1.3 * theta.mean() + 1.3 * k.mean() + 0.2


def convolved(k, theta, lengths, window):
    """Sums over the taps of a "SAME" window, of all pairs of positions."""
    total = [np.zeros_like(k), np.zeros_like(theta)]
    for t in np.ndindex(window):
        shift = [np.eye(n, k=tap - (size - 1) // 2) for n, tap, size in zip(lengths, t, window, strict=True)]
        move = np.kron(*shift)
        total = [sum_ + move @ part @ move.T for sum_, part in zip(total, (k, theta), strict=True)]
    k = 1.7 / np.prod(window) * total[0] + 0.1
    return k, 1.7 / np.prod(window) * total[1] + k


def test_what_stands_at_absent_positions_reaches_neither_values_nor_gradients():
    x, there = normal(2, 5, 2), np.arange(5) < np.array([[3], [5]])
    filled = Batch(jnp.asarray(np.where(there[..., None], x, np.nan)), jnp.asarray(there))
    for parts in ((Dense(8), RELU, GlobalPool()), (Recurrent(8), Last()), (Dense(8), LayerNorm(), Attention(8), GlobalPool())):
        network = Sequential((*parts, Dense(1)))
        params = network.init(jax.random.key(0), (5, 2), jnp.float64)
        slopes = jax.jacrev(lambda p, network=network: network.apply(p, filled))(params)
        assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(slopes))


def test_graphs_go_through_linear_ends_and_not_to_other_positions():
    x, graph = normal(2, 4, 4), normal(2, 4, 4, seed=1)
    block = Branches((Sequential((RELU, Dense(4), Aggregate())), Identity()))
    assert np.isfinite(infinite.gram(Sequential((Dense(4), block, GlobalPool())), Batch(x, None, graph)).ntk).all()
    with pytest.raises(InputError, match="a graph for each point"):
        infinite.gram(Sequential((Conv(4, (2,), strides=(2,)), Aggregate(), GlobalPool())), Batch(x, None, graph))
    with pytest.raises(InputError, match="a Batch"):
        infinite.diagonal(Sequential((Dense(4),)), Batch(x))
    for options in ({"axis": -1}, {"axis": "0"}, {"weights": np.full((2, 4), np.nan)}):
        with pytest.raises(InputError):
            PositionMap(**{"weights": np.ones((2, 4)), **options})
