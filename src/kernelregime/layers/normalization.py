"""Layer normalization and dropout."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kernelregime._checks import fail, one_of, real
from kernelregime.layers.base import Layer, Reach, Shape
from kernelregime.layers.batch import Batch
from kernelregime.layers.convolution import alone, check_whole
from kernelregime.layers.fields import Fields
from kernelregime.layers.moments import Moments, check_gaussian, gap_of


@partial(jax.tree_util.register_dataclass, data_fields=(), meta_fields=("over", "eps"))
@dataclass(frozen=True)
class LayerNorm(Layer):
    """(x - mean)/√(variance + eps) over the channels of each position, or over "all" positions and channels of a point.

    At infinite width the mean is 0 and the variance Σ(p, p), or its mean over the positions: correlations stay.
    """

    over: Literal["channels", "all"] = "channels"
    eps: float = 1e-12

    reach: ClassVar[Reach] = "each"
    linear: ClassVar[bool] = True

    keeps_offsets: ClassVar[bool] = True

    def __post_init__(self) -> None:
        one_of("over", self.over, ("channels", "all"))
        real("eps", self.eps, least=0.0)

    def output_shape(self, shape: Shape) -> Shape:
        """Unchanged."""
        return shape

    def init(self, key: Array, shape: Shape, dtype: Any = None) -> tuple[()]:
        """No parameters."""
        return ()

    def apply(self, params: tuple[()], x: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        """Normalized."""
        axes = -1 if self.over == "channels" else tuple(range(1, x.ndim))
        return (x - x.mean(axis=axes, keepdims=True)) / jnp.sqrt(x.var(axis=axes, keepdims=True) + self.eps)

    def apply_batch(self, params: tuple[()], batch: Batch) -> Batch:
        """Normalized, where all positions are there or each is by itself."""
        if self.over == "all":
            check_whole(batch, self)
        return replace(batch, values=self.apply(params, batch.values)).hidden()

    def propagate(self, state: Any) -> Any:
        """Σ'(p, p') = Σ(p, p')/√((v + eps)(v' + eps)) with the variances v, v' of the two points, and the same for Θ."""
        check_gaussian(state, "a LayerNorm")
        axes = state.axes if isinstance(state, Fields) else 0
        if isinstance(state, Fields) and self.over == "all":
            check_whole(state, self)
        return state.each(partial(self._of_pair, axes=2 * axes if isinstance(state, Fields) and state.positions == "all" else axes))

    def _of_pair(self, moments: Moments, *, axes: int) -> Moments:
        def unit(k: Array) -> Array:
            variance = k if self.over == "channels" else k.mean(axis=tuple(range(axes)), keepdims=True)
            level = variance + self.eps
            return 1 / jnp.sqrt(jnp.where(level > 0, level, 1))

        one, other = unit(moments.k1), unit(moments.k2)
        ntk, tilt = (None if x is None else x * one * other for x in (moments.ntk, moments.tilt))
        return replace(moments, k1=moments.k1 * one * one, k2=moments.k2 * other * other, ntk=ntk, tilt=tilt)


@partial(jax.tree_util.register_dataclass, data_fields=(), meta_fields=("keep", "training"))
@dataclass(frozen=True)
class Dropout(Layer):
    """Units are kept with probability `keep` and then divided by it, each at each point independently; all are kept unless `training`.

    `apply` is that of a network that is evaluated, without `training`. At infinite width in training Σ(x, x) and Θ(x, x) of a point
    with itself (one draw) are divided by `keep`, and what belongs to two draws stays; units that are kept or not are no
    Gaussians, so that weights have to follow before an activation.
    """

    keep: float
    training: bool = False

    reach: ClassVar[Reach] = "each"
    linear: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < real("keep (the probability to keep a unit)", self.keep, least=0.0) <= 1:
            raise fail("keep, the probability to keep a unit, in (0, 1]", repr(self.keep), "a rate of dropping 0.2 is keep=0.8")

    def output_shape(self, shape: Shape) -> Shape:
        """Unchanged."""
        return shape

    def init(self, key: Array, shape: Shape, dtype: Any = None) -> tuple[()]:
        """No parameters."""
        return ()

    def apply(self, params: tuple[()], x: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        """x, of a network that is evaluated."""
        if self.training:
            raise fail("a network without training=True in its Dropout layers", "one with it", "draws of units are not part of `apply`")
        return x

    def propagate(self, state: Any) -> Any:
        """Σ' and Θ' as in the class's text."""
        if not self.training:
            return state
        axes = state.axes if isinstance(state, Fields) and state.positions == "all" else 0
        return state.each(partial(self._of_pair, axes=axes))

    def _of_pair(self, moments: Moments, *, axes: int) -> Moments:
        keep = self.keep
        apart = gap_of((1 - keep) + keep * moments.w, (1 - keep) + keep * moments.v)
        ntk, gap = moments.ntk, apart
        if moments.own is not None:  # a point with itself: one draw, at equal positions
            same = alone(moments.gap.shape, axes) & moments.own
            gap = jnp.where(same, moments.gap, apart)
            ntk = None if ntk is None else jnp.where(same, ntk / keep, ntk)
        return replace(moments, k1=moments.k1 / keep, k2=moments.k2 / keep, gap=gap, ntk=ntk, gaussian=False)
