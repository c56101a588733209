"""Given linear maps of positions: along the edges of each point's graph, and fixed ones."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from kernelregime._checks import array, fail, integer
from kernelregime.layers.base import Layer, Reach, Shape
from kernelregime.layers.batch import Batch
from kernelregime.layers.convolution import check_axes, check_whole
from kernelregime.layers.fields import Fields, hidden, positions_of
from kernelregime.layers.pooling import Along, mixed


@partial(jax.tree_util.register_dataclass, data_fields=(), meta_fields=())
@dataclass(frozen=True)
class Aggregate(Layer):
    """x(q) = Σ_p A_qp x(p) over the nodes p of each point's graph, for a `Batch` (N, nodes, channels) with `graph` A (N, nodes, nodes).

    A is taken as it is: a mean over neighbours has rows that add up to 1, a graph convolution (Kipf and Welling 2017) is D^-½ (A + 1) D^-½
    followed by a `Dense` layer; it may have negative entries. At infinite width (Du et al. 2019, section 3) Σ'(q, q') =
    Σ_pp' A_qp A'_q'p' Σ(p, p') with the graphs A, A' of the two points, and the same for Θ.
    """

    reach: ClassVar[Reach] = "all"
    linear: ClassVar[bool] = True

    def output_shape(self, shape: Shape) -> Shape:
        """Unchanged."""
        if len(shape) != 2:
            raise fail("points (nodes, channels)", f"shape {shape}", "reshape x, channels last")
        return shape

    def init(self, key: Array, shape: Shape, dtype: Any = None) -> tuple[()]:
        """No parameters."""
        return ()

    def apply(self, params: tuple[()], x: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        """Refused: without graphs there is nothing to add up."""
        raise _no_graph()

    def apply_batch(self, params: tuple[()], batch: Batch) -> Batch:
        """The sums."""
        if batch.graph is None:
            raise _no_graph()
        self.output_shape(batch.shape[1:])
        return replace(batch, values=jnp.einsum("nqp,npc->nqc", batch.graph, batch.hidden().values)).hidden()

    def propagate(self, state: Any) -> Any:
        """Σ' and Θ' as in the class's text."""
        check_axes(state, 1)
        if state.graph is None:
            raise _no_graph()
        whole = [_of_sum_one(graph, 1) for graph in state.graph]  # (q, p, N)

        def along(x: Array, start: int, side: int) -> Array:
            # points n of the first set and m of the second; a set with itself has one axis of them
            each = "n" if x.ndim == 3 else "nm"
            there, gone = ("pr", "qr") if start == 0 else ("rp", "rq")
            return jnp.einsum(f"qp{each[min(side, len(each) - 1)]},{there}{each}->{gone}{each}", whole[side][0], x, precision="highest")

        return _mapped(state, along, [part[1] for part in whole], [part[2] for part in whole])


@partial(jax.tree_util.register_dataclass, data_fields=("weights",), meta_fields=("axis",))
@dataclass(frozen=True)
class PositionMap(Layer):
    """x(q) = Σ_p w_qp x(p) with given weights, the same for all points and channels.

    `weights` (Q, P): along the axis of positions number `axis`, counted from 0; with `axis=None` (*Q, *P), over all of them. At infinite
    width Σ'(q, q') = Σ_pp' w_qp w_q'p' Σ(p, p'), and the same for Θ.
    """

    weights: Any
    axis: int | None = 0

    reach: ClassVar[Reach] = "all"
    linear: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if isinstance(self.weights, list | tuple):
            object.__setattr__(self, "weights", np.asarray(self.weights, float))
        if self.axis is not None:
            integer("axis (an axis of positions)", self.axis, least=0)
        if isinstance(self.weights, np.ndarray):
            array("weights", self.weights)

    def output_shape(self, shape: Shape) -> Shape:
        """(*positions, channels), with Q in place of P."""
        lead, size = shape[:-1], self.weights.shape
        if self.axis is None:
            if lead and len(size) > len(lead) and size[-len(lead) :] == lead:
                return (*size[: -len(lead)], shape[-1])
        elif len(size) == 2 and self.axis < len(lead) and size[1] == lead[self.axis]:
            return (*lead[: self.axis], size[0], *lead[self.axis + 1 :], shape[-1])
        where = "all axes of positions" if self.axis is None else f"axis {self.axis} of positions"
        raise fail(f"points that weights of shape {size} fit along {where}", f"shape {shape}", "give weights (Q, P), or another axis=")

    def init(self, key: Array, shape: Shape, dtype: Any = None) -> tuple[()]:
        """No parameters."""
        return ()

    def apply(self, params: tuple[()], x: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        """The sums."""
        self.output_shape(x.shape[1:])
        return self._along(jnp.asarray(self.weights, x.dtype), x, 1, x.ndim - 2)

    def propagate(self, state: Any) -> Any:
        """Σ' and Θ' as in the class's text."""
        check_axes(state, state.axes if isinstance(state, Fields) else 1)
        check_whole(state, self)
        lead = positions_of(state)
        after = self.output_shape((*lead, 1))[:-1]
        if len(after) != len(lead):
            raise fail(f"weights that leave {len(lead)} axes of positions", f"weights that leave {len(after)}", "keep axes of length 1")
        read = len(lead) if self.axis is None else 1
        whole, scale, total = _of_sum_one(jnp.asarray(self.weights, state.dtype), read)

        def along(x: Array, start: int, _: int) -> Array:
            return self._along(whole, x, start, len(lead))

        # of each output position, the same whatever the positions along the other axes
        shape = after if self.axis is None else tuple(n if axis == self.axis else 1 for axis, n in enumerate(after))
        scales, sums = (jnp.broadcast_to(part.reshape(*shape, 1), (*after, 1)) for part in (scale, total))
        return _mapped(state, along, [scales] * 2, [sums] * 2)

    def _along(self, weights: Array, x: Array, start: int, axes: int) -> Array:
        where = list(range(start, start + axes)) if self.axis is None else [start + self.axis]
        outputs = weights.ndim - len(where)
        total = jnp.tensordot(weights, x, axes=(list(range(outputs, weights.ndim)), where), precision="highest")
        return jnp.moveaxis(total, range(outputs), range(where[0], where[0] + outputs))


def _of_sum_one(weights: Array, axes: int) -> tuple[Array, Array, Array]:
    """m, s, r of weights s·m over some axes after the first ones: Σ|m| = 1 and Σ m = r; all of them 0 where no weight is another."""
    over = tuple(range(axes, 2 * axes))
    size = jnp.sum(jnp.abs(weights), axis=over, keepdims=True)
    whole = weights / jnp.where(size > 0, size, 1)
    return whole, jnp.squeeze(size, over), jnp.sum(whole, axis=over)


def _mapped(state: Fields, along: Along, scales: list[Array], sums: list[Array]) -> Fields:
    unsigned = replace(state, present=None).each(partial(replace, nonnegative=False))
    return hidden(replace(mixed(unsigned, along, scales, sums), present=state.present))


def _no_graph() -> Exception:
    return fail("a graph for each point", "none", "give layers.Batch(x, graph=A) with A of shape (N, nodes, nodes) in place of x")
