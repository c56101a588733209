"""The fully-connected layer."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kernelregime._checks import counted, fail, integer, one_of, real
from kernelregime.layers.base import Layer, Shape, State, check_key, checked_shape
from kernelregime.layers.moments import Moments, affine
from kernelregime.layers.scales import PARAMETERIZATIONS, ROLES, Parameterization, Role, check_kernel, scales


@partial(jax.tree_util.register_dataclass, data_fields=("sigma_w2", "sigma_b2"), meta_fields=("width", "parameterization", "s", "role"))
@dataclass(frozen=True)
class Dense(Layer):
    """h = W x + b with W_ij ~ N(0, σ_w²/n), b_i ~ N(0, σ_b²) for n inputs.

    `width`: outputs. `sigma_w2`, `sigma_b2`: variances σ_w², σ_b² (numeric leaves); `sigma_b2=None` is no bias, `sigma_b2=0` a bias
    that starts at zero, trained in "standard" (in "ntk", b = σ_b β stays zero). `parameterization`: "ntk" trains w, β ~ N(0, 1) in
    W = σ_w w/√n, b = σ_b β; "standard" trains W and b. `s` = (s_in, s_out): the layer has s_out·width
    outputs and its n inputs are s_in times a base width; in "standard", h = W x/√s_in + b with W_ij ~ N(0, σ_w² s_in/n), which has
    the NTK of the base widths at any s (Sohl-Dickstein et al. 2020, section 3). "mup" (finite networks only): features move at any width
    under one learning rate (Yang and Hu 2021, table 1); `role` says whether the layer is the "input", the "output" or between ("hidden").

    At infinite width (Jacot et al. 2018, proposition 1 and theorem 1) Σ' = σ_w² Σ + σ_b²; Θ' = σ_w² Θ + Σ' ("ntk"), or
    Θ' = σ_w² Θ + (n/s_in) Σ (+ 1 with a bias) ("standard": it grows with the width n given in the network).
    """

    width: int
    sigma_w2: Any = 1.0
    sigma_b2: Any = None
    parameterization: Parameterization = "ntk"
    s: tuple[int, int] = (1, 1)
    role: Role = "hidden"

    keeps_offsets: ClassVar[bool] = True
    grows: ClassVar[tuple[str, ...]] = ("width",)

    def __post_init__(self) -> None:
        integer("width", self.width)
        one_of("parameterization", self.parameterization, PARAMETERIZATIONS)
        one_of("role", self.role, ROLES)
        if len(self.s) != 2:
            raise fail("s = (s_in, s_out)", repr(self.s), "give two width scales")
        object.__setattr__(self, "s", tuple(integer("a width scale of s", value) for value in self.s))
        for name in ("sigma_w2", "sigma_b2"):
            check_variance(f"{name} (a variance)", getattr(self, name))

    @property
    def units(self) -> int:
        """Outputs of the layer, s_out · width."""
        return self.s[1] * self.width

    def output_shape(self, shape: Shape) -> Shape:
        """The same leading axes, `units` last."""
        if not shape:
            raise fail("points with at least one axis", "points that are single numbers", "reshape x to (N, 1)")
        return (*shape[:-1], self.units)

    def init(self, key: Array, shape: Shape, dtype: Any = None) -> dict[str, Array]:
        """{"w": (n, units), "b": (units,) unless there is no bias}."""
        check_key(key)
        shape = checked_shape(shape)
        self.output_shape(shape)  # which refuses points without an axis
        n = shape[-1]
        dtype = jnp.result_type(float) if dtype is None else dtype
        key_w, key_b = jax.random.split(key)
        weights, biases = scales(self, n, self.units, self.s[0])
        params = {"w": weights.drawn(jax.random.normal(key_w, (n, self.units), dtype))}
        if self.sigma_b2 is not None:
            params["b"] = biases.drawn(jax.random.normal(key_b, (self.units,), dtype))
        return params

    def apply(self, params: dict[str, Array], x: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        """W x + b."""
        if x.shape[-1] != params["w"].shape[0]:
            raise fail(f"inputs with {counted(params['w'].shape[0], 'feature')}", f"shape {x.shape}", "give x of shape (N, features)")
        weights, biases = scales(self, x.shape[-1], self.units, self.s[0])
        h = weights.used(x @ params["w"])
        return h if "b" not in params else h + biases.used(params["b"]).reshape((1,) * (h.ndim - 1) + (-1,))

    def propagate(self, state: State) -> State:
        """Σ' and Θ' as in the class's text; where units have positions, at each of them with the same weights."""
        check_kernel(self)
        return state.each(self._of_pair)

    def _of_pair(self, moments: Moments) -> Moments:
        dtype = moments.gap.dtype
        scale = jnp.asarray(self.sigma_w2, dtype)
        shift = None if self.sigma_b2 is None else jnp.asarray(self.sigma_b2, dtype)
        k1, k2, gap, tilt = affine(moments, scale, shift)
        after = replace(moments, k1=k1, k2=k2, gap=gap, ntk=None, tilt=tilt, features=jnp.asarray(self.units, dtype), gaussian=True)
        if moments.ntk is None:
            return after
        ntk = self.parameterization == "ntk"
        own = after.nngp if ntk else moments.features / self.s[0] * moments.nngp + int(self.sigma_b2 is not None)
        return replace(after, ntk=scale * moments.ntk + own)


def check_variance(name: str, value: Any, *, zero: bool = True) -> None:
    """Refuse what is known to be no variance, or zero where it may not be one.

    What JAX puts into specs passes: traced, stacked and placeholder values, gradients.
    """
    if value is None or isinstance(value, jax.Array):
        return
    try:
        number = value if isinstance(value, str) else float(value)
    except TypeError:
        return
    real(name, number, **{"least" if zero else "above": 0.0})
