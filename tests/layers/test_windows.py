"""Transposed convolutions against the maps that `jax.lax.conv_transpose` makes, and windows where positions are absent."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import quick

from kernelregime import infinite
from kernelregime.infinite.levels import by_offsets
from kernelregime.layers import Activation, Batch, Conv, Dense, GlobalPool, Pool, Sequential

pytestmark = pytest.mark.usefixtures("quick_grams", "strict_float64")
RELU = Activation("relu")
WEIGHTS = {"sigma_w2": 1.6, "sigma_b2": 0.1}
# positions, window, strides, dilation
TRANSPOSED = {
    **{f"{n}, {k} by {s}": ((n,), (k,), (s,), (1,)) for n, k, s in itertools.product((1, 4), (1, 2, 3, 5), (1, 2, 3))},
    "dilated": ((4,), (3,), (2,), (2,)),
    "dilated to holes": ((3,), (2,), (1,), (3,)),
    "an image": ((3, 2), (2, 4), (3, 2), (1, 2)),
    "a volume": ((2, 1, 2), (3, 2, 1), (1, 3, 2), (1, 1, 1)),
}


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def transposed(x, w, strides, dilation, padding):
    """Of `jax.lax`, which has no circular one: there the outputs of "VALID" are added up around the axis, as many before as after."""
    names = "HWD"[: len(strides)]
    layout = (f"N{names}C", f"{names}IO", f"N{names}C")
    valid = "SAME" if padding == "SAME" else "VALID"
    h = np.asarray(jax.lax.conv_transpose(jnp.asarray(x), jnp.asarray(w), strides, valid, dilation, layout))
    if padding != "CIRCULAR":
        return h
    for axis, stride in enumerate(strides, 1):
        length = x.shape[axis] * stride
        at = (np.arange(h.shape[axis]) - (h.shape[axis] - length) // 2) % length
        h = np.stack([h.take(np.flatnonzero(at == q), axis).sum(axis) for q in range(length)], axis)
    return h


@pytest.mark.parametrize("padding", ["SAME", "VALID", "CIRCULAR"])
@pytest.mark.parametrize("name", TRANSPOSED)
def test_a_transposed_convolution_is_that_of_lax(name, padding):
    lengths, window, strides, dilation = TRANSPOSED[name]
    layer = Conv(5, window, strides=strides, dilation=dilation, padding=padding, transposed=True)
    x, w = normal(2, *lengths, 3), normal(*window, 3, 5, seed=1)
    found = layer.apply({"w": jnp.asarray(w)}, jnp.asarray(x))
    expected = transposed(x, w, strides, dilation, padding) / np.sqrt(3 * np.prod(window))
    assert found.shape == (2, *layer.output_shape(x.shape[1:]))
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


def probed(k, theta, lengths, layer):
    """Σ' and Θ' of all pairs of units of one point, from the map that each tap makes of it."""
    total = [0, 0]
    size = int(np.prod(lengths))
    for tap in range(layer.taps):
        w = np.eye(layer.taps)[tap].reshape(*layer.window, 1, 1)
        ones = (1,) * len(lengths)
        images = transposed(np.eye(size).reshape(size, *lengths, 1), w, layer.strides, layer.dilation or ones, layer.padding)
        move = np.kron(np.eye(len(k) // size), images.reshape(size, -1).T)
        total = [sum_ + move @ part @ move.T for sum_, part in zip(total, (k, theta), strict=True)]
    k = layer.sigma_w2 / layer.taps * total[0] + layer.sigma_b2
    return k, layer.sigma_w2 / layer.taps * total[1] + k


def rectified(k, theta):
    root = np.sqrt(np.outer(np.diag(k), np.diag(k)))
    angle = np.arccos(np.clip(k / root, -1, 1))
    return root * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / (2 * np.pi), theta * (np.pi - angle) / (2 * np.pi)


@pytest.mark.parametrize("padding", ["SAME", "VALID", "CIRCULAR"])
@pytest.mark.parametrize("name", ["4, 2 by 1", "4, 5 by 2", "4, 2 by 3", "dilated", "an image"])
def test_kernels_of_transposed_convolutions_are_those_of_its_maps(name, padding):
    lengths, window, strides, dilation = TRANSPOSED[name]
    first = Conv(8, window, 1.6, 0.1, strides, dilation, padding, transposed=True)
    second = Conv(8, (2,) * len(lengths), 1.3, 0.2, (1,) * len(lengths), padding=padding, transposed=True)
    x = normal(2, *lengths, 3)
    units = x.reshape(-1, 3)
    k, theta = probed(units @ units.T / 3, np.zeros((len(units),) * 2), lengths, first)
    k, theta = probed(*rectified(k, theta), first.output_shape((*lengths, 3))[:-1], second)
    network = Sequential((first, RELU, second))
    found = quick(infinite.kernel(network, positions="all"))(jnp.asarray(x))
    places = network.output_shape(x.shape[1:])[:-1]
    size = int(np.prod(places))
    for kernel, expected in zip((found.nngp, found.ntk), (k, theta), strict=True):
        wanted = expected.reshape(2, size, 2, size).transpose(0, 2, 1, 3).reshape(2, 2, *places, *places)
        np.testing.assert_allclose(kernel, wanted, rtol=1e-7)  # of the reference, whose angles come from arccos
    own = quick(infinite.kernel(network))(jnp.asarray(x)).ntk
    np.testing.assert_allclose(own.reshape(2, 2, size), np.einsum("ijpp->ijp", found.ntk.reshape(2, 2, size, size)), rtol=1e-13)


@pytest.mark.parametrize("padding", ["SAME", "CIRCULAR"])
def test_transposed_convolutions_of_stride_1_go_offset_by_offset_to_the_same_kernels(padding):
    layers = (Conv(8, (2,), 1.6, 0.1, padding=padding, transposed=True), RELU, Conv(8, (4,), 1.3, padding=padding, transposed=True))
    x, pooled = normal(2, 4, 3), Sequential((*layers, GlobalPool()))
    assert by_offsets(pooled, (4,))
    expected = quick(infinite.kernel(Sequential(layers), positions="all"))(jnp.asarray(x)).ntk
    np.testing.assert_allclose(infinite.gram(pooled, x).ntk, expected.mean((2, 3)), rtol=1e-12)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("name", ["4, 2 by 1", "4, 5 by 2", "4, 2 by 3", "dilated", "dilated to holes"])
def test_a_transposed_convolution_of_a_short_sequence_is_that_of_the_sequence_by_itself(name, padding):
    _, window, strides, dilation = TRANSPOSED[name]
    layer = Conv(8, window, 1.6, 0.1, strides, dilation, padding, transposed=True)
    x, there = normal(2, 6, 3), np.arange(6) < np.array([[4], [6]])
    params = layer.init(jax.random.key(0), (6, 3), jnp.float64)
    found = layer.apply_batch(params, Batch(jnp.asarray(np.where(there[..., None], x, np.nan)), jnp.asarray(there)))
    alone = layer.apply(params, jnp.asarray(x[:1, :4]))
    np.testing.assert_array_equal(found.present[0], np.arange(found.shape[1]) < alone.shape[1])
    np.testing.assert_allclose(found.values[0, : alone.shape[1]], alone[0], rtol=1e-12)


VALID = {
    "stride 1": (Conv(8, (3,), **WEIGHTS, padding="VALID"), RELU),
    "stride 2": (Conv(8, (3,), **WEIGHTS, strides=(2,), padding="VALID"), RELU),
    "dilation 2": (Conv(8, (2,), **WEIGHTS, dilation=(2,), padding="VALID"), RELU),
    "locally connected": (Conv(8, (2,), **WEIGHTS, padding="VALID", shared=False), RELU),
    "two of them": (Conv(8, (2,), **WEIGHTS, padding="VALID"), RELU, Conv(8, (2,), **WEIGHTS, strides=(2,), padding="VALID"), RELU),
    "pooled, windows side by side": (Conv(8, (3,), **WEIGHTS), RELU, Pool((2,))),
    "pooled, inside": (Conv(8, (3,), **WEIGHTS), RELU, Pool((3,), (1,), edges="inside")),
    "pooled, sums of overlapping windows": (Conv(8, (3,), **WEIGHTS), RELU, Pool((3,), (2,), reduction="sum")),
}


@pytest.mark.parametrize("name", VALID)
def test_valid_windows_of_a_short_sequence_are_those_of_the_sequence_by_itself(name):
    """At infinite and at finite width, whatever stands where a sequence has ended."""
    network = Sequential((*VALID[name], GlobalPool(), Dense(1, 1.3, 0.2)))
    x, there = normal(4, 8, 2), np.arange(8) < np.array([[5], [8], [6], [5]])
    batch = Batch(jnp.asarray(np.where(there[..., None], x, np.nan)), jnp.asarray(there))
    found, alone = (quick(infinite.kernel(network))(points) for points in (batch, jnp.asarray(x[::3, :5])))
    for kind in ("nngp", "ntk"):
        np.testing.assert_allclose(getattr(found, kind)[::3, ::3], getattr(alone, kind), rtol=1e-12)
    if name == "locally connected":
        return  # it has as many weights as positions
    params = network.init(jax.random.key(0), (8, 2), jnp.float64)
    values = network.apply(params, batch)
    for i, length in ((0, 5), (2, 6)):
        np.testing.assert_allclose(values[i], network.apply(params, jnp.asarray(x[i : i + 1, :length]))[0], rtol=1e-12)


def test_an_image_has_valid_windows_where_all_of_their_pixels_are():
    there = np.random.default_rng(0).random((3, 4, 6)) > 0.2
    for layer in (Conv(4, (2, 3), padding="VALID", strides=(1, 2)), Pool((2, 3), (1, 2))):
        params = layer.init(jax.random.key(0), (4, 6, 2), jnp.float64)
        found = layer.apply_batch(params, Batch(jnp.asarray(normal(3, 4, 6, 2)), jnp.asarray(there)))
        windows = np.lib.stride_tricks.sliding_window_view(there, (2, 3), axis=(1, 2))[:, :, ::2]
        np.testing.assert_array_equal(found.present, windows.all((-2, -1)))
