"""Networks on images (H, W, channels), or with `channel_order="first"` (channels, H, W)."""

from collections.abc import Callable
from typing import Any, Literal

from kernelregime import activations
from kernelregime._checks import fail, integer, one_of
from kernelregime.layers import Activation, Branches, ChannelsLast, Conv, Dense, Flatten, GlobalPool, Identity, Layer, Pool, Sequential
from kernelregime.layers.scales import Parameterization
from kernelregime.layers.windows import Padding
from kernelregime.networks.mlp import with_roles

MYRTLE = {5: (2, 1, 1), 7: (2, 2, 2), 10: (3, 3, 3)}  # convolutions before each pooling (Shankar et al. 2020, figure 1)


def cnn(
    *,
    depth: int,
    channels: int,
    outputs: int = 1,
    readout: Literal["pool", "flatten"] = "pool",
    window: tuple[int, ...] = (3, 3),
    padding: Padding = "SAME",
    activation: str | Callable[..., Any] = "relu",
    sigma_w2: float = 2.0,
    sigma_b2: float | None = None,
    parameterization: Parameterization = "ntk",
    channel_order: Literal["last", "first"] = "last",
) -> Sequential:
    """A convolutional network: `depth` weight layers, `depth - 1` of them convolutions of stride 1 with an activation each.

    `readout`: global mean pooling or flattening, then a `Dense` layer. The rest as in `mlp` and `layers.Conv`.
    Raises: `InputError` for a depth below 2, and what the layers refuse.

    >>> len(cnn(depth=3, channels=64).layers)
    6
    """
    if integer("depth (weight layers)", depth) < 2:
        raise fail("a depth of at least 2: one convolution and the readout", f"{depth}", "for one layer, use mlp")
    one_of("readout", readout, ("pool", "flatten"))
    phi = Activation(activations.get(activation))
    conv = Conv(channels, window, sigma_w2, sigma_b2, padding=padding, parameterization=parameterization)
    end = GlobalPool() if readout == "pool" else Flatten()
    return _network((*(conv, phi) * (depth - 1), end, Dense(outputs, sigma_w2, sigma_b2, parameterization)), channel_order)


def myrtle(
    *,
    depth: Literal[5, 7, 10],
    channels: int,
    outputs: int = 10,
    activation: str | Callable[..., Any] = "relu",
    sigma_w2: float = 2.0,
    sigma_b2: float | None = None,
    parameterization: Parameterization = "ntk",
    channel_order: Literal["last", "first"] = "last",
) -> Sequential:
    """Myrtle-5, -7 or -10 for images 32 × 32: 3 × 3 convolutions, halved by mean pooling after each of three groups, then down to 1 × 1.

    Smaller images, which cannot be halved five times, are refused.
    Source: Shankar et al. 2020 (arXiv 2003.02237), figure 1.
    Raises: `InputError` for another depth.
    """
    if depth not in MYRTLE:
        raise fail(f"depth to be one of {', '.join(map(str, MYRTLE))}", repr(depth), "choose one of them")
    phi = Activation(activations.get(activation))
    conv, pool = Conv(channels, (3, 3), sigma_w2, sigma_b2, parameterization=parameterization), Pool((2, 2))
    groups = [layer for count in MYRTLE[depth] for layer in (*(conv, phi) * count, pool)]
    return _network((*groups, pool, pool, Flatten(), Dense(outputs, sigma_w2, sigma_b2, parameterization)), channel_order)


def resnet(
    *,
    blocks: int = 4,
    widen: int = 1,
    outputs: int = 10,
    readout: Literal["pool", "flatten"] = "pool",
    activation: str | Callable[..., Any] = "relu",
    sigma_w2: float = 2.0,
    sigma_b2: float | None = None,
    parameterization: Parameterization = "ntk",
    channel_order: Literal["last", "first"] = "last",
) -> Sequential:
    """A wide residual network with activations first: three groups of `blocks` blocks with 16, 32 and 64 times `widen` channels.

    The second and the third group halve the image. The first block of each group has a 3 × 3 convolution as its shortcut. There is no
    batch normalization, which has no kernel of this kind.
    Source: Zagoruyko and Komodakis 2016, table 1.
    """
    one_of("readout", readout, ("pool", "flatten"))
    phi = Activation(activations.get(activation))

    def conv(channels: int, stride: int = 1) -> Conv:
        return Conv(channels, (3, 3), sigma_w2, sigma_b2, strides=(stride, stride), parameterization=parameterization)

    layers: list[Layer] = [conv(16)]
    for group, width in enumerate((16, 32, 64)):
        for block in range(integer("blocks", blocks)):
            channels, stride = width * integer("widen", widen), 2 if group and not block else 1
            main = Sequential((phi, conv(channels, stride), phi, conv(channels)))
            layers.append(Branches((main, Identity() if block else conv(channels, stride))))
    end = GlobalPool() if readout == "pool" else Flatten()
    return _network((*layers, phi, end, Dense(outputs, sigma_w2, sigma_b2, parameterization)), channel_order)


def _network(layers: tuple[Layer, ...], channel_order: str) -> Sequential:
    one_of("channel_order", channel_order, ("last", "first"))
    return Sequential((*((ChannelsLast(),) if channel_order == "first" else ()), *with_roles(layers)))
