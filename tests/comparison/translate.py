"""Reference specs, [[layer, arguments], ...], turned into this library's layers. A new layer or activation is one line in `LAYERS`."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import roots_hermite

from kernelregime import activations, layers
from kernelregime._checks import InputError
from kernelregime.activations import Dual, Kind, Nonlinearity
from kernelregime.layers import (
    Activation,
    Attention,
    Branches,
    Conv,
    Crop,
    Dense,
    Dropout,
    Flatten,
    GlobalPool,
    Identity,
    Layer,
    LayerNorm,
    Pool,
    Resize,
    Sequential,
)


class UnsupportedError(Exception):
    """A spec that the library cannot express. `listed`: the library does have that layer, so a translation is missing here."""

    def __init__(self, reason: str, *, listed: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.listed = reason, listed


def _variance(std: float | None) -> float | None:
    return None if std is None else std * std


def _dense(out_dim: int, W_std: float = 1.0, b_std: float | None = None, parameterization: str = "ntk", s: Any = (1, 1)) -> Layer:
    return Dense(out_dim, W_std * W_std, _variance(b_std), parameterization, tuple(s))


def _conv(
    out_chan: int,
    filter_shape: list[int],
    strides: list[int] | None = None,
    padding: str = "VALID",
    W_std: float = 1.0,
    b_std: float | None = None,
    parameterization: str = "ntk",
    *,
    shared: bool = True,
    transposed: bool = False,
) -> Layer:
    window, variances = tuple(filter_shape), (W_std * W_std, _variance(b_std))
    apart = tuple(strides) if strides else None
    return Conv(
        out_chan,
        window,
        *variances,
        strides=apart,
        padding=padding,
        parameterization=parameterization,
        shared=shared,
        transposed=transposed,
    )


def _pool(reduction: str) -> Callable[..., Layer]:
    def translate(
        window_shape: list[int], strides: list[int] | None = None, padding: str = "VALID", normalize_edges: bool = False
    ) -> Layer:
        edges = "inside" if normalize_edges else "all"
        return Pool(tuple(window_shape), tuple(strides or [1] * len(window_shape)), padding, reduction, edges)

    return translate


def _attention(
    n_chan_out: int,
    n_chan_key: int,
    n_chan_val: int,
    n_heads: int,
    linear_scaling: bool = True,
    W_key_std: float = 1.0,
    W_value_std: float = 1.0,
    W_query_std: float = 1.0,
    W_out_std: float = 1.0,
    b_std: float | None = None,
    attention_mechanism: str = "SOFTMAX",
    pos_emb_type: str = "NONE",
    W_pos_emb_std: float = 1.0,
    n_chan_pos_emb: int | None = None,
) -> Layer:
    stds = (W_query_std, W_key_std, W_value_std, W_out_std)
    return Attention(
        n_chan_out,
        n_heads,
        n_chan_key,
        n_chan_val,
        *(std * std for std in stds),
        _variance(b_std),
        scaling="linear" if linear_scaling else "root",
        weights=attention_mechanism.lower(),
        embedding={"NONE": "none", "SUM": "sum", "CONCAT": "concatenate"}[pos_emb_type],
        sigma_p2=W_pos_emb_std * W_pos_emb_std,
        embedding_channels=n_chan_pos_emb,
    )


def _layer_norm(axis: Any = -1, eps: float = 1e-12) -> Layer:
    return LayerNorm("channels" if axis in (-1, [-1]) else "all", eps)


def _dropout(rate: float, mode: str = "train") -> Layer:
    return Dropout(rate, training=mode == "train")


def _resize(shape: list[int], method: str, antialias: bool = True) -> Layer:
    return Resize(tuple(shape[1:-1]), method, antialias)


def _index(slices: list[list[int | None]]) -> Layer:
    if slices[0] != [None]:
        raise UnsupportedError("Index along the batch")
    parts = [slice(*part) for part in slices[1:]]
    return Crop(tuple((part.start, part.stop, part.step) for part in parts))


def _activation(name: str, ignored: tuple[str, ...] = ()) -> Callable[..., Layer]:
    """The registered activation `name`; arguments in `ignored` do not change the function."""

    def translate(**given: Any) -> Layer:
        return Activation(activations.get(name, **{k: v for k, v in given.items() if k not in ignored}))

    return translate


@dataclass(frozen=True, eq=False)
class NumericalKind(Kind):
    """A nonlinearity with a rule of the reference's own; `lopsided`: the rule is not symmetric in its two points."""

    lopsided: bool = True


def _numerical(fn: str, deg: int) -> Layer:
    function = getattr(jax.nn, fn, None) or getattr(jnp, fn, None)
    if function is None:
        raise UnsupportedError(f"ElementwiseNumerical({fn})")
    return Activation(Nonlinearity(numerical_kind(function, deg)))


@lru_cache(maxsize=64)
def numerical_kind(function: Callable[..., Any], degree: int) -> NumericalKind:
    """φ with the reference's own rule: a product of two Gauss-Hermite rules, u = √(2a) x, v = c√(2/a) x + √(2(b - c²/a)) y."""
    nodes, weights = roots_hermite(degree)
    slope = jnp.vectorize(jax.grad(function))

    def second_moment(q: Any) -> Any:
        return jnp.tensordot(function(jnp.sqrt(2 * q)[..., None] * nodes) ** 2, jnp.asarray(weights), 1) / np.sqrt(np.pi)

    def dual(a: Any, b: Any, w: Any, v: Any) -> Dual:
        a, b, w, v = jnp.broadcast_arrays(a, b, w, v)
        x, y, grid = nodes[:, None], nodes[None, :], jnp.asarray(np.outer(weights, weights)) / np.pi
        first = jnp.sqrt(2 * a)[..., None, None] * x
        along, across = jnp.where(w < v, 1 - w, v - 1)[..., None, None], jnp.sqrt(w * v)[..., None, None]
        second = jnp.sqrt(2 * b)[..., None, None] * (along * x + across * y)
        root = jnp.sqrt(second_moment(a) * second_moment(b))

        def gap(sign: int) -> Any:
            """1 - sign·ρ'. At ρ = sign it is that of two sums, by Lagrange's identity; from there on, a sum of differences."""
            left, right = function(first), sign * function(sign * jnp.sqrt(2 * b)[..., None, None] * x)
            crossed = left * jnp.swapaxes(right, -1, -2) - jnp.swapaxes(left, -1, -2) * right
            product = jnp.tensordot(left * right + jnp.zeros_like(y), grid, 2)
            aligned = jnp.tensordot(crossed**2, grid, 2) / 2 / (root + jnp.abs(product))
            start = jnp.where(product > 0, aligned, root - product)
            return jnp.maximum(start + jnp.tensordot(left * (right - sign * function(second)), grid, 2), 0) / root

        return Dual(gap(1), gap(-1), jnp.tensordot(slope(first) * slope(second), grid, 2))

    return NumericalKind(f"{getattr(function, '__name__', 'function')} at {degree} nodes", function, slope, second_moment, dual)


ACTIVATIONS = {
    "ABRelu": "abrelu",
    "Abs": "abs",
    "Cos": "cos",
    "Erf": "erf",
    "Exp": "exp",
    "ExpNormalized": "exp_normalized",
    "Gabor": "gabor",
    "Gaussian": "gaussian",
    "Gelu": "gelu",
    "Hermite": "hermite",
    "LeakyRelu": "leaky_relu",
    "Monomial": "monomial",
    "Polynomial": "polynomial",
    "Rbf": "rbf",
    "RectifiedMonomial": "rectified_monomial",
    "Relu": "relu",
    "Sigmoid_like": "sigmoid_like",
    "Sign": "sign",
    "Sin": "sin",
}
LAYERS: dict[str, Callable[..., Layer]] = {
    "Dense": _dense,
    **{given: _activation(name, ("do_stabilize", "do_clip", "approximate")) for given, name in ACTIVATIONS.items()},
    "ElementwiseNumerical": _numerical,
    "Identity": Identity,
    "Conv": _conv,
    "ConvLocal": partial(_conv, shared=False),
    "ConvTranspose": partial(_conv, transposed=True),
    "AvgPool": _pool("mean"),
    "SumPool": _pool("sum"),
    "GlobalAvgPool": partial(GlobalPool, "mean"),
    "GlobalSumPool": partial(GlobalPool, "sum"),
    "Flatten": Flatten,
    "LayerNorm": _layer_norm,
    "Dropout": _dropout,
    "ImageResize": _resize,
    "GlobalSelfAttention": _attention,
    "Index": _index,
}


def listed(name: str) -> bool:
    """Whether the library has a layer or an activation of this name, however it is spelled."""
    return name.lower().replace("_", "") in {had.lower().replace("_", "") for had in [*layers.__all__, *activations.REGISTRY]}


def _one(name: str, arguments: dict[str, Any]) -> Layer:
    if name not in LAYERS:
        raise UnsupportedError(name, listed=listed(name))
    try:
        inspect.signature(LAYERS[name]).bind(**arguments)
    except TypeError:
        raise UnsupportedError(f"{name}({', '.join(arguments)})") from None
    try:
        return LAYERS[name](**arguments)
    except InputError as error:
        raise UnsupportedError(f"{name}: {error}", listed=listed(name)) from None


JOINS = {"FanInSum": "sum", "FanInProd": "product", "FanInConcat": "concatenate"}


def network(described: list[Any], kernel_arguments: dict[str, Any] | None = None) -> Sequential:
    """The network that a spec describes; `UnsupportedError` names everything in it that the library does not have."""
    missing = [
        UnsupportedError(f"kernel argument {name}") for name in kernel_arguments or {} if name not in ("diagonal_spatial", "mask_constant")
    ]
    found = _in_turn(described, missing)
    if missing:
        raise UnsupportedError(", ".join(dict.fromkeys(error.reason for error in missing)), listed=any(error.listed for error in missing))
    if all(isinstance(layer, Identity) for layer in found):
        raise UnsupportedError("no layer that changes anything")
    return Sequential(tuple(found))


def _in_turn(described: list[Any], missing: list[UnsupportedError]) -> list[Layer]:
    """The layers of a spec; what the library does not have is added to `missing`."""
    found: list[Layer] = []
    branches: tuple[Layer, ...] = ()
    for name, arguments in described:
        if name == "FanOut":
            continue
        if name == "parallel":
            branches = tuple(Sequential(tuple(_in_turn(branch, missing) or [Identity()])) for branch in arguments)
        elif name in JOINS:
            found.append(Branches(branches, JOINS[name]))
        else:
            try:
                found.append(_one(name, arguments))
            except UnsupportedError as error:
                missing.append(error)
            else:
                if isinstance(found[-1], Resize) and turned(found):
                    found[-1] = replace(found[-1], positions=found[-1].positions[::-1])
    return found


def turned(found: Sequence[Layer]) -> bool:
    """Whether the reference has the axes of positions in reversed order: each of its convolutions turns them about.

    It neither resizes them accordingly nor turns them back in what it returns.
    """
    return sum(isinstance(layer, Conv) for layer in found) % 2 == 1


def spec(net: Sequential) -> list[Any]:
    """The spec of a network: the inverse of `network`, for networks of Dense layers and activations without parameters."""
    found: list[Any] = []
    for layer in net.layers:
        if isinstance(layer, Dense):
            bias = None if layer.sigma_b2 is None else layer.sigma_b2**0.5
            std = {"W_std": layer.sigma_w2**0.5, "b_std": bias, "parameterization": layer.parameterization}
            found.append(["Dense", {"out_dim": layer.width, **std}])
        else:
            assert isinstance(layer, Activation)
            found.append([layer.nonlinearity.name.capitalize(), {}])
    return found


def parts(layer: Layer) -> list[Layer]:
    """The layers of a network, those of its branches too."""
    inner = getattr(layer, "layers", None)
    return [layer] if inner is None else [part for one in inner for part in parts(one)]


def kinked(net: Layer) -> bool:
    """Whether an activation of the network has a kink."""
    return any(isinstance(layer, Activation) and bool(layer.nonlinearity.kinks) for layer in parts(net))


def lopsided(net: Layer) -> bool:
    """Whether the reference's rule for an activation of the network is not symmetric in its two points."""
    return any(isinstance(layer, Activation) and getattr(layer.nonlinearity.kind, "lopsided", False) for layer in parts(net))


def singular(net: Layer) -> bool:
    """Whether the reference's formula for an activation of the network is singular at parallel points."""
    return any(isinstance(layer, Activation) and layer.nonlinearity.name.startswith("rectified_monomial") for layer in parts(net))
