"""The compiled loop: one step for all seeds, and a run of steps whose number is not compiled in."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, PyTree

from kernelregime.training.losses import LossFunction
from kernelregime.training.optimizers import Factory

AnyArray = Array | np.ndarray  # on the device within the loop, on the host between its calls
RUNNING, STOPPED, DIVERGED = 0, 1, 2
BUFFER = 1024  # steps in one call of the compiled loop, at most


class State(NamedTuple):
    """Everything that the next step depends on; the loss (and, full-batch, the gradient) belong to `params`."""

    step: Int[AnyArray, ""]
    params: PyTree
    memory: PyTree  # of the optimizer
    gradient: PyTree  # empty for minibatches
    order: Int[AnyArray, " N"]  # of the points in this epoch; empty for the full batch
    loss: Float[AnyArray, " S"]
    word: Int[AnyArray, " S"]
    frozen_at: Int[AnyArray, " S"]


class Inputs(NamedTuple):
    """What stays fixed over a run: points, targets, learning rates, key, and the losses at which a seed has arrived or has diverged."""

    x: Array
    y: Array
    rates: Float[Array, " S"]
    key: Array | None
    low: Float[Array, " S"]
    high: Float[Array, " S"]


@dataclass(frozen=True)
class Rules:
    """What is compiled in."""

    f: Callable[[Any, Any], Any]
    loss: LossFunction
    make: Factory
    batch_size: int | None


def unevaluated(rules: Rules, params: PyTree, inputs: Inputs) -> State:
    """The state one step before the first, whose loss and gradient are not known: the step from -1 to 0 evaluates and does not move."""
    memory = jax.vmap(lambda p, rate: rules.make(rate).init(p))(params, inputs.rates)
    minibatch = rules.batch_size is not None
    gradient = () if minibatch else jax.tree.map(jnp.zeros_like, params)
    order = jnp.zeros(len(inputs.x) if minibatch else 0, jnp.int32)
    zero = jnp.zeros(inputs.rates.shape, jnp.int32)
    return State(jnp.int32(-1), params, memory, gradient, order, jnp.zeros_like(inputs.rates), zero + RUNNING, zero - 1)


def advance(rules: Rules, state: State, until: Int[Array, ""], inputs: Inputs) -> tuple[State, Array]:
    """Steps until `until` (at most `BUFFER` away) or until every seed is frozen; the losses (BUFFER, S) after each of them.

    The number of steps is an argument of the compiled program, so that results do not depend on how a run is cut into calls.
    """
    begin = state.step

    def unfinished(carry: tuple[State, Array]) -> Bool[AnyArray, ""]:
        return (carry[0].step < until) & jnp.any(carry[0].word == RUNNING)

    def body(carry: tuple[State, Array]) -> tuple[State, Array]:
        after = _step(rules, carry[0], inputs)
        return after, carry[1].at[carry[0].step - begin].set(after.loss)

    return jax.lax.while_loop(unfinished, body, (state, jnp.zeros((BUFFER, *inputs.rates.shape), inputs.rates.dtype)))


def _step(rules: Rules, state: State, inputs: Inputs) -> State:
    """One update of every running seed; a seed that arrives or diverges with it is frozen."""
    gradient, order = _gradient(rules, state, inputs)

    def propose(params: PyTree, memory: PyTree, gradient: PyTree, rate: Any) -> tuple[PyTree, PyTree]:
        updates, memory = rules.make(rate).update(gradient, memory, params)
        return optax.apply_updates(params, updates), memory

    old = (state.params, state.memory)
    everyone = jnp.broadcast_to(state.step >= 0, state.loss.shape)
    params, memory = _select(everyone, jax.vmap(propose)(*old, gradient, inputs.rates), old)
    loss, after = _evaluate(rules, params, inputs)
    running = state.word == RUNNING
    finite = jnp.isfinite(loss) & _finite(params)
    reached = jnp.where(~finite | (loss > inputs.high), DIVERGED, jnp.where(loss <= inputs.low, STOPPED, RUNNING))
    word = jnp.where(running, reached, state.word).astype(jnp.int32)
    # a step to NaN is not taken: the seed keeps the params it came from
    moved = running & finite
    step = state.step + 1
    frozen_at = jnp.where(running & (word != RUNNING), jnp.where(finite, step, state.step), state.frozen_at)
    new = (params, memory, after, loss)
    params, memory, after, loss = _select(moved, new, (*old, state.gradient, state.loss))
    return State(step, params, memory, after, order, loss, word, frozen_at)


def _gradient(rules: Rules, state: State, inputs: Inputs) -> tuple[PyTree, Int[AnyArray, " N"]]:
    """The gradient of this step's batch, and the order of the points in this epoch."""
    if rules.batch_size is None:
        return state.gradient, state.order
    assert inputs.key is not None
    key, points = inputs.key, len(inputs.x)
    per_epoch = points // rules.batch_size
    epoch, position = state.step // per_epoch, state.step % per_epoch

    def shuffled() -> Int[Array, " N"]:
        return jax.random.permutation(jax.random.fold_in(key, epoch), points).astype(jnp.int32)

    order = jax.lax.cond(position == 0, shuffled, lambda: state.order)
    rows = jax.lax.dynamic_slice_in_dim(order, position * rules.batch_size, rules.batch_size)
    batch = (inputs.x[rows], inputs.y[rows])
    return jax.vmap(jax.grad(lambda p: rules.loss(rules.f(p, batch[0]), batch[1])))(state.params), order


def _evaluate(rules: Rules, params: PyTree, inputs: Inputs) -> tuple[Float[Array, " S"], PyTree]:
    """The train loss of every seed, and its gradient where the next step needs it."""

    def loss(p: PyTree) -> Float[Array, ""]:
        return rules.loss(rules.f(p, inputs.x), inputs.y)

    if rules.batch_size is None:
        return jax.vmap(jax.value_and_grad(loss))(params)
    return jax.vmap(loss)(params), ()


def _finite(params: PyTree) -> Bool[Array, " S"]:
    checks = [jnp.all(jnp.isfinite(leaf), axis=tuple(range(1, leaf.ndim))) for leaf in jax.tree.leaves(params)]
    return jnp.all(jnp.stack(checks), axis=0)


def _select(chosen: Bool[Array, " S"], new: PyTree, old: PyTree) -> PyTree:
    """`new` for the chosen seeds, `old` for the others (a leaf's leading axis is the seeds')."""

    def pick(a: Array, b: Array) -> Array:
        return jnp.where(chosen.reshape(chosen.shape + (1,) * (b.ndim - 1)), a, b).astype(b.dtype)

    return jax.tree.map(pick, new, old)
