"""Convolutions and pooling against a reference that is written from the definitions, pair of pixels by pair of pixels, in many digits."""

import importlib
import itertools
from functools import cache

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from compiling import quick

from kernelregime import activations, infinite, layers
from kernelregime._checks import InputError
from kernelregime.infinite import levels
from kernelregime.layers import (
    Activation,
    Batch,
    Branches,
    Conv,
    Crop,
    Dense,
    Dropout,
    Flatten,
    GlobalPool,
    Identity,
    LayerNorm,
    Pool,
    Resize,
    Sequential,
)

RELU = Activation("relu")


class Naive:
    """Covariances of the units of two images, {((image, pixel), (image, pixel)): value}, and their NTK; ReLU and 3 × 3 windows."""

    def __init__(self, x, y):
        self.size = x.shape[:2]
        units = {(i, p): [mpmath.mpf(float(v)) for v in image[p]] for i, image in enumerate((x, y)) for p in np.ndindex(self.size)}
        self.k = {(a, b): mpmath.fdot(units[a], units[b]) / x.shape[2] for a in units for b in units}
        self.theta = dict.fromkeys(self.k, mpmath.mpf(0))

    def units(self):
        return [(i, p) for i in range(2) for p in np.ndindex(self.size)]

    def linear(self, size, rule, shift=0, own=True):
        """New units as sums over weighted pairs of old ones: `rule(q, q')` gives (p, p', weight)."""
        k, theta = {}, {}
        new = [(i, q) for i in range(2) for q in np.ndindex(size)]
        for (i, q), (j, r) in itertools.product(new, new):
            pairs = list(rule(q, r))
            k[(i, q), (j, r)] = mpmath.fsum(w * self.k[(i, p), (j, s)] for p, s, w in pairs) + shift
            theta[(i, q), (j, r)] = mpmath.fsum(w * self.theta[(i, p), (j, s)] for p, s, w in pairs) + (k[(i, q), (j, r)] if own else 0)
        self.size, self.k, self.theta = size, k, theta

    def conv(self, sigma_w2, sigma_b2):
        """3 × 3, zeros outside."""
        inside = set(np.ndindex(self.size))

        def rule(q, r):
            for t in itertools.product((-1, 0, 1), repeat=2):
                p, s = (tuple(a + b for a, b in zip(one, t, strict=True)) for one in (q, r))
                if p in inside and s in inside:
                    yield p, s, mpmath.mpf(sigma_w2) / 9

        self.linear(self.size, rule, mpmath.mpf(sigma_b2))

    def pool(self, window):
        def rule(q, r):
            for t, u in itertools.product(itertools.product(range(window), repeat=2), repeat=2):
                yield (
                    *(tuple(window * a + b for a, b in zip(one, d, strict=True)) for one, d in ((q, t), (r, u))),
                    mpmath.mpf(1) / window**4,
                )

        self.linear(tuple(n // window for n in self.size), rule, own=False)

    def relu(self):
        k = {}
        for a, b in self.k:
            root = mpmath.sqrt(self.k[a, a] * self.k[b, b])
            angle = mpmath.mpf(0) if a == b else mpmath.acos(max(min(self.k[a, b] / root, 1), -1))
            k[a, b] = root * (mpmath.sin(angle) + (mpmath.pi - angle) * mpmath.cos(angle)) / (2 * mpmath.pi)
            self.theta[a, b] *= (mpmath.pi - angle) / (2 * mpmath.pi)
        self.k = k

    def readout(self, flat):
        """The kernels of the two images."""
        pixels = list(np.ndindex(self.size))
        pairs = [(p, p) for p in pixels] if flat else list(itertools.product(pixels, pixels))
        sums = [
            [mpmath.fsum(t[(i, p), (j, s)] for p, s in pairs) / len(pairs) for i, j in ((0, 0), (0, 1), (1, 1))]
            for t in (self.k, self.theta)
        ]
        return sums[0], [a + b for a, b in zip(*sums, strict=True)]


@cache
def pair_of_images(nudge):
    x = np.random.default_rng(0).normal(size=(4, 4, 2))
    y = np.random.default_rng(1).normal(size=x.shape)
    return x, x + nudge * y if nudge < 1 else y


@pytest.mark.parametrize("nudge", [1.0, 1e-3, 1e-6, 1e-9])
@pytest.mark.parametrize("flat", [False, True])
def test_convolutions_of_near_images_have_all_digits(nudge, flat):
    x, y = pair_of_images(nudge)
    with mpmath.workdps(50):
        naive = Naive(x, y)
        for variances in ((1.7, 0.1), (1.9, 0.0)):
            naive.conv(*variances)
            naive.relu()
        expected = naive.readout(flat)
    net = Sequential(
        (
            Conv(1, (3, 3), 1.7, 0.1),
            Activation("relu"),
            Conv(1, (3, 3), 1.9),
            Activation("relu"),
            Flatten() if flat else GlobalPool(),
            Dense(1, 1.0),
        )
    )
    with jax.enable_x64(True):
        found = quick(infinite.kernel(net))(jnp.asarray(np.stack([x, y])))
    for matrix, values in zip((found.nngp, found.ntk), expected, strict=True):
        np.testing.assert_allclose([matrix[0, 0], matrix[0, 1], matrix[1, 1]], [float(v) for v in values], rtol=1e-12)


@pytest.mark.parametrize(("nudge", "rtol"), [(1.0, 1e-12), (1e-3, 1e-12), (1e-6, 1e-10), (0.0, 1e-12)])
def test_pooling_between_convolutions_of_near_images(nudge, rtol):
    """The angle after pooling has the digits of the covariances; of equal images it is 0 exactly."""
    x, y = pair_of_images(nudge)
    with mpmath.workdps(50):
        naive = Naive(x, y)
        naive.conv(1.7, 0.1)
        naive.relu()
        naive.pool(2)
        naive.conv(1.9, 0.0)
        naive.relu()
        expected = naive.readout(False)
    net = Sequential(
        (Conv(1, (3, 3), 1.7, 0.1), Activation("relu"), Pool((2, 2)), Conv(1, (3, 3), 1.9), Activation("relu"), GlobalPool(), Dense(1, 1.0))
    )
    found = infinite.gram(net, np.stack([x, y]))
    for matrix, values in zip((found.nngp, found.ntk), expected, strict=True):
        np.testing.assert_allclose([matrix[0, 0], matrix[0, 1], matrix[1, 1]], [float(v) for v in values], rtol=rtol)


def test_gray_pixels_are_parallel_whatever_their_brightness():
    """One channel: units of a layer at each pixel alone are multiples of one another, and the angle at a ReLU is 0."""
    x = np.abs(np.random.default_rng(0).normal(size=(3, 4, 1)))
    net = Sequential((Dense(1, 2.0), Activation("relu"), Dense(1, 2.0), Activation("relu"), Flatten(), Dense(1, 1.0)))
    found = infinite.gram(net, x)
    expected = (x[:, None, :, 0] * x[None, :, :, 0]).mean(-1)
    np.testing.assert_allclose(found.nngp, expected, rtol=1e-14)
    np.testing.assert_allclose(found.ntk, 3 * expected, rtol=1e-13)


def test_a_residual_block_adds_kernels_and_correlated_branches_are_refused():
    x = np.random.default_rng(0).normal(size=(3, 5))
    trunk, main = Dense(8, 1.5, 0.1), Sequential((Activation("relu"), Dense(8, 1.2)))
    plain, block = infinite.gram(Sequential((trunk, main)), x), infinite.gram(Sequential((trunk, Branches((main, Identity())))), x)
    np.testing.assert_allclose(block.nngp, plain.nngp + infinite.gram(trunk, x).nngp, rtol=1e-14)
    np.testing.assert_allclose(block.ntk, plain.ntk + infinite.gram(trunk, x).ntk, rtol=1e-14)
    with pytest.raises(
        InputError, match=r"at most one branch of a sum without weights of its own at its end; got 2 \(Activation, Identity\)"
    ):
        infinite.gram(Sequential((trunk, Branches((Activation("relu"), Identity())))), x)


def test_a_product_of_branches_is_the_product_of_kernels():
    x = np.random.default_rng(0).normal(size=(3, 5))
    one, other = Dense(8, 1.5, 0.1), Sequential((Dense(8, 0.7), Activation("erf"), Dense(8, 1.2)))
    a, b = infinite.gram(one, x), infinite.gram(other, x)
    both = infinite.gram(Branches((one, other), "product"), x)
    np.testing.assert_allclose(both.nngp, a.nngp * b.nngp, rtol=1e-13)
    np.testing.assert_allclose(both.ntk, a.ntk * b.nngp + a.nngp * b.ntk, rtol=1e-13)


def test_layer_normalization_leaves_correlations_and_sets_variances():
    x = np.random.default_rng(0).normal(size=(3, 5))
    plain, normed = (infinite.gram(Sequential((Dense(8, 1.5, 0.1), *more)), x) for more in ((), (LayerNorm(eps=0.0),)))
    root = np.sqrt(np.outer(*[np.diagonal(plain.nngp)] * 2))
    np.testing.assert_allclose(normed.nngp, plain.nngp / root, rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(normed.ntk, plain.ntk / root, rtol=1e-14, atol=1e-15)


def test_dropout_in_training_divides_what_one_draw_has_with_itself():
    x = np.random.default_rng(0).normal(size=(3, 5))
    x[2] = x[0]
    plain, dropped = (
        infinite.gram(Sequential((Dense(8, 1.5, 0.1), Activation("relu"), *more)), x) for more in ((), (Dropout(0.8, training=True),))
    )
    scale = np.where(np.eye(3, dtype=bool), 1 / 0.8, 1.0)
    np.testing.assert_allclose(dropped.nngp, plain.nngp * scale, rtol=1e-13)
    np.testing.assert_allclose(dropped.ntk, plain.ntk * scale, rtol=1e-13)


@pytest.mark.parametrize(
    ("layer", "shape", "wanted"),
    [
        (Conv(4, (3, 3)), (5, 2), r"points \(H, W, channels\) under a window of 2 numbers; got shape \(5, 2\)"),
        (Conv(4, (3, 3), padding="VALID"), (2, 5, 1), r"at least 3 positions under a window; got 2"),
        (Pool((2, 2)), (5, 2), r"points with 2 axes of positions, and channels; got shape \(5, 2\)"),
        (Resize((2, 2)), (5, 2), r"points with 2 axes of positions, and channels; got shape \(5, 2\)"),
        (GlobalPool(), (5,), r"points \(\*positions, channels\); got shape \(5,\)"),
    ],
)
def test_points_that_do_not_fit_are_refused(layer, shape, wanted):
    with pytest.raises(InputError, match=wanted):
        layer.output_shape(shape)


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        (lambda: Conv(4, (3, 3), padding="same"), r"padding to be one of CIRCULAR, SAME, VALID; got 'same'"),
        (lambda: Conv(4, (3, 3), strides=(2,)), r"2 strides, one for each axis of the window; got \(2,\)"),
        (lambda: Conv(4, (2, 2), shared=False, transposed=True), r"a transposed convolution with shared weights"),
        (lambda: Dropout(0.0), r"keep, the probability to keep a unit, in \(0, 1\]; got 0.0; a rate of dropping 0.2 is keep=0.8"),
        (
            lambda: Conv(4, 5),
            r"a window of one number for each axis of positions, a tuple; got 5; write \(5,\) for sequences or \(5, 5\) for images",
        ),
        (lambda: Pool((2, 2), 2), r"strides of one number .*; got 2; write \(2,\) for sequences or \(2, 2\) for images"),
        (lambda: Resize(8), r"positions for each axis, a tuple; got 8; write \(8,\) for sequences or \(8, 8\) for images"),
        (lambda: Conv(4, (1,) * 6), r"a window of at most 5 axes of positions; got \(1, 1, 1, 1, 1, 1\)"),
        (lambda: Pool(()), r"a window of one number for each axis of positions, a tuple; got \(\)"),
        (lambda: Crop((slice(0, 2),)), r"slices as a tuple of \(start, stop, step\)"),
        (lambda: LayerNorm("batch"), r"over to be one of all, channels; got 'batch'"),
    ],
)
def test_layers_that_cannot_be_are_refused(made, wanted):
    with pytest.raises(InputError, match=wanted):
        made()


def test_shortcuts_of_shortcuts_are_correlated_and_refused():
    """x + (x + Wx) is 2x + Wx, which no sum of kernels gives."""
    inner = Branches((Dense(8), Identity()))
    x = np.random.default_rng(0).normal(size=(3, 5))
    with pytest.raises(InputError, match=r"got 2 \(Branches, Identity\)"):
        infinite.gram(Sequential((Dense(8), Branches((inner, Identity())))), x)
    closed = Sequential((Dense(8), Branches((Sequential((inner, RELU, Dense(8), LayerNorm())), Identity()))))
    assert infinite.gram(closed, x).ntk.shape == (3, 3)


def test_what_is_known_of_signs_ends_at_the_next_activation():
    """After a ReLU correlations are not negative; after a polynomial they may be again."""
    x = np.random.default_rng(0).normal(size=(4, 3, 2)) * np.array([0.3, 0.3, 3.0, 3.0])[:, None, None]
    layers = (Dense(8), RELU, Dense(8), Activation(activations.get("polynomial", coef=(-1.0, 0.0, 1.0))), Dense(8), Activation("erf"))
    found = infinite.gram(Sequential((*layers, Flatten(), Dense(1))), x)
    expected = sum(infinite.gram(Sequential((*layers, Dense(1))), x[:, p]).ntk for p in range(3)) / 3
    assert (infinite.gram(Sequential(layers), x[:, 0]).nngp < -1e-3).any()
    np.testing.assert_allclose(found.ntk, expected, rtol=1e-10, atol=1e-12)


def test_dropout_before_a_pool_draws_the_same_for_a_point_whatever_it_is_compared_with():
    net = Sequential(
        (Conv(8, (2,), 1.5, 0.1), RELU, Dropout(0.5, training=True), Pool((2,)), Conv(8, (2,), 1.5), RELU, GlobalPool(), Dense(1))
    )
    x = np.random.default_rng(0).normal(size=(4, 4, 2))
    x[3] = x[0]
    whole, part = infinite.gram(net, x), infinite.gram(net, x[:2], x[2:])
    np.testing.assert_allclose(part.ntk, whole.ntk[:2, 2:], rtol=1e-13)
    assert whole.ntk[0, 3] < 0.99 * whole.ntk[0, 0]
    with pytest.raises(InputError, match="a layer with random weights before an activation"):
        infinite.gram(Sequential((Dense(8), Dropout(0.5, training=True), RELU)), x[:, 0])


def test_gradients_at_orthogonal_pixels_are_those_of_differences():
    net, step = Sequential((Dense(8, 1.5), RELU, Flatten(), Dense(1))), 1e-6

    def total(y):
        k = infinite.kernel(net)(jnp.asarray([[[1.0, 0.0, 0.0], [0.3, 0.1, 0.0]]]), y)
        return k.nngp[0, 0] + k.ntk[0, 0]

    with jax.enable_x64(True):
        y = jnp.asarray([[[0.0, 1.0, 0.0], [0.0, 0.0, 0.7]]])
        found = quick(jax.grad(total))(y)
        value = quick(total)
        slopes = [(value(y + step * e) - value(y - step * e)) / (2 * step) for e in jnp.eye(6).reshape(6, 1, 2, 3)]
    np.testing.assert_allclose(found.ravel(), slopes, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(
    "layer",
    [
        (Dense(4), Activation("erf"), Conv(4, (2,)), Activation("erf")),
        (Dense(4), Activation("leaky_relu"), Pool((2,))),
        (Branches((Conv(4, (2,)), Dense(4), Dense(4, 1.0, 0.5)), "product"),),
    ],
)
def test_gradients_at_units_without_variance_are_those_of_differences(layer):
    """Means of the slopes to both sides, where without biases a position of zeros stays one."""
    x, away = (np.random.default_rng(seed).normal(size=(2, 4, 2)) for seed in (0, 1))
    x[0, 1:3] = x[1, 3] = 0
    compute = infinite.kernel(Sequential((*layer, GlobalPool(), Dense(1))))

    def value(x):
        found = compute(x)
        return found.nngp[0, 1] + 0.3 * found.nngp[0, 0]

    with jax.enable_x64(True):
        both, step = quick(jax.value_and_grad(value)), 1e-5
        slope = (both(jnp.asarray(x + step * away))[0] - both(jnp.asarray(x - step * away))[0]) / (2 * step)
        np.testing.assert_allclose((both(jnp.asarray(x))[1] * away).sum(), slope, rtol=1e-6)


def test_positions_that_are_left_are_given_at_equal_or_at_all_pairs():
    net = Sequential((Conv(8, (2, 2), 1.5, 0.1), RELU, Pool((2, 2))))
    x = np.random.default_rng(0).normal(size=(3, 4, 6, 2))
    own, every = infinite.gram(net, x), infinite.gram(net, x, positions="all")
    assert own.ntk.shape == (3, 3, 2, 3)
    assert every.ntk.shape == (3, 3, 2, 3, 2, 3)
    np.testing.assert_allclose(own.ntk, np.einsum("ijhwhw->ijhw", every.ntk), rtol=1e-14)
    np.testing.assert_allclose(every.nngp, every.nngp.transpose(1, 0, 4, 5, 2, 3), rtol=1e-14)
    with jax.enable_x64(True):
        np.testing.assert_allclose(quick(infinite.kernel(net))(jnp.asarray(x)).ntk, own.ntk, rtol=1e-13)
    with pytest.raises(InputError, match="positions to be one of all, own; got 'al'"):
        infinite.kernel(net, positions="al")
    with pytest.raises(
        InputError, match=r"points x \(N, d\); got shape \(3, 4, 6, 2\); of points with positions, take the diagonal of gram"
    ):
        infinite.diagonal(net, x)


@pytest.mark.parametrize("between", [(Resize((8, 8)),), (Pool((2, 2)),)])
@pytest.mark.parametrize("channels", [3, 40])
def test_tiles_hold_what_is_planned_for_them(channels, between):
    """By the compiler's account, for images that grow on their way and for many channels."""
    from kernelregime.infinite.gram import problem
    from kernelregime.infinite.positions import propagate_fields

    x = np.zeros((4, 4, 4, channels), np.float32)
    net = Sequential((Conv(1, (3, 3), 1.5), RELU, *between, Conv(1, (3, 3), 1.5), RELU, GlobalPool(), Dense(1)))
    asked = problem(net, x, x)
    layers = asked.tile.layers
    program = jax.jit(propagate_fields.__wrapped__, static_argnames=("kinds", "positions", "kept", "shares"))
    options = {"kinds": ("nngp", "ntk"), "positions": asked.tile.positions, "kept": "own", "shares": 0}
    held = program.lower(layers, Batch(x), Batch(x), None, **options).compile().memory_analysis()
    assert held.temp_size_in_bytes <= asked.bytes_per_pair * 16 + asked.bytes_per_point * 8


def test_dense_layers_and_attention_of_images_by_offsets_or_not_are_one(monkeypatch):
    """Global pooling at stride 1 goes offset by offset; the same by all pairs of positions at one time."""
    x = np.random.default_rng(0).normal(size=(3, 3, 4, 2))
    x[2] = x[0]
    main = Sequential((RELU, Conv(8, (3, 2), 1.2, dilation=(1, 2)), LayerNorm("all"), Activation("erf"), Dense(8, 1.1)))
    net = Sequential((Conv(8, (2, 3), 1.5, 0.1), Branches((main, Identity())), RELU, GlobalPool("sum"), Dense(8, 0.1), RELU, Dense(1)))
    found = infinite.gram(net, x)
    monkeypatch.setattr(importlib.import_module("kernelregime.infinite.gram"), "by_offsets", lambda *_: None)
    expected = infinite.gram(net, x)
    for kind in ("nngp", "ntk"):
        np.testing.assert_allclose(getattr(found, kind), getattr(expected, kind), rtol=1e-12)
    assert found.ntk[0, 2] == found.ntk[0, 0]


PAIR = (Conv(8, (3, 3), 1.6, 0.1), RELU)
ERF = (Conv(8, (3, 3), 1.6), Activation("erf"))
STAGES = {
    "two pools before the global one": (*PAIR, *PAIR, Pool((2, 2)), *ERF, Pool((2, 2), reduction="sum"), GlobalPool()),
    "an activation after the global one": (*PAIR, Pool((2, 2)), *ERF, GlobalPool(), Dense(3), RELU),
    "a stride after a pool": (*PAIR, Pool((2, 3)), Conv(8, (3, 3), 1.6, strides=(2, 2)), RELU, GlobalPool()),
    "flattened": (*ERF, Pool((2, 3)), *PAIR, Flatten()),
    "a pool in front": (Pool((2, 2)), *PAIR, Pool((2, 3)), Flatten()),
    "branches": (PAIR[0], Branches((Sequential((RELU, PAIR[0])), Identity())), RELU, Pool((1, 3)), *PAIR, GlobalPool()),
    "pools one after another": (*PAIR, Pool((2, 2)), Pool((2, 3)), Flatten()),
}


@pytest.mark.parametrize("name", STAGES)
def test_pools_by_offsets_or_of_all_pairs_are_one(name, monkeypatch, quick_grams):
    x = np.random.default_rng(0).normal(size=(3, 4, 6, 2))
    x[2] = x[0]
    net = Sequential((*STAGES[name], Dense(1)))
    assert levels.by_offsets(net, (4, 6)).stages
    found, low = infinite.gram(net, x), infinite.gram(net, x, dtype="float32")
    monkeypatch.setattr(importlib.import_module("kernelregime.infinite.gram"), "by_offsets", lambda *_: None)
    expected = infinite.gram(net, x)
    for kind in ("nngp", "ntk"):
        np.testing.assert_allclose(getattr(found, kind), getattr(expected, kind), rtol=1e-13)
        np.testing.assert_allclose(getattr(low, kind), getattr(expected, kind), rtol=1e-5)
    assert found.ntk[0, 2] == found.ntk[0, 0]


@pytest.mark.parametrize(("name", "wanted"), [("MaxPool", "a maximum over positions"), ("BatchNorm", "a batch couples all points")])
def test_layers_without_an_infinite_width_are_refused_with_the_reason(name, wanted):
    with pytest.raises(AttributeError, match=f"kernelregime.layers has no {name}: {wanted}"):
        getattr(layers, name)


@pytest.mark.parametrize("flat", [False, True])
def test_strides_after_a_rectifier_take_the_positions_they_stand_at(flat):
    """A convolution of stride 2 is one of stride 1 of which every second position is kept."""
    x, end = np.random.default_rng(0).normal(size=(3, 5, 5, 2)), Flatten() if flat else GlobalPool()
    first = (Conv(8, (3, 3), 1.7, 0.1), RELU)
    apart = Sequential((*first, Conv(8, (3, 3), 1.5, strides=(2, 2)), RELU, end, Dense(1)))
    kept = Sequential((*first, Conv(8, (3, 3), 1.5), Crop(((None, None, 2), (None, None, 2))), RELU, end, Dense(1)))
    np.testing.assert_allclose(infinite.gram(apart, x).ntk, infinite.gram(kept, x).ntk, rtol=1e-13)


def test_what_is_no_gaussian_after_a_global_pooling_is_refused_by_all_drivers():
    x, net = np.random.default_rng(0).normal(size=(2, 3, 3, 2)), Sequential((Conv(8, (3, 3), 1.7), RELU, GlobalPool(), RELU, Dense(1)))
    for driver in (infinite.gram, lambda net, x: infinite.kernel(net)(jnp.asarray(x, jnp.float32))):
        with pytest.raises(InputError, match="a layer with random weights before an activation"):
            driver(net, x)
    closed = Sequential((Conv(8, (3, 3), 1.7), GlobalPool(), RELU, Dense(1)))
    assert infinite.gram(closed, x).ntk.shape == (2, 2)
