"""Convolutions: shared, and locally connected."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from kernelregime._checks import counted, fail, integer, one_of
from kernelregime.layers.base import Layer, Reach, Shape, check_key, checked_shape
from kernelregime.layers.batch import Batch
from kernelregime.layers.dense import check_variance
from kernelregime.layers.fields import Fields, Squares, hidden, moments_of, squares_of
from kernelregime.layers.moments import Moments
from kernelregime.layers.scales import PARAMETERIZATIONS, ROLES, Parameterization, Role, check_kernel, scales
from kernelregime.layers.windows import Padding, Window, each_tap, kept, repeated, windows_of

Inside = tuple[list[Array], list[Array]] | tuple[None, None]

SPATIAL = "HWDEF"  # names of the axes of positions, in the order of an image (H, W, C)


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("sigma_w2", "sigma_b2"),
    meta_fields=("channels", "window", "strides", "dilation", "padding", "parameterization", "shared", "transposed", "role"),
)
@dataclass(frozen=True)
class Conv(Layer):
    """h(q) = Σ_t W_t x(p_t(q)) + b over the taps t of a window, for points (*positions, channels), channels last.

    `channels`: outputs. `window`, `strides`, `dilation`: one number for each axis of positions (1, 2, 3, ...). `padding`: "SAME",
    "VALID" or "CIRCULAR". Weights W ~ N(0, σ_w²/(n |t|)) for n input channels and |t| taps; `sigma_b2`, `parameterization`, `role` as
    in `Dense`. `shared=False`: a locally connected layer, with weights and biases of its own at every position. `transposed=True`:
    `jax.lax.conv_transpose` of the weights as they are: with stride - 1 zeros after each position windows move by one. For K positions
    from a first tap to the last, "SAME" has n·stride outputs, "VALID" max(K - stride, 0) more, and "CIRCULAR" wraps these around.

    At infinite width (Garriga-Alonso et al. 2019; Novak et al. 2019; Arora et al. 2019, section 4)
    Σ'(q, q') = σ_w²/|t| Σ_t Σ(p_t(q), p_t(q')) + σ_b², and Θ' = σ_w²/|t| Σ_t Θ(p_t(q), p_t(q')) + Σ'(q, q') ("ntk"), or
    + n Σ_t Σ(p_t(q), p_t(q')) (+ 1) ("standard"). Not shared: both vanish at q ≠ q'.
    """

    channels: int
    window: tuple[int, ...]
    sigma_w2: Any = 1.0
    sigma_b2: Any = None
    strides: tuple[int, ...] | None = None
    dilation: tuple[int, ...] | None = None
    padding: Padding = "SAME"
    parameterization: Parameterization = "ntk"
    shared: bool = True
    transposed: bool = False
    role: Role = "hidden"

    reach: ClassVar[Reach] = "each"
    grows: ClassVar[tuple[str, ...]] = ("channels",)

    def __post_init__(self) -> None:
        integer("channels", self.channels)
        one_of("parameterization", self.parameterization, PARAMETERIZATIONS)
        one_of("role", self.role, ROLES)
        windows_of(self.window, self.strides, self.dilation, self.padding)
        if len(self.window) > len(SPATIAL):
            raise fail(f"a window of at most {len(SPATIAL)} axes of positions", repr(self.window), "flatten some of the axes")
        if self.transposed and not self.shared:
            raise fail("a transposed convolution with shared weights", "shared=False", "leave one of the two out")
        for name in ("sigma_w2", "sigma_b2"):
            check_variance(f"{name} (a variance)", getattr(self, name))

    @property
    def windows(self) -> tuple[Window, ...]:
        """The window along each axis of positions, of a transposed layer those between zeros."""
        return windows_of(self.window, self.strides, self.dilation, self.padding, transposed=self.transposed)

    @property
    def spacing(self) -> tuple[int, ...]:
        """How many positions there are for one of the input, with zeros at all but the first of them."""
        return tuple(max(window.spacing, 1) for window in self.windows)

    @property
    def taps(self) -> int:
        """|t|, positions in a window."""
        return math.prod(self.window)

    def output_shape(self, shape: Shape) -> Shape:
        """(*positions, channels), with as many positions as there are windows."""
        _check_points(shape, len(self.window))
        return (*(w.length(n * gap) for w, n, gap in zip(self.windows, shape, self.spacing, strict=False)), self.channels)

    def init(self, key: Array, shape: Shape, dtype: Any = None) -> dict[str, Array]:
        """{"w": (*window, n, channels), "b": (channels,) unless there is no bias}; not shared: with the positions first."""
        check_key(key)
        shape = checked_shape(shape)
        outputs = self.output_shape(shape)[:-1]  # which refuses points of another number of axes
        places = () if self.shared else outputs
        dtype = jnp.result_type(float) if dtype is None else dtype
        key_w, key_b = jax.random.split(key)
        weights, biases = scales(self, shape[-1] * self.taps, self.channels)
        params = {"w": weights.drawn(jax.random.normal(key_w, (*places, *self.window, shape[-1], self.channels), dtype))}
        if self.sigma_b2 is not None:
            params["b"] = biases.drawn(jax.random.normal(key_b, (*places, self.channels), dtype))
        return params

    def apply(self, params: dict[str, Array], x: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        """W * x + b."""
        n = params["w"].shape[-2]
        if x.ndim != len(self.window) + 2 or x.shape[-1] != n:
            wanted = f"inputs (N, {', '.join(SPATIAL[: len(self.window)])}, {counted(n, 'channel')})"
            raise fail(wanted, f"shape {x.shape}", "give channels last")
        x, windows = spread(x, self.spacing, 1), self.windows
        if self.shared:
            edges = [window.margins(length) for window, length in zip(windows, x.shape[1:], strict=False)]
            if self.padding == "CIRCULAR":
                x, edges = jnp.pad(x, [(0, 0), *edges, (0, 0)], mode="wrap"), [(0, 0)] * len(windows)
            names = SPATIAL[: len(windows)]
            strides, dilation = tuple(w.stride for w in windows), tuple(w.dilation for w in windows)
            layout = (f"N{names}C", f"{names}IO", f"N{names}C")
            h = jax.lax.conv_general_dilated(x, params["w"], strides, edges, rhs_dilation=dilation, dimension_numbers=layout)
        else:
            weights = params["w"].reshape(*params["w"].shape[: len(windows)], self.taps, n, self.channels)
            h = jnp.einsum("tn...i,...tio->n...o", jnp.stack(each_tap(x, windows, 1)), weights)
        scale, biases = scales(self, n * self.taps, self.channels)
        h = scale.used(h)
        if "b" not in params:
            return h
        bias = biases.used(params["b"])
        return h + bias.reshape((1,) * (h.ndim - bias.ndim) + bias.shape)

    def propagate(self, state: Any) -> Any:
        """Σ' and Θ' as in the class's text."""
        check_axes(state, len(self.window))
        check_kernel(self)
        change = partial(self._of_pair, axes=state.axes, positions=state.positions, offset=state.offset)
        there = state.present and tuple(self._there(part) for part in state.present)
        return hidden(replace(replace(state, present=None).each(change), present=there))

    def apply_batch(self, params: dict[str, Array], batch: Batch) -> Batch:
        """W * x + b, where `Batch` tells that an output is there."""
        values = self.apply(params, batch.hidden().values)
        there = None if batch.present is None else jnp.moveaxis(self._there(jnp.moveaxis(batch.present, 0, -1)), -1, 0)
        return Batch(values, there, batch.graph).hidden()

    def _there(self, present: Array) -> Array:
        """Which outputs there are, (*Q, N), of inputs (*P, N)."""
        return repeated(self.windows, present) if self.transposed else kept(self.windows, present)

    @property
    def unmoved(self) -> bool:
        """Whether units at p and p' are made of such as far apart: at stride 1, with as many positions after as before."""
        return self.shared and self.padding != "VALID" and all(w.stride == 1 for w in self.windows) and all(s == 1 for s in self.spacing)

    def _of_pair(self, moments: Moments, *, axes: int, positions: str, offset: Array | None) -> Moments:
        dtype = moments.gap.dtype
        both = [0, axes] if positions == "all" else [0]
        scale = jnp.asarray(self.sigma_w2, dtype) / self.taps
        shift = jnp.asarray(0 if self.sigma_b2 is None else self.sigma_b2, dtype)
        squares, theta = squares_of(moments), moments.ntk
        if any(gap > 1 for gap in self.spacing):
            squares, theta = self._spread(squares, theta, axes, positions)
        inside = self._inside(squares, axes, positions, offset)
        reached = None if offset is None else inside[1]
        sums = self._sums(squares, inside, both, lead=axes * len(both), offset=offset, nonnegative=moments.nonnegative)
        after = Squares(scale * sums.k1 + shift, scale * sums.k2 + shift, scale * sums.apart, scale * sums.across + 2 * shift)
        same = None if self.shared or positions != "all" else alone(after.apart.shape, axes)
        if same is not None:  # two positions have weights of their own
            half = (after.k1 + after.k2) / 2
            after = replace(after, apart=jnp.where(same, after.apart, half), across=jnp.where(same, after.across, half))
        found = moments_of(after, moments, None, features=jnp.asarray(self.channels, dtype), gaussian=True)
        if theta is None:
            return found
        own = found.nngp
        if self.parameterization == "standard":
            own = moments.features * (sums.across - sums.apart) / 2 + int(self.sigma_b2 is not None)
        ntk = scale * self._total(theta, both, where=reached) + own
        return replace(found, ntk=ntk if same is None else jnp.where(same, ntk, 0))

    def _sums(self, squares: Squares, inside: Inside, both: list[int], *, lead: int, offset: Array | None, nonnegative: bool) -> Squares:
        """Sums over the windows; `lead` axes of positions, at `both` of which windows start, and taps `inside` an image as of `_inside`."""
        around = offset is not None
        reached = inside[1] if around else None
        # one axis of points beside the `lead` ones of positions: loops over short axes are slow
        flat1, flat2 = (k.reshape(*k.shape[:lead], -1) for k in (squares.k1, squares.k2))

        def unfolded(k: Array, like: Array) -> Array:
            return k.reshape(*k.shape[:lead], *like.shape[lead:])

        apart = self._total(squares.apart, both, where=reached)
        across = apart if nonnegative else self._total(squares.across, both, where=reached)  # where never the smaller it follows
        k1, k2 = self._total(flat1, both[:1]), self._total(flat2, both[-1:], around=around, where=reached)
        sums = Squares(unfolded(k1, squares.k1), unfolded(k2, squares.k2), apart, across)
        if inside[0] is not None and inside[1] is not None:
            edges = partial(self._edges, other=both[-1], inside1=inside[0], inside2=inside[1], around=around)
            if offset is None:
                edge1, edge2 = edges(flat1, flat2)
            else:  # at no offset there are none; and what stands in a branch is not computed again for each pair of points
                edge1, edge2 = jax.lax.cond(jnp.any(offset != 0), edges, lambda *k: jax.tree.map(jnp.zeros_like, k), flat1, flat2)
            edge = (unfolded(edge1, squares.k1) + unfolded(edge2, squares.k2)) / 2
            sums = replace(sums, apart=apart + edge, across=across + edge)
        # nothing is lost where the sum of two is not the smaller
        return replace(sums, across=sums.k1 + sums.k2 - sums.apart) if nonnegative else sums

    def _total(self, x: Array, starts: Sequence[int], *, around: bool = False, where: Sequence[Array] | None = None) -> Array:
        """Sums over the windows, along the axes from each of `starts` together; `around` and `where` (for each axis) as of a `Window`."""
        if where is not None:
            for axis, (window, taps) in enumerate(zip(self.windows, where, strict=True)):
                x = window.total(x, [start + axis for start in starts], around=around, where=taps)
            return x
        lengths = [x.shape[starts[0] + axis] for axis in range(len(self.windows))]
        for axis, window in enumerate(self.windows):
            x = window.widened(x, [start + axis for start in starts])
        for axis, (window, n) in enumerate(zip(self.windows, lengths, strict=True)):
            x = window.summed(x, n, [start + axis for start in starts])
        return x

    def _edges(
        self, k1: Array, k2: Array, *, other: int, inside1: Sequence[Array], inside2: Sequence[Array], around: bool
    ) -> tuple[Array, Array]:
        """For each point, sums over taps that are outside for the other: there one unit is 0, and the other as it is."""

        def missed(k: Array, start: int, own: Sequence[Array], others: Sequence[Array], around: bool) -> Array:
            lost, shared = jnp.zeros_like(k), k  # by the first axis along which the tap is outside for the other position
            for axis, (window, one, two) in enumerate(zip(self.windows, own, others, strict=True)):
                total = partial(window.total, axes=[start + axis], around=around)
                lost, shared = total(lost, where=one) + total(shared, where=one & ~two), total(shared, where=one & two)
            return lost

        return missed(k1, 0, inside1, inside2, False), missed(k2, other, inside2, inside1, around)

    def _inside(self, squares: Squares, axes: int, positions: str, offset: Array | None) -> Inside:
        """For each axis, which taps around the first and around the second position are inside, (taps, ...); None where all are."""
        lengths = squares.apart.shape[:axes]
        if positions == "own" or not any(any(window.margins(n)) for window, n in zip(self.windows, lengths, strict=True)):
            return None, None
        lead = axes if offset is not None else 2 * axes
        found: tuple[list[Array], list[Array]] = [], []
        for axis, (window, n) in enumerate(zip(self.windows, lengths, strict=True)):
            starts = window.stride * np.arange(window.length(n))
            others = starts if offset is None else (starts + offset[axis]) % n
            for inside, at, place in zip(found, (starts, others), (axis, axis if offset is not None else axes + axis), strict=True):
                taps = window.inside(at, n)
                inside.append(jnp.expand_dims(taps, [1 + a for a in range(lead) if a != place]))
        return found

    def _spread(self, squares: Squares, ntk: Array | None, axes: int, positions: str) -> tuple[Squares, Array | None]:
        """With zeros between the positions: between one of them and a unit, apart and across are half of its variance."""
        other = axes if positions == "all" else 0

        def both(x: Array) -> Array:
            return spread(spread(x, self.spacing, 0), self.spacing, other) if other else spread(x, self.spacing, 0)

        k1, k2 = spread(squares.k1, self.spacing, 0), spread(squares.k2, self.spacing, other)
        units = both(jnp.ones(squares.apart.shape, bool))
        apart, across = (jnp.where(units, both(x), (k1 + k2) / 2) for x in (squares.apart, squares.across))
        return Squares(k1, k2, apart, across), None if ntk is None else both(ntk)


def spread(x: Array, spacing: Sequence[int], start: int) -> Array:
    """With zeros after each position of the axes from `start`, so many positions in all for one."""
    for axis, gap in enumerate(spacing, start):
        if gap > 1:
            wide = jnp.stack([x, *[jnp.zeros_like(x)] * (gap - 1)], axis=axis + 1)
            x = wide.reshape(*x.shape[:axis], gap * x.shape[axis], *x.shape[axis + 1 :])
    return x


def check_axes(state: Any, axes: int) -> None:
    """`InputError` unless units have so many axes of positions."""
    if not isinstance(state, Fields) or state.axes != axes:
        found = f"{state.axes} axes" if isinstance(state, Fields) else "none"
        raise fail(f"points with {axes} axes of positions", found, "give points (N, *positions, channels)")


def check_whole(state: Fields | Batch, layer: Any) -> None:
    """`InputError` for a layer that does not know of absent positions, where there are some."""
    if state.present is not None:
        raise fail("points whose positions are all present", "a Batch with present", f"leave out {type(layer).__name__}, or pad the points")


def alone(shape: Shape, axes: int) -> Array:
    """Where the two positions are one, for arrays (*P, *P', ...); everywhere, where there are no pairs of positions."""
    same = jnp.ones((1,) * len(shape), bool)
    for axis in range(axes):
        sizes = [shape[a] if a in (axis, axes + axis) else 1 for a in range(len(shape))]
        same = same & jnp.eye(shape[axis], dtype=bool).reshape(sizes)
    return same


def _check_points(shape: Shape, axes: int) -> None:
    if len(shape) != axes + 1:
        names = ", ".join(SPATIAL[:axes])
        raise fail(f"points ({names}, channels) under a window of {counted(axes, 'number')}", f"shape {shape}", "reshape x, channels last")
