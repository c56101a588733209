"""Sums over sliding windows of positions, along one axis or along two that move together."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from kernelregime._checks import fail, integer, one_of

Padding = Literal["SAME", "VALID", "CIRCULAR"]
PADDINGS = ("SAME", "VALID", "CIRCULAR")


@dataclass(frozen=True)
class Window:
    """Along one axis: taps t = 0 … `size` - 1 at `stride`·q + `dilation`·t - low, for every output position q.

    "VALID" has no position outside the axis; "SAME" has ⌈n/stride⌉ outputs and zeros outside, one more above than below where their
    number is odd; "CIRCULAR" the same with the other end of the axis in place of zeros.

    `spacing` s > 0: of a transposed layer, along an axis with s - 1 zeros after each position of the input. With K the `reach`, "SAME"
    starts min(⌈(K + s)/2⌉, K) - 1 below the axis and has as many outputs as the axis positions; "VALID" has every window that reads
    some of it and max(K - s, 0) more outputs.
    """

    size: int
    stride: int
    dilation: int
    padding: Padding
    spacing: int = 0

    @property
    def reach(self) -> int:
        """Positions from the first tap to the last, both counted."""
        return (self.size - 1) * self.dilation + 1

    def length(self, n: int) -> int:
        """Output positions along an axis of n."""
        if self.spacing:
            return n + self.more
        outputs = -(-n // self.stride) if self.padding != "VALID" else (n - self.reach) // self.stride + 1
        if outputs < 1:
            raise fail(f"at least {self.reach} positions under a window", f"{n}", "give larger images or padding='SAME'")
        return outputs

    @property
    def more(self) -> int:
        """How many outputs a transposed layer has beyond the positions of its axis."""
        return max(self.reach - self.spacing, 0) if self.spacing and self.padding == "VALID" else 0

    def margins(self, n: int) -> tuple[int, int]:
        """Positions added below and above an axis of n."""
        if self.spacing:
            low = self.reach - 1 if self.padding == "VALID" else min(-(-(self.reach + self.spacing) // 2), self.reach) - 1
            return low, self.reach - 1 + self.more - low
        if self.padding == "VALID":
            return 0, 0
        missing = max((self.length(n) - 1) * self.stride + self.reach - n, 0)
        return missing // 2, missing - missing // 2

    def counts(self, n: int) -> np.ndarray:
        """How many taps of each output position are on the axis."""
        return np.sum(self.inside(self.stride * np.arange(self.length(n)), n), axis=0)

    def inside(self, starts: Any, n: int) -> Any:
        """Which taps are on an axis of n, (taps, outputs), of windows that start at `starts` less the margin; all of a circular one."""
        at = starts[None] + self.dilation * np.arange(self.size)[:, None] - self.margins(n)[0]
        return (at >= 0) & (at < n) | (self.padding == "CIRCULAR")

    def widened(self, x: Array, axes: Sequence[int], *, around: bool = False) -> Array:
        """`x` with its margins along `axes`: zeros or, circular or `around`, the other end."""
        margins = self.margins(x.shape[axes[0]])
        widths = [margins if axis in axes else (0, 0) for axis in range(x.ndim)]
        return jnp.pad(x, widths, mode="wrap" if around or self.padding == "CIRCULAR" else "constant") if any(margins) else x

    def total(self, x: Array, axes: Sequence[int], *, around: bool = False, where: Array | None = None) -> Array:
        """Σ_t over the taps, with all `axes` (of one length) at the same tap.

        `around`: as if the window were circular; `where` (taps, *leading axes): which taps count.
        """
        return self.summed(self.widened(x, axes, around=around), x.shape[axes[0]], axes, where=where)

    def summed(self, wide: Array, n: int, axes: Sequence[int], *, where: Array | None = None) -> Array:
        """`total` of what has its margins, of an axis of n."""
        parts = [wide[tuple(part if axis in axes else slice(None) for axis in range(wide.ndim))] for part in self.slices(n)]
        if where is not None:
            # products: of selections the compiler makes a loop for each combination of taps
            factors = jnp.asarray(where, wide.dtype).reshape(*where.shape, *(1,) * (wide.ndim + 1 - where.ndim))
            parts = [factor * part for factor, part in zip(factors, parts, strict=True)]
        return reduce(jnp.add, parts)

    def slices(self, n: int) -> list[slice]:
        """What each tap reads of an axis of n with its margins."""
        return [self._from(t * self.dilation, n) for t in range(self.size)]

    def middle(self, n: int) -> slice:
        """The middles of the windows, whether a tap is there or not; of an even number of positions the first of the two."""
        return self._from((self.reach - 1) // 2, n)

    def _from(self, start: int, n: int) -> slice:
        return slice(start, start + (self.length(n) - 1) * self.stride + 1, self.stride)


def present_taps(windows: Sequence[Window], there: Array) -> Array:
    """How many of the taps of each output position read what is there, from booleans with the axes of positions first."""
    counts = there.astype(np.int32)
    for axis, window in enumerate(windows):
        counts = window.total(counts, [axis])
    return counts


def kept(windows: Sequence[Window], there: Array) -> Array:
    """Which outputs there are, the axes of positions first: where all taps are ("VALID"), or where the middle of the window is."""
    if windows[0].padding == "VALID":
        return present_taps(windows, there) == math.prod(window.size for window in windows)
    for axis, window in enumerate(windows):
        taken = window.middle(there.shape[axis])
        there = window.widened(there, [axis])[(slice(None),) * axis + (taken,)]
    return there


def repeated(windows: Sequence[Window], there: Array) -> Array:
    """Which outputs of a transposed layer there are: for each position as many as its stride, and those after them that read it."""
    for axis, window in enumerate(windows):
        later = Window(window.more + 1, 1, 1, "VALID", 1)
        there = later.total(jnp.repeat(there, window.spacing, axis=axis).astype(np.int32), [axis]) > 0
    return there


def each_tap(x: Array, windows: Sequence[Window], start: int) -> list[Array]:
    """What each tap reads of the axes from `start`, zeros outside."""
    parts = [x]
    for axis, window in enumerate(windows, start):
        wide = [window.widened(part, [axis]) for part in parts]
        parts = [part[(slice(None),) * axis + (taken,)] for part in wide for taken in window.slices(x.shape[axis])]
    return parts


def written(given: Any, example: int) -> str:
    """How a number for each axis is given, said with the number that was."""
    number = given if isinstance(given, int) else example
    return f"write ({number},) for sequences or ({number}, {number}) for images"


def windows_of(
    sizes: Sequence[int], strides: Sequence[int] | None, dilation: Sequence[int] | None, padding: str, *, transposed: bool = False
) -> tuple[Window, ...]:
    """A window for each axis; `InputError` for numbers of them that do not agree."""
    one_of("padding", padding, PADDINGS)
    for name, given in (("a window", sizes), ("strides", strides or sizes), ("a dilation", dilation or sizes)):
        if not isinstance(given, tuple) or not given:
            raise fail(f"{name} of one number for each axis of positions, a tuple", repr(given), written(given, 3))
    ones = (1,) * len(sizes)
    parts = {"strides": tuple(strides or ones), "dilation": tuple(dilation or ones)}
    for name, given in parts.items():
        if len(given) != len(sizes):
            raise fail(f"{len(sizes)} {name}, one for each axis of the window", repr(given), "give one number an axis")

    def window(size: int, stride: int, apart: int) -> Window:
        size, stride, apart = integer("a window size", size), integer("a stride", stride), integer("a dilation", apart)
        return Window(size, 1 if transposed else stride, apart, padding, stride if transposed else 0)  # type: ignore[arg-type]

    return tuple(window(*numbers) for numbers in zip(sizes, parts["strides"], parts["dilation"], strict=True))
