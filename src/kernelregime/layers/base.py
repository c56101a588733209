"""What every layer declares."""

import reprlib
from abc import ABC, abstractmethod
from numbers import Integral
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from kernelregime._checks import fail, integer
from kernelregime.layers.fields import Fields, Positions
from kernelregime.layers.moments import Moments

State = Moments | Fields
Shape = tuple[int, ...]
Reach = Literal["each", "own", "all"]  # which pairs of positions a layer reads: those it is asked for, p = p' alone, or all


class Layer(ABC):
    """One layer, at finite and at infinite width. Data and parameters arrive in the calls; the layer holds hyperparameters only.

    `reach`: of units with positions, which pairs of positions (p, p') the layer needs to know: "each" passes on what is asked of it,
    "own" (flatten) needs p = p' alone, "all" (pooling, attention) needs all pairs.
    """

    reach: ClassVar[Reach] = "each"
    reach_masked: ClassVar[Reach | None] = None  # where positions may be absent, if it is another
    # whether units at p and p' are made of such as far apart, as many as before; a property `unmoved` tells where it depends
    keeps_offsets: ClassVar[bool] = False
    channels_in_front: ClassVar[bool] = False  # of the points it takes; of all other layers they come last
    linear: ClassVar[bool] = False  # a fixed linear map, which leaves means of 0 and uncorrelated units as they are
    grows: ClassVar[tuple[str, ...]] = ()  # the fields that are numbers of units, which go to infinity together
    in_turn: ClassVar[bool] = True  # of a layer made of `layers`: whether one follows another

    @abstractmethod
    def output_shape(self, shape: Shape) -> Shape:
        """The shape of one point after the layer, from its shape before."""

    @abstractmethod
    def init(self, key: Array, shape: Shape, dtype: Any = None) -> Any:
        """Random parameters (a pytree) for points of this shape; `dtype` defaults to JAX's current float.

        Raises: `InputError` for a key that is none, and a shape that is no tuple (or list) of integers.
        """

    @abstractmethod
    def apply(self, params: Any, x: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        """The layer at finite width, for a batch of points."""

    @abstractmethod
    def propagate(self, state: State) -> State:
        """The layer at infinite width: second moments and NTK after it, from those before; `Fields` where units have positions."""


def check_key(key: Any) -> None:
    """`InputError` unless `key` is one random key of JAX."""
    try:
        jax.eval_shape(jax.random.fold_in, key, 0)
    except (TypeError, ValueError):
        if hasattr(key, "dtype") and jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
            do = "give one of them, or map over all with jax.vmap"
            raise fail("key to be one JAX random key", f"an array of keys of shape {key.shape}", do) from None
        seed = key if type(key) is int else 0
        raise fail("key to be a JAX random key", reprlib.repr(key), f"write jax.random.key({seed})") from None


def checked_shape(shape: Any) -> Shape:
    """`shape` as a tuple of integers; `InputError` unless it is the shape of one point."""
    wanted = "shape to be that of one point, a tuple such as (784,)"
    if isinstance(shape, Integral):
        raise fail(wanted, repr(shape), f"write ({shape},)")
    if isinstance(shape, np.ndarray | jax.Array):
        do = f"give x.shape[1:], here {shape.shape[1:]}" if shape.ndim > 1 else "give a tuple of integers"
        raise fail(wanted, f"an array of shape {shape.shape}", do)
    if not isinstance(shape, tuple | list):
        raise fail(wanted, reprlib.repr(shape), "give x.shape[1:] for a batch x of points")
    return tuple(integer("each number in shape", size) for size in shape)


def reach_of(layer: Layer, after: Positions, *, masked: bool = False) -> Positions:
    """Which pairs of positions ("own" or "all") a layer needs, where what follows it needs those of `after`; `masked`: of points of
    which positions may be absent.
    """
    inner: tuple[Layer, ...] | None = getattr(layer, "layers", None)
    if inner is None:
        reach = (masked and layer.reach_masked) or layer.reach
        return after if reach == "each" else reach
    if not layer.in_turn:
        return "all" if any(reach_of(part, after, masked=masked) == "all" for part in inner) else "own"
    for part in reversed(inner):
        after = reach_of(part, after, masked=masked)
    return after


def draws(layer: Layer) -> bool:
    """Whether a layer, or one in it, draws anew for each point, so that a point with itself is not the limit of two equal ones."""
    inner = getattr(layer, "layers", None)
    return any(draws(part) for part in inner) if inner is not None else bool(getattr(layer, "training", False))


def channels_first(layer: Layer) -> bool:
    """Whether a network takes points (channels, *positions); `InputError` where it changes the order later on."""
    inner: tuple[Layer, ...] | None = getattr(layer, "layers", None)
    if inner is None:
        return layer.channels_in_front
    found = [channels_first(part) for part in inner]
    if any(found[1:]) or (found[0] and not layer.in_turn):
        raise fail("ChannelsLast as the first layer of a network", "one after others", "give it once, in front")
    return found[0]


def offsets_kept(layer: Layer) -> bool:
    """Whether a layer, and all in it, keep pairs of positions as far apart as they are."""
    inner = getattr(layer, "layers", None)
    return all(offsets_kept(part) for part in inner) if inner is not None else getattr(layer, "unmoved", layer.keeps_offsets)
