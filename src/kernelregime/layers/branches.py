"""Layers side by side on one input, joined into one output: residual connections, products, concatenation."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kernelregime._checks import fail, one_of
from kernelregime.layers.base import Layer, Shape, check_key, checked_shape
from kernelregime.layers.batch import Batch, applied
from kernelregime.layers.fields import Fields, Squares, moments_of, squares_of
from kernelregime.layers.moments import Moments

Join = Literal["sum", "product", "concatenate"]


@partial(jax.tree_util.register_dataclass, data_fields=(), meta_fields=())
@dataclass(frozen=True)
class Identity(Layer):
    """x itself: the shortcut of a residual connection."""

    keeps_offsets: ClassVar[bool] = True

    def output_shape(self, shape: Shape) -> Shape:
        """Unchanged."""
        return shape

    def init(self, key: Array, shape: Shape, dtype: Any = None) -> tuple[()]:
        """No parameters."""
        return ()

    def apply(self, params: tuple[()], x: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        """X."""
        return x

    def propagate(self, state: Any) -> Any:
        """Unchanged."""
        return state


@partial(jax.tree_util.register_dataclass, data_fields=("layers",), meta_fields=("join",))
@dataclass(frozen=True)
class Branches(Layer):
    """Each of `layers` on the same input, their outputs joined: "sum", "product" (elementwise) or "concatenate" (channels).

    A residual block is Branches((Sequential((...)), Identity())).

    At infinite width outputs of branches with weights of their own are independent: Σ' = Σ_b Σ_b and Θ' = Σ_b Θ_b ("sum"); Σ' = Π_b Σ_b
    and Θ' = Σ_b Θ_b Π_{c≠b} Σ_c ("product"); averages weighed by the numbers of channels ("concatenate"). Of sums and products at most
    one branch may end in anything but weights of its own, or the branches would be correlated.
    """

    layers: tuple[Layer, ...]
    join: Join = "sum"

    in_turn: ClassVar[bool] = False

    def __post_init__(self) -> None:
        one_of("join", self.join, ("sum", "product", "concatenate"))
        if len(self.layers) < 2:
            raise fail("at least two branches", f"{len(self.layers)}", "give Branches((Sequential((...)), Identity()))")

    def output_shape(self, shape: Shape) -> Shape:
        """That of every branch, with the channels added up where they are concatenated."""
        shapes = [layer.output_shape(shape) for layer in self.layers]
        alike = shapes if self.join != "concatenate" else [s[:-1] for s in shapes]
        if len(set(alike)) > 1:
            raise fail(f"branches of one shape to {self.join}", ", ".join(map(str, shapes)), "change widths, strides or paddings")
        return shapes[0] if self.join != "concatenate" else (*shapes[0][:-1], sum(s[-1] for s in shapes))

    def init(self, key: Array, shape: Shape, dtype: Any = None) -> tuple[Any, ...]:
        """One entry of parameters per branch."""
        check_key(key)
        shape = checked_shape(shape)
        self.output_shape(shape)  # which refuses branches that do not fit
        keys = jax.random.split(key, len(self.layers))
        return tuple(layer.init(k, shape, dtype) for layer, k in zip(self.layers, keys, strict=True))

    def apply(self, params: tuple[Any, ...], x: Float[Array, "n ..."] | Batch) -> Any:
        """The outputs, joined."""
        outputs = [applied(layer, p, x) for layer, p in zip(self.layers, params, strict=True)]
        values = [part.values if isinstance(part, Batch) else part for part in outputs]
        if self.join == "concatenate":
            joined = jnp.concatenate(values, axis=-1)
        else:
            joined = reduce(jnp.add if self.join == "sum" else jnp.multiply, values)
        there = _either(*(part.present for part in outputs)) if isinstance(outputs[0], Batch) else None
        return replace(outputs[0], values=joined, present=there).hidden() if isinstance(outputs[0], Batch) else joined

    apply_batch = apply

    def propagate(self, state: Any) -> Any:
        """Σ' and Θ' as in the class's text."""
        after: list[Any] = [layer.propagate(state) for layer in self.layers]
        if len({type(s) for s in after}) > 1:
            raise fail("branches that all keep their positions, or none", "some of each", "pool or flatten in every branch")
        if self.join != "concatenate":
            bound = [layer for layer in self.layers if not fresh(layer)]
            if len(bound) > 1:
                names = ", ".join(type(layer).__name__ for layer in bound)
                wanted = f"at most one branch of a {self.join} without weights of its own at its end"
                raise fail(wanted, f"{len(bound)} ({names})", "end the others with a Dense or Conv layer")
        if isinstance(state, Moments) or not isinstance(after[0], Fields):
            return self._joined(after)
        there = None
        if after[0].present is not None:
            there = tuple(_either(*sides) for sides in zip(*(s.present for s in after), strict=True))
        alone = [None if side[0] is None else self._joined(side) for side in ([s.first for s in after], [s.second for s in after])]
        return replace(after[0], cross=self._joined([s.cross for s in after]), first=alone[0], second=alone[1], present=there)

    def _joined(self, parts: list[Moments]) -> Moments:
        if self.join == "product":
            return _product(parts)
        if self.join == "sum":
            return summed(parts)
        features = reduce(jnp.add, [m.features for m in parts])
        return replace(summed(parts, [m.features / features for m in parts]), features=features, gaussian=False)


def summed(parts: list[Moments], shares: Sequence[Any] | None = None) -> Moments:
    """The moments of a sum of independent units, each with its share; of the errors, each relative to its part, the largest stays."""
    shares = [1.0] * len(parts) if shares is None else shares
    squares = [squares_of(m).map(*(3 * (partial(jnp.multiply, share),))) for m, share in zip(parts, shares, strict=True)]
    total = Squares(*(reduce(jnp.add, values) for values in zip(*(_values(s) for s in squares), strict=True)))
    ntk = None if parts[0].ntk is None else reduce(jnp.add, [share * m.ntk for m, share in zip(parts, shares, strict=True)])
    like = replace(parts[0], nonnegative=all(m.nonnegative for m in parts))
    return moments_of(
        total, like, ntk, error=reduce(jnp.maximum, [jnp.asarray(m.error) for m in parts]), gaussian=all(m.gaussian for m in parts)
    )


def fresh(layer: Layer) -> bool:
    """Whether the output has mean 0 and no correlation with anything before: it ends in weights of its own, on all ways through it."""
    inner: tuple[Layer, ...] | None = getattr(layer, "layers", None)
    if inner is None:
        return getattr(layer, "linear_end", hasattr(layer, "sigma_w2"))
    if not layer.in_turn:
        return all(fresh(part) for part in inner)
    last = next((part for part in reversed(inner) if not part.linear), None)
    return last is not None and fresh(last)


def _either(*there: Any) -> Any:
    """What is there in any branch; None where nothing is absent."""
    return None if there[0] is None else reduce(jnp.logical_or, there)


def _values(squares: Squares) -> tuple[Array, ...]:
    return squares.k1, squares.k2, squares.apart, squares.across


def _product(parts: list[Moments]) -> Moments:
    """1 - ρ'ρ'' = (1 - ρ') + ρ'(1 - ρ''), and the same with the signs of what is nearer."""
    k1, k2 = (reduce(jnp.multiply, [getattr(m, name) for m in parts]) for name in ("k1", "k2"))
    others = [reduce(jnp.multiply, [o.nngp for o in parts if o is not m]) for m in parts]
    thetas, tilts = zip(*((m.ntk, m.tilt) for m in parts), strict=True)
    ntk, tilt = (None if each[0] is None else reduce(jnp.add, map(jnp.multiply, each, others)) for each in (thetas, tilts))
    opposite, small = reduce(_both_signs, [(jnp.signbit(m.gap), m.small) for m in parts])
    gap = jnp.where(opposite, -small, small)
    flags: dict[str, Any] = {"gaussian": False, "nonnegative": all(m.nonnegative for m in parts)}
    error = reduce(jnp.add, [jnp.asarray(m.error) for m in parts])
    return replace(parts[0], k1=k1, k2=k2, gap=gap, ntk=ntk, tilt=tilt, error=error, **flags)


def _both_signs(one: tuple[Array, Array], other: tuple[Array, Array]) -> tuple[Array, Array]:
    return one[0] ^ other[0], one[1] + (1 - one[1]) * other[1]
