"""Attention at 1/√d, whose logits stay random: samples against closed forms and integrals, and what must not change them."""

import itertools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import quick

from kernelregime import activations, infinite
from kernelregime._checks import InputError
from kernelregime.infinite.gram import problem
from kernelregime.infinite.positions import propagate_fields
from kernelregime.layers import Attention, Batch, Branches, Dense, GlobalPool, Identity, Pool, Sequential
from kernelregime.layers.fields import Squares
from kernelregime.layers.logits import Block, Sampling, elementwise, symmetric_root

pytestmark = pytest.mark.usefixtures("quick_grams", "strict_float64")
SOFTMAX = Attention(8, sigma_q2=1.5, sigma_k2=1.2, sigma_b2=0.1, scaling="root", samples=128)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def network(attention=SOFTMAX):
    return Sequential((Dense(8, 1.6, 0.1), attention, GlobalPool(), Dense(1, 1.3)))


def products(one, other):
    return np.einsum("npc,mqc->pqnm", one, other) / one.shape[-1]


def within(x):
    return np.einsum("npc,nqc->pqn", x, x) / x.shape[-1]


def blocks(positions=3):
    """Two points and two, one of which is one of the first, with NTKs of other features."""
    x, t = normal(3, positions, 4), normal(3, positions, 5, seed=1)
    return [
        Block(*(jnp.asarray(k) for k in (sigma, theta, 1.4 * sigma, 1.4 * theta)))
        for sigma, theta in zip(
            (products(x[:2], x[1:]), within(x[:2]), within(x[1:])), (products(t[:2], t[1:]), within(t[:2]), within(t[1:])), strict=True
        )
    ]


def squares(given):
    """Of the logits of the blocks."""
    own = [np.einsum("ppn->pn", block.logits) for block in given[1:]]
    sides = (own[0][:, None, :, None], own[1][None, :, None]), *((k[:, None], k[None]) for k in own)
    return [
        Squares(
            *(
                jnp.broadcast_to(jnp.asarray(x), block.logits.shape)
                for x in (k1, k2, (k1 + k2) / 2 - block.logits, (k1 + k2) / 2 + block.logits)
            )
        )
        for block, (k1, k2) in zip(given, sides, strict=True)
    ]


def softmax(logits, there):
    assert there is None
    return jax.nn.softmax(logits, axis=-1)


def worst(sampled, exact):
    """The largest deviation in standard errors."""
    pairs = ((sampled.value, sampled.value_sem, exact[0]), (sampled.total, sampled.total_sem, exact[1]))
    return max(np.max(np.abs(mean - wanted) / sem) for mean, sem, wanted in pairs)


@pytest.mark.parametrize("name", ["identity", "relu", "abs"])
def test_samples_agree_with_closed_forms_of_weights_at_each_position(name):
    given, phi = blocks(), activations.get(name)
    sampled = quick(lambda given: Sampling(lambda g, _: phi(g), phi.derivative, 2000, 0).blocks(given, None))(given)
    exact = [elementwise(phi, *each) for each in zip(given, squares(given), strict=True)]
    for found, wanted in zip(sampled, exact, strict=True):
        assert worst(found, wanted) < 4
    if name == "identity":  # the formula of the layer
        for block, (value, total) in zip(given, exact, strict=True):
            own = jnp.sum(block.logits * block.covariance, axis=(0, 1), keepdims=True)
            turns = jnp.sum(block.logits * block.theta + block.covariance * block.moved, axis=(0, 1), keepdims=True)
            np.testing.assert_allclose(value, own * block.logits, rtol=1e-10, atol=1e-12)
            np.testing.assert_allclose(total, turns * block.logits + own * (block.moved + 4 * block.logits), rtol=1e-10, atol=1e-12)


def two_positions(block, k1, k2, a, c):
    """`value` and `total` at (a, c) of softmaxes of two logits, by an integral over their differences g, g'; one pair of points."""
    covariance, theta, logits, moved = (np.asarray(x) for x in block)
    signs = np.array([1.0, -1.0])
    joint = np.array([[k1[a, a] * (signs @ k1 @ signs), 0], [0, k2[c, c] * (signs @ k2 @ signs)]])
    joint[0, 1] = joint[1, 0] = logits[a, c] * (signs @ logits @ signs)
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    z = np.stack(np.meshgrid(nodes, nodes, indexing="ij")).reshape(2, -1)
    at = np.linalg.cholesky(joint + 1e-13 * np.eye(2)) @ z
    weight = np.outer(weights, weights).ravel() / (2 * np.pi)
    first = 1 / (1 + np.exp(-at))
    zeta, slope = np.stack([first, 1 - first], -1), first * (1 - first)  # (2, nodes, positions), and of the first by its difference
    pairs = np.einsum("n,nb,nd->bd", weight, *zeta)
    bends = (weight * slope[0] * slope[1]).sum() * (signs @ covariance @ signs)

    def spread(w):
        return bends * (signs @ w @ signs)

    value = (pairs * covariance).sum()
    total = 2 * value + (pairs * theta).sum() + logits[a, c] * spread(moved + 2 * logits) + moved[a, c] * spread(logits)
    return value, total


def test_samples_of_softmaxes_agree_with_integrals_over_two_logits():
    given = blocks(positions=2)
    sampled = quick(lambda given: Sampling(softmax, None, 4000, 0).blocks(given, None))(given)
    cross, first, second = (np.asarray(block.logits) for block in given)
    for n, m in itertools.product(range(2), repeat=2):
        for block, k1, k2, found in (
            (
                jax.tree.map(lambda x, n=n, m=m: x[..., n, m], given[0]),
                first[..., n],
                second[..., m],
                jax.tree.map(lambda x, n=n, m=m: x[..., n, m], sampled[0]),
            ),
            (
                jax.tree.map(lambda x, n=n: x[..., n], given[1]),
                first[..., n],
                first[..., n],
                jax.tree.map(lambda x, n=n: x[..., n], sampled[1]),
            ),
        ):
            for a, c in itertools.product(range(2), repeat=2):
                exact = two_positions(block, k1, k2, a, c)
                assert worst(jax.tree.map(lambda x, a=a, c=c: x[a, c], found), exact) < 4
    assert cross.shape == (2, 2, 2, 2)


def test_standard_errors_are_those_of_other_seeds_and_fall_as_samples_grow():
    given = blocks()

    @quick
    def sampled(given, seeds):
        return jax.lax.map(lambda seed: Sampling(softmax, None, 256, seed).blocks(given, None), seeds)

    sems = []
    for block in sampled(given, jnp.arange(20)):
        for mean, sem in ((block.value, block.value_sem), (block.total, block.total_sem)):
            sems.append(np.sqrt(np.mean(np.square(sem))))
            ratio = np.sqrt(np.mean(np.var(mean, axis=0, ddof=1))) / sems[-1]
            assert 0.7 < ratio < 1.4  # of 20 runs, 1 ± 0.16, whose entries go together
    more = quick(lambda given: Sampling(softmax, None, 16 * 256, 0).blocks(given, None))(given)
    found = [np.sqrt(np.mean(np.square(sem))) for block in more for sem in (block.value_sem, block.total_sem)]
    np.testing.assert_allclose(np.array(sems) / found, 4, rtol=0.15)


def test_a_sampled_kernel_says_that_it_is_not_exact():
    x = normal(2, 3, 4)
    found = infinite.gram(network(), x)
    assert 1e-3 < found.error < 0.3
    assert found.status.startswith("NOT RELIABLE: off by")
    assert "samples of an Attention" in found.status
    for exact in (replace(SOFTMAX, weights="relu"), replace(SOFTMAX, scaling="linear")):
        assert infinite.gram(network(exact), x).status == "reliable"
    residual = Branches((Dense(8, 1.2), Identity()))  # which adds no error of its own
    beside = Sequential((*network().layers[:2], *2 * (residual,), *network().layers[2:]))
    np.testing.assert_allclose(infinite.gram(beside, x).error, found.error, rtol=1e-12)
    alone = infinite.gram(network(), x[:, :1])  # of one position there is nothing to choose
    np.testing.assert_allclose(alone.nngp, infinite.gram(network(replace(SOFTMAX, scaling="linear")), x[:, :1]).nngp, rtol=1e-12)
    assert alone.status == "reliable"


def test_a_seed_gives_the_same_kernel_whatever_the_tiles_the_order_and_the_precision():
    x = normal(4, 3, 3)
    x[3] = x[0]
    whole = infinite.gram(network(), x)
    apart = infinite.gram(network(), x, memory=300_000)
    np.testing.assert_allclose(apart.ntk, whole.ntk, rtol=1e-12)
    np.testing.assert_allclose(whole.ntk, whole.ntk.T, rtol=1e-12)
    assert whole.ntk[0, 3] == whole.ntk[0, 0]
    turned = infinite.gram(network(), x[1:3], x[:2])
    np.testing.assert_allclose(turned.ntk, infinite.gram(network(), x[:2], x[1:3]).ntk.T, rtol=1e-12)
    np.testing.assert_allclose(infinite.gram(network(), x, dtype="float32").ntk, whole.ntk, rtol=2e-4)
    other = infinite.gram(network(replace(SOFTMAX, seed=1)), x)
    assert 0 < np.max(np.abs(other.ntk / whole.ntk - 1)) < 0.5


def test_masked_positions_count_for_nothing():
    x, there = normal(2, 5, 2), np.arange(5) < np.array([[3], [5]])
    positional = replace(SOFTMAX, embedding="sum")
    found = infinite.gram(network(positional), Batch(np.where(there[..., None], x, 7.0), there))
    np.testing.assert_allclose(found.ntk[0, 0], infinite.gram(network(positional), x[:1, :3]).ntk[0, 0], rtol=1e-12)


def test_after_a_pool_kernels_are_those_of_all_pairs_at_one_time():
    x = normal(3, 4, 2)
    pooled = Sequential((Pool((2,)), *network().layers[1:]))  # by offsets in `gram`, which then knows no NTK of a point with itself
    found, expected = infinite.gram(pooled, x), quick(infinite.kernel(pooled))(jnp.asarray(x))
    np.testing.assert_allclose(found.ntk, expected.ntk, rtol=1e-9)
    np.testing.assert_allclose(found.nngp, expected.nngp, rtol=1e-9)
    assert found.error >= 0.9 * expected.error


@pytest.mark.parametrize("weights", ["softmax", "relu"])
def test_gradients_are_finite_where_points_are_equal_or_zero(weights):
    x = normal(3, 3, 2)
    x[1] = x[0]
    x[2, 1:] = 0
    both = jnp.asarray(x), jnp.asarray(x[::-1].copy())

    def total(one, other, net):
        found = infinite.kernel(net)(one, other)
        return jnp.sum(found.nngp + found.ntk)

    net = Sequential((Dense(8, 1.6), replace(SOFTMAX, weights=weights, sigma_b2=None), GlobalPool(), Dense(1)))
    found = quick(jax.grad(total, argnums=(0, 1, 2)))(*both, net)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))


def test_roots_of_singular_matrices_have_the_derivatives_of_differences():
    rng = np.random.default_rng(0)
    x, away = rng.normal(size=(2, 3, 5, 2))
    step = 1e-6

    def root(x):
        return symmetric_root(jnp.einsum("npc,nqc->npq", x, x))

    np.testing.assert_allclose(jnp.einsum("npq,nqr->npr", root(x), root(x)), np.einsum("npc,nqc->npq", x, x), rtol=1e-10, atol=1e-12)
    _, slope = quick(lambda x, away: jax.jvp(root, (x,), (away,)))(x, away)
    np.testing.assert_allclose(slope, (root(x + step * away) - root(x - step * away)) / (2 * step), rtol=1e-6, atol=1e-7)


def test_tiles_hold_what_is_planned_for_the_samples():
    """By the compiler's account."""
    x = np.zeros((10, 4, 3))
    for by_layer in (False, True):
        asked = problem(network(), x, x, by_layer=by_layer)
        program = jax.jit(propagate_fields.__wrapped__, static_argnames=("kinds", "positions", "kept", "shares"))
        options = {"kinds": ("nngp", "ntk"), "positions": "all", "kept": "own", "shares": asked.tile.shares}
        held = program.lower(asked.tile.layers, Batch(x), Batch(x), None, **options).compile().memory_analysis()
        assert held.temp_size_in_bytes <= asked.bytes_per_pair * 100 + asked.bytes_per_point * 20


def test_too_few_samples_and_bad_seeds_are_refused():
    with pytest.raises(InputError, match="samples to be an integer of at least 16"):
        Attention(8, samples=8)
    with pytest.raises(InputError, match="seed to be an integer of at least 0"):
        Attention(8, seed=-1)
    with pytest.raises(InputError, match="seed below"):
        Attention(8, seed=2**32)


# of each weight a large share, by variances that are small, or inputs that are many
SHARED = Attention(4, 64, 64, 1, 0.05, 20.0, 0.1, 6.0, 0.3, embedding="concatenate", sigma_p2=0.3, embedding_channels=3, samples=8192)
VARIANTS = {
    "linear": {},
    "linear, embedded values": {"embed_values": True, "embedding_length": 1.5},
    "root, relu": {"scaling": "root", "weights": "relu", "embed_values": True, "embedding_length": 1.5},
    "root, softmax": {"scaling": "root"},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_standard_networks_of_many_heads_have_the_infinite_kernel_and_weights_times_inputs_over_variance(name):
    """Per weight and draw Θ is m/σ² times that of "ntk"; the mean of all shares is the infinite Θ."""
    layer, x = replace(SHARED, **VARIANTS[name]), jnp.asarray(normal(2, 2, 6))
    shape, out = x.shape[1:], GlobalPool()
    standard = replace(layer, parameterization="standard")

    def thetas(layer, params):
        rows = jax.jacrev(lambda p: out.apply((), layer.apply(p, x)))(params)
        return {name: jnp.einsum("icp,jcp->ij", *(row.reshape(2, 4, -1),) * 2) / 4 for name, row in rows.items()}

    tied = jnp.sqrt(jnp.asarray(0.05 * 20.0))
    fans = {"q": 9, "k": 9, "v": 9 if layer.embed_values else 6, "o": 64, "p": 1, "b": 1}
    variances = {"q": tied if layer.scaling == "linear" else 0.05, "k": 20.0, "v": 0.1, "o": 6.0, "p": 0.3, "b": 0.3}

    def one(key):
        params = standard.init(key, shape, jnp.float64)
        bare = {name: value * jnp.sqrt(fans[name] / variances[name]) for name, value in params.items()}
        found, other = thetas(standard, params), thetas(layer, bare)
        apart = [jnp.max(jnp.abs(found[name] - fans[name] / variances[name] * other[name])) for name in found]
        return sum(found.values()), jnp.max(jnp.stack(apart)), jnp.abs(standard.apply(params, x) - layer.apply(bare, x)).max()

    theta, *apart = quick(lambda keys: jax.lax.map(one, keys))(jax.random.split(jax.random.key(0), 100))
    assert all(np.max(a) < 1e-10 for a in apart)
    kernel = infinite.gram(Sequential((standard, out)), x).ntk
    sem, level = theta.std(axis=0, ddof=1) / 10, np.sqrt(np.outer(np.diagonal(kernel), np.diagonal(kernel)))
    assert (np.abs(theta.mean(axis=0) - kernel) <= 4 * sem + 2 / 64 * level).all()


EMBEDDED = ({}, {"embed_values": True}, {"embed_values": True, "embedding_length": 1.3})


@pytest.mark.parametrize(("embedding", "embedded"), [("none", {}), *itertools.product(("sum", "concatenate"), EMBEDDED)])
def test_shares_of_identity_attention_in_standard_are_those_by_definition(embedding, embedded):
    """Of outputs, values, queries, keys, embeddings and what comes before, with E A_pr A'_qs = σ_q² σ_k² Σ̃_pq Σ̃_rs."""
    x, width, heads = normal(2, 3, 5), 7, 6
    q2, k2, v2, o2, p2 = 0.4, 1.7, 0.6, 2.3, 0.5
    layer = Attention(4, heads, 8, 3, q2, k2, v2, o2, 0.2, "root", "identity", embedding, p2, parameterization="standard", **embedded)
    input_gram = np.einsum("ipc,jqc->ijpq", x, x) / 5
    sigma, theta = 1.6 * input_gram + 0.1, 5 * input_gram + 1  # of a Dense layer in front
    extra = {"none": 0, "sum": 0, "concatenate": width}[embedding]
    size, one = width + extra, {"none": 0.0, "sum": 1.0, "concatenate": width / (2 * width)}[embedding]
    apart = np.abs(np.subtract.outer(np.arange(3), np.arange(3)))
    alike = np.exp(-apart / embedded["embedding_length"]) if "embedding_length" in embedded else np.eye(3)
    read, moved = width / size * sigma + p2 * one * alike, width / size * theta + one * alike
    inputs = width
    if embedded:
        sigma, theta, inputs = read, moved, size

    def joined(queries, keys, values):
        return np.einsum("ijpq,ijrs,ijrs->ijpq", queries, keys, values)

    mixed = joined(read, read, sigma)
    shares = (
        heads * 3 * q2 * k2 * v2 * mixed,
        inputs * q2 * k2 * o2 * mixed,
        size * (q2 + k2) * v2 * o2 * mixed,
        q2 * k2 * v2 * o2 * (joined(moved, read, sigma) + joined(read, moved, sigma) + joined(read, read, theta)),
    )
    network = Sequential((Dense(width, 1.6, 0.1, "standard"), layer))
    found = quick(infinite.kernel(network, positions="all"))(jnp.asarray(x))
    np.testing.assert_allclose(found.nngp, q2 * k2 * v2 * o2 * mixed + 0.2, rtol=1e-12)
    np.testing.assert_allclose(found.ntk, sum(shares) + 1, rtol=1e-12, atol=1e-15 * np.max(found.ntk))  # terms of both signs


def test_parameterizations_without_a_limit_are_refused_with_the_reason():
    with pytest.raises(InputError, match="logits grow"):
        Attention(8, scaling="root", parameterization="mup")
    for options in ({"sigma_v2": 0.0}, {"sigma_o2": np.float32(0)}, {"sigma_k2": 0, "scaling": "root"}):
        with pytest.raises(InputError, match=r"standard parameterization\) to be a finite number, above 0"):
            Attention(8, parameterization="standard", **options)
    assert Attention(8, sigma_q2=0.0, parameterization="standard").sigma_q2 == 0
    with pytest.raises(InputError, match="features move"):
        infinite.gram(network(Attention(8, parameterization="mup")), normal(2, 3, 4))


def test_embeddings_of_finite_networks_have_the_correlations_of_their_length():
    """Of positions on two axes; the mean over many channels, to its standard error."""
    layer = Attention(8, embedding="sum", sigma_p2=0.7, embedding_length=2.0)
    drawn = np.asarray(layer._spread(jnp.asarray(normal(2, 3, 20000)))).reshape(6, -1)
    places = np.array(list(np.ndindex(2, 3)))
    alike = np.exp(-np.abs(places[:, None] - places[None]).sum(-1) / 2.0)
    sem = np.sqrt((1 + alike**2) / 20000)  # of products of correlated normal numbers
    assert (np.abs(drawn @ drawn.T / 20000 - alike) <= 4 * sem).all()
    np.testing.assert_allclose(1 - layer._apart((2, 3), "float64"), alike, rtol=1e-14)
    for length in (0, np.int64(0)):
        with pytest.raises(InputError, match="embedding_length to be a finite number, above 0"):
            replace(layer, embedding_length=length)
    with pytest.raises(InputError, match="an embedding for embed_values"):
        Attention(8, embedding_length=2.0)
    long = replace(layer, embedding_length=1e6)._spread(jnp.asarray(normal(8, 8, 4), jnp.float32))
    assert np.isfinite(long).all()
    assert np.ptp(long, axis=(0, 1)).max() < 0.1  # nearly one embedding for all
