"""Points with what belongs to each of them: which of their positions are there, and how these are connected."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kernelregime._checks import fail
from kernelregime.layers.base import channels_first


@partial(jax.tree_util.register_dataclass, data_fields=("values", "present", "graph"), meta_fields=())
@dataclass(frozen=True, eq=False)
class Batch:
    """Points of several lengths, or on graphs of their own, in the place of an array of points.

    `values` (N, *positions, channels). `present` (N, *positions), booleans: which positions there are; what `values` holds at others
    is not read. `graph` (N, P, P): of points with one axis of P nodes, the weight graph[n, q, p] of node p in what `Aggregate` gives
    node q.

    What is absent is zero after every layer. Of `Conv` and `Pool` an output is there where all taps of its window are ("VALID") or
    where its middle is ("SAME", "CIRCULAR"), so that a "SAME" convolution without strides keeps lengths; of a transposed `Conv` where a
    position was repeated or, "VALID", where its windows reach. `GlobalPool` takes the mean over what is there, `Pool` with
    `edges="inside"` too; `Flatten` keeps zeros in the place of what is absent; softmax `Attention` leaves it out; the
    states of `Recurrent` pass it unchanged.
    """

    values: Any
    present: Any = None
    graph: Any = None

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the values."""
        return tuple(self.values.shape)

    @property
    def ndim(self) -> int:
        """Axes of the values."""
        return len(self.shape)

    __iter__ = None  # or NumPy would take it for a sequence of points

    def __array__(self, *_: Any, **__: Any) -> Any:
        """Refused, where an array of points is meant."""
        raise fail("an array of points", "a Batch", "give its values, or use infinite.kernel, infinite.gram or the network's apply")

    def __len__(self) -> int:
        """The number of points."""
        return len(self.values)

    def __getitem__(self, rows: Any) -> "Batch":
        """Some of the points."""
        return jax.tree.map(lambda leaf: leaf[rows], self)

    def turned(self) -> "Batch":
        """Of values with the channels first, with the channels last."""
        return replace(
            self, values=jnp.moveaxis(self.values, 1, -1) if isinstance(self.values, jax.Array) else np.moveaxis(self.values, 1, -1)
        )

    def hidden(self) -> "Batch":
        """With zeros at the positions that are not there."""
        if self.graph is not None and self.graph.shape[1] != self.shape[1]:
            return replace(self, graph=None).hidden()  # of other positions
        if self.present is None:
            return self
        return replace(self, values=jnp.where(self.present[..., None], self.values, 0))

    def checked(self) -> "Batch":
        """Itself; `InputError` for arrays whose shapes do not fit."""
        shape = self.shape
        if self.present is not None and (self.present.shape != shape[:-1] or self.present.dtype != bool):
            got = f"{self.present.dtype} of shape {self.present.shape}"
            raise fail(f"present, booleans of shape {shape[:-1]}, as values have shape {shape}", got, "give True where a position is there")
        if self.graph is not None and self.graph.shape != (*shape[:2], *shape[1:2]):
            wanted = f"graph of shape {(*shape[:2], *shape[1:2])}, as values have shape {shape}"
            raise fail(wanted, f"shape {self.graph.shape}", "give the weights from each node (last) to each node")
        return self


def applied(layer: Any, params: Any, x: Any) -> Any:
    """A layer at finite width, for an array of points or a `Batch`; of a layer that mixes positions by its method `apply_batch`."""
    if not isinstance(x, Batch):
        return layer.apply(params, x)
    x = x if channels_first(layer) else x.checked().hidden()
    if hasattr(layer, "apply_batch"):
        return layer.apply_batch(params, x)
    values = layer.apply(params, x.values)
    if layer.reach != "each" or values.shape[:-1] != x.values.shape[:-1]:
        raise fail("points whose positions are all present", "a Batch", f"leave out {type(layer).__name__}, or give an array of points")
    return replace(x, values=values).hidden()
