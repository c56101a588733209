"""A recurrent layer, the same weights at all times, and the last state of each sequence."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kernelregime._checks import counted, fail, integer, one_of
from kernelregime.layers.activation import Activation
from kernelregime.layers.base import Layer, Reach, Shape, check_key, checked_shape
from kernelregime.layers.batch import Batch
from kernelregime.layers.branches import summed
from kernelregime.layers.convolution import check_axes
from kernelregime.layers.dense import Dense, check_variance
from kernelregime.layers.fields import Fields, beside, blocks_of, hidden, positions_of, same_as_alone
from kernelregime.layers.moments import Moments
from kernelregime.layers.scales import PARAMETERIZATIONS, Parameterization


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("nonlinearity", "sigma_w2", "sigma_u2", "sigma_b2"),
    meta_fields=("width", "parameterization", "role"),
)
@dataclass(frozen=True)
class Recurrent(Layer):
    """h_t = φ(z_t), z_t = W h_{t-1} + U x_t + b from h_0 = 0, for sequences (T, channels): all the states (T, width).

    `width`: units n. W_ij ~ N(0, σ_w²/n), U_ij ~ N(0, σ_u²/d) for d channels, b_i ~ N(0, σ_b²); `sigma_b2=None` is no bias,
    `parameterization` and `role` as in `Dense`: in "mup" W is between hidden units, and U too unless x is the "input". `nonlinearity`:
    as in `Activation`. At absent positions of a `Batch` the state stays: h_t = h_{t-1}.

    At infinite width (Alemohammad et al. 2021, theorem 1) with Σ_tt' of z and Φ_tt', Φ̇_tt' the expectations of φφ and φ'φ' under it,
    Σ_tt' = σ_w² Φ_{t-1,t'-1} + σ_u² x_t·x'_t'/d + σ_b², and Θ_tt' = Σ_tt' + σ_w² Φ̇_{t-1,t'-1} Θ_{t-1,t'-1} ("ntk"); then as in
    `Activation`.
    """

    width: int
    nonlinearity: Any = "tanh"
    sigma_w2: Any = 1.0
    sigma_u2: Any = 1.0
    sigma_b2: Any = None
    parameterization: Parameterization = "ntk"
    role: Literal["input", "hidden"] = "hidden"

    reach: ClassVar[Reach] = "each"
    reach_masked: ClassVar[Reach | None] = "all"  # at equal positions, as many are present before one as before another
    grows: ClassVar[tuple[str, ...]] = ("width",)
    linear_end: ClassVar[bool] = False  # its outputs are values of φ

    def __post_init__(self) -> None:
        integer("width", self.width)
        one_of("parameterization", self.parameterization, PARAMETERIZATIONS)
        one_of("role", self.role, ("input", "hidden"))
        object.__setattr__(self, "nonlinearity", Activation(self.nonlinearity).nonlinearity)
        for name in ("sigma_w2", "sigma_u2", "sigma_b2"):
            check_variance(f"{name} (a variance)", getattr(self, name))

    @property
    def parts(self) -> tuple[Dense, Dense, Activation]:
        """What acts on the inputs, on the state before, and φ."""
        inputs = Dense(self.width, self.sigma_u2, self.sigma_b2, self.parameterization, role=self.role)
        return inputs, Dense(self.width, self.sigma_w2, None, self.parameterization), Activation(self.nonlinearity)

    def output_shape(self, shape: Shape) -> Shape:
        """(T, width)."""
        if len(shape) != 2:
            raise fail("sequences (T, channels)", f"shape {shape}", "reshape x, channels last")
        return (shape[0], self.width)

    def init(self, key: Array, shape: Shape, dtype: Any = None) -> dict[str, Any]:
        """{"inputs": those of a `Dense` layer for x_t, "states": for h_{t-1}}."""
        check_key(key)
        shape = checked_shape(shape)
        self.output_shape(shape)
        inputs, states, _ = self.parts
        one, other = jax.random.split(key)
        return {"inputs": inputs.init(one, shape[1:], dtype), "states": states.init(other, (self.width,), dtype)}

    def apply(self, params: dict[str, Any], x: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        """The states h_1 … h_T."""
        return self.apply_batch(params, Batch(x)).values

    def apply_batch(self, params: dict[str, Any], batch: Batch) -> Batch:
        """The states at the positions that are there."""
        x = batch.hidden().values
        if x.ndim != 3:
            raise fail("inputs (N, T, channels)", f"shape {x.shape}", f"give {counted(params['inputs']['w'].shape[0], 'channel')} last")
        inputs, states, phi = self.parts
        drive = jnp.moveaxis(inputs.apply(params["inputs"], x), 1, 0)
        there = None if batch.present is None else batch.present.T[..., None]

        def step(h: Array, now: tuple[Array, Array | None]) -> tuple[Array, Array]:
            after = phi.apply((), now[0] + states.apply(params["states"], h))
            h = after if now[1] is None else jnp.where(now[1], after, h)
            return h, h

        found = jax.lax.scan(step, jnp.zeros_like(drive[0]), (drive, there))[1]
        return replace(batch, values=jnp.moveaxis(found, 0, 1)).hidden()

    def propagate(self, state: Any) -> Any:
        """Σ' and Θ' as in the class's text."""
        check_axes(state, 1)
        inputs, _, phi = self.parts
        drive: Any = inputs.propagate(replace(state, present=None))
        orders = None if state.present is None else [jnp.argsort(~there, axis=0, stable=True) for there in state.present]
        if orders:  # what is absent comes last, where it reaches nothing
            drive = _placed(drive, *orders)
        found: dict[str, Any] = {name: self._states(block, state.positions == "all") for name, block in blocks_of(drive).items()}
        after: Any = phi.propagate(same_as_alone(replace(drive, **found)))
        if orders:
            after = _placed(after, *(jnp.argsort(order, axis=0) for order in orders))
        return hidden(replace(after, present=state.present))

    def _states(self, drive: Moments, pairs: bool) -> Moments:
        """The moments of z from those of U x_t + b: at equal times, (T, ...), or at all `pairs` of them, (T, T', ...)."""
        _, states, phi = self.parts

        def step(coming: Moments, now: dict[str, Array]) -> tuple[Moments, Moments]:
            given: dict[str, Any] = now | ({"k2": drive.k2[0]} if pairs else {})
            z = summed([replace(drive, **given), coming])
            after: Any = states.propagate(phi.propagate(z))
            return _later(after) if pairs else after, z

        each = {name: getattr(drive, name) for name in ("k1", "gap", "ntk", "tilt", *(() if pairs else ("k2",)))}
        times = {name: value for name, value in each.items() if value is not None}
        zeros: dict[str, Any] = {name: jnp.zeros_like(value[0]) for name, value in times.items()}
        if pairs:  # what comes to each time of the second sequence is there from the first time of the first one
            alone = self._states(
                replace(drive, k1=drive.k2[0], k2=drive.k2[0], gap=jnp.zeros_like(drive.k2[0]), ntk=None, tilt=None), False
            )
            after: Any = states.propagate(phi.propagate(alone))
            zeros["k2"] = _shifted(after.k2)
        width = jnp.asarray(self.width, drive.dtype)
        start: Any = replace(drive, **zeros, error=jnp.zeros((), drive.dtype), features=width, gaussian=True, nonnegative=False)
        z: Moments = jax.lax.scan(step, start, times)[1]
        return replace(z, k2=z.k2[0][None] if pairs else z.k2, error=jnp.asarray(z.error)[-1], features=width, own=drive.own)


@partial(jax.tree_util.register_dataclass, data_fields=(), meta_fields=())
@dataclass(frozen=True)
class Last(Layer):
    """The last position of each point that is there, of points with one axis of them: what a recurrent network reads out."""

    reach: ClassVar[Reach] = "all"
    linear: ClassVar[bool] = True

    def output_shape(self, shape: Shape) -> Shape:
        """(channels,)."""
        if len(shape) != 2:
            raise fail("points (positions, channels)", f"shape {shape}", "reshape x, channels last")
        return shape[-1:]

    def init(self, key: Array, shape: Shape, dtype: Any = None) -> tuple[()]:
        """No parameters."""
        return ()

    def apply(self, params: tuple[()], x: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        """The last position."""
        self.output_shape(x.shape[1:])
        return x[:, -1]

    def apply_batch(self, params: tuple[()], batch: Batch) -> Array:
        """The last position that is there; zeros where there is none."""
        self.output_shape(batch.shape[1:])
        if batch.present is None:
            return self.apply(params, batch.values)
        return jnp.take_along_axis(batch.hidden().values, _last(batch.present.T)[:, None, None], axis=1)[:, 0]

    def propagate(self, state: Any) -> Any:
        """Σ and Θ at the last positions of the two points."""
        check_axes(state, 1)
        m, length = state.cross, positions_of(state)[0]
        sizes = m.gap.shape[-2:]
        ends = (jnp.full(n, length - 1) for n in sizes) if state.present is None else (_last(part) for part in state.present)
        first, second = ends

        def at(x: Array | None) -> Any:
            """Of (P, P', N1, N2), with axes of 1 for what does not depend on them."""
            if x is None:
                return None
            p, q = (jnp.where(x.shape[axis] > 1, end, 0) for axis, end in ((0, first), (1, second)))
            i, j = (jnp.arange(size) if size > 1 else jnp.zeros(1, int) for size in x.shape[2:])
            return x[(p[:, None] if x.shape[2] > 1 else p[:1, None]), (q[None] if x.shape[3] > 1 else q[None, :1]), i[:, None], j[None]]

        return replace(m, k1=at(m.k1), k2=at(m.k2), gap=at(m.gap), ntk=at(m.ntk), tilt=at(m.tilt))


def _placed(state: Fields, first: Array, second: Array) -> Fields:
    """With the positions (T, N1) and (T, N2) of each point in the places of its own."""
    assert state.positions == "all"  # as `reach_masked` asks
    places = beside(state, first, second)

    def taken(m: Moments, pair: tuple[Array, Array]) -> Moments:
        found: dict[str, Any] = {}
        for name in ("k1", "k2", "gap", "ntk", "tilt"):
            x = getattr(m, name)
            for axis, place in enumerate(pair):
                x = x if x is None or x.shape[axis] == 1 else jnp.take_along_axis(x, place, axis)
            found[name] = x
        return replace(m, **found)

    after: dict[str, Any] = {name: taken(block, places[name]) for name, block in blocks_of(state).items()}
    return replace(state, **after)


def _last(there: Array) -> Array:
    """The last position that is there, (N,), from (T, N); 0 where there is none."""
    return jnp.max(jnp.where(there, jnp.arange(len(there))[:, None], 0), axis=0)


def _later(m: Moments) -> Moments:
    """The same one time later for the second sequence: nothing comes to its first time."""
    ntk, tilt = (None if x is None else _shifted(x) for x in (m.ntk, m.tilt))
    return replace(m, k2=_shifted(m.k2), gap=_shifted(m.gap), ntk=ntk, tilt=tilt)


def _shifted(x: Array) -> Array:
    return jnp.concatenate([jnp.zeros_like(x[:1]), x[:-1]])
