"""The record an activation is: φ, φ′ and the expectations of their products over a pair of Gaussians."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
from jaxtyping import Array, Float

from kernelregime._checks import fail


class Dual(NamedTuple):
    """Expectations over (u, v) ~ N(0, [[a, c], [c, b]]), elementwise for arrays of pairs.

    With ρ' = E φ(u)φ(v) / √(E φ(u)² E φ(v)²): `one_minus` = 1 - ρ', `one_plus` = 1 + ρ', both to relative accuracy where they are
    small, but for ε times (√a - √b)²/√(ab), which may leave them below 0; `derivative` = E φ'(u)φ'(v); `error`: estimated error of
    these relative to √(E φ(u)² E φ(v)²), 0 for closed forms; `squares` = (E φ(u)², E φ(v)²), where they come with the rest at no cost.
    """

    one_minus: Array
    one_plus: Array
    derivative: Array
    error: Array | float = 0.0
    squares: tuple[Array, Array] | None = None


@dataclass(frozen=True, eq=False)
class Kind:
    """One family of nonlinearities. Every function takes the numeric parameters last, in the order of `parameters`.

    `second_moment(q)` is E φ(√q z)² for a standard normal z; `dual(a, b, w, v)` takes the variances and w = 1 - ρ, v = 1 + ρ,
    which broadcast against one another. `homogeneous`: φ(cx) = cφ(x) for c > 0. `odd`: φ(-x) = -φ(x), whatever the parameters.
    `nonnegative`: φ >= 0, so that correlations are.
    `bytes_per_point(dtype)`: what a dual needs for a point of each side; `numbers_per_pair`: how many numbers a program that holds it
    needs for a pair at one time, by the compiler's account. `finite`: whether φ has values, not a kernel alone.
    `maker`: a function and its arguments that give this kind, from which another process makes it; registered kinds need none.
    """

    name: str
    function: Callable[..., Array]
    derivative: Callable[..., Array]
    second_moment: Callable[..., Array]
    dual: Callable[..., Dual]
    parameters: tuple[tuple[str, float], ...] = ()
    kinks: tuple[float, ...] = ()
    homogeneous: bool = False
    odd: bool = False
    nonnegative: bool = False
    bytes_per_point: Callable[[Any], float] = lambda dtype: 0.0
    numbers_per_pair: int = 8
    finite: bool = True
    maker: tuple[Callable[..., "Kind"], tuple[Any, ...]] | None = None

    def __reduce__(self) -> tuple[Callable[..., "Kind"], tuple[Any, ...]]:
        """Its maker, so that pickling a kind gives the same kind again."""
        from kernelregime.activations.registry import REGISTRY, registered

        if self.maker is not None:
            return self.maker
        if REGISTRY.get(self.name) is not self:
            do = "give it maker=(function, arguments) with a function of a module, or make it by activations.from_function"
            raise fail("an activation that another process can make", f"the Kind {self.name!r}", do)
        return registered, (self.name,)


@partial(jax.tree_util.register_dataclass, data_fields=("values",), meta_fields=("kind",))
@dataclass(frozen=True)
class Nonlinearity:
    """A nonlinearity φ: its `kind` (static) and the values of its parameters (numeric leaves, so that gradients flow to them)."""

    kind: Kind
    values: tuple[Any, ...] = ()

    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """φ(x), elementwise."""
        return self.kind.function(x, *self.values)

    def derivative(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """φ'(x), elementwise; at a kink the mean of both sides or one of them."""
        return self.kind.derivative(x, *self.values)

    def second_moment(self, q: Float[Array, "..."]) -> Float[Array, "..."]:
        """E φ(√q z)² for a standard normal z, elementwise in the variance q."""
        return self.kind.second_moment(q, *self.values)

    def dual(self, a: Array, b: Array, w: Array, v: Array) -> Dual:
        """Expectations over pairs with variances a, b and correlation ρ, given as w = 1 - ρ and v = 1 + ρ; see `Dual`."""
        return self.kind.dual(a, b, w, v, *self.values)

    @property
    def name(self) -> str:
        """The name of the kind, with its parameters where it has any."""
        shown = ", ".join(f"{name}={value}" for (name, _), value in zip(self.kind.parameters, self.values, strict=True))
        return f"{self.kind.name}({shown})" if shown else self.kind.name

    @property
    def kinks(self) -> tuple[float, ...]:
        """Points where φ' or φ itself jumps."""
        return self.kind.kinks

    @property
    def homogeneous(self) -> bool:
        """Whether φ(cx) = cφ(x) for every c > 0."""
        return self.kind.homogeneous
