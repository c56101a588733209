"""The elementwise nonlinearity as a layer."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kernelregime import activations
from kernelregime.activations import Dual, Nonlinearity
from kernelregime.layers.base import Layer, Shape, State
from kernelregime.layers.fields import Fields
from kernelregime.layers.moments import Moments, check_gaussian, gap_of


@partial(jax.tree_util.register_dataclass, data_fields=("nonlinearity",), meta_fields=())
@dataclass(frozen=True)
class Activation(Layer):
    """x = φ(h), elementwise. `nonlinearity`: a registered name, a `Nonlinearity`, or any elementwise JAX function.

    At infinite width Σ' = E φ(u)φ(v) and Θ' = Θ · E φ'(u)φ'(v) with (u, v) ~ N(0, Σ) (Jacot et al. 2018, theorem 1).
    """

    nonlinearity: Any

    keeps_offsets: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if isinstance(self.nonlinearity, str) or (callable(self.nonlinearity) and not isinstance(self.nonlinearity, Nonlinearity)):
            object.__setattr__(self, "nonlinearity", activations.get(self.nonlinearity))

    def output_shape(self, shape: Shape) -> Shape:
        """Unchanged."""
        return shape

    def init(self, key: Array, shape: Shape, dtype: Any = None) -> tuple[()]:
        """No parameters."""
        return ()

    def apply(self, params: tuple[()], x: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        """φ(x)."""
        return self.nonlinearity(x)

    def propagate(self, state: State) -> State:
        """Second moments and NTK after φ."""
        after = state.each(self._of_pair)
        # of units with positions it is half of the work of the layers that follow
        positive = isinstance(after, Fields) and self.nonlinearity.kind.nonnegative
        return after.each(partial(replace, nonnegative=positive))

    def _of_pair(self, moments: Moments) -> Moments:
        check_gaussian(moments, "an activation")
        dtype = moments.gap.dtype
        phi: Nonlinearity = _in(dtype, self.nonlinearity)
        dual: Dual = _in(dtype, phi.dual(moments.k1, moments.k2, moments.w, moments.v))
        ntk = None if moments.ntk is None else moments.ntk * dual.derivative
        error = jnp.asarray(moments.error, dtype) + dual.error
        k1, k2 = dual.squares or _in(dtype, (phi.second_moment(moments.k1), phi.second_moment(moments.k2)))
        tilt = None if moments.tilt is None else dual.derivative * moments.tilt
        gap = gap_of(dual.one_minus, dual.one_plus)
        return replace(moments, k1=k1, k2=k2, gap=gap, ntk=ntk, tilt=tilt, error=error, gaussian=False)


def _in(dtype: Any, tree: Any) -> Any:
    """`tree` with its arrays and NumPy's scalars in `dtype`; Python's numbers follow by themselves."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype) if hasattr(leaf, "dtype") else leaf, tree)
