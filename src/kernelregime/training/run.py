"""The training run on the host: checks, chunks, probes, checkpoints."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kernelregime import _precision
from kernelregime._checks import fail
from kernelregime.training import checkpoint as checkpoints
from kernelregime.training import loop
from kernelregime.training.checkpoint import Saved
from kernelregime.training.loop import DIVERGED, RUNNING, STOPPED, Inputs, State, advance, unevaluated
from kernelregime.training.optimizers import Factory
from kernelregime.training.plan import Plan, Recipe, checked, conventions
from kernelregime.training.probing import Record, stacked, unstacked
from kernelregime.training.trace import Status, Trace

Probe = Callable[[int, Any], Any]
Progress = Callable[[int, int, np.ndarray], None]
EXPLOSION = 1e6  # a loss this many times the initial one has diverged
SECONDS = 0.5  # aimed at between two calls of `progress`; the next chunk may be off by a factor of two


def train(
    f: Callable[[Any, Any], Any],
    params: Any,
    x: Any,
    y: Any,
    *,
    steps: int,
    learning_rate: Any,
    optimizer: str | Factory = "gd",
    loss: str = "mse",
    reduction: str = "sum",
    batch_size: int | None = None,
    stop_fraction: float | None = None,
    probes: Mapping[str, Probe] | None = None,
    probe_steps: Sequence[int] | None = None,
    dtype: Any = None,
    key: Any = None,
    checkpoint: str | os.PathLike[str] | None = None,
    depends_on: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Trace:
    """Train S copies of a model, from S different params, on the same data.

    θ ← θ - η ∇L(θ) ("gd"), with L = ½ Σ_{n,o} (f_o(θ, x_n) - y_no)² (`loss="mse"`) or L = -Σ_{n,o} y_no log softmax_o f(θ, x_n)
    ("cross_entropy"). `reduction="sum"` is this; "mean" divides mse by N·O and cross-entropy by N (in a minibatch: by its size).

    `f(params, x)`: outputs (N, O) for one set of params and points x (N, ...), acting on each row by itself; JAX-traceable.
    `params`: a pytree of floating-point arrays with a leading axis S. `y` (N, O): targets; class probabilities for cross-entropy.
    `learning_rate`: η, a number or (S,). `optimizer`: "gd", "momentum" (heavy ball: v ← 0.9 v + ∇L, θ ← θ - η v), "adam", or a
    function from the learning rate to an optax GradientTransformation (with rates that differ between seeds it gets a traced one).
    `batch_size`: None for full-batch steps, else B points a step: every epoch of ⌊N/B⌋ steps goes through a new random order drawn
    from `key` (a JAX PRNG key), the same for all seeds, and leaves N mod B points out.
    `stop_fraction`: a seed stops, and keeps its params, at the first step at which its loss is at most this fraction of its initial
    loss; the run ends when all seeds have. The loss is that of the whole train set at every step, also with minibatches.
    `probes`: by name, functions called as `probe(step, params)` on the host and in the run's precision, with NumPy params (leading
    axis S), at `probe_steps` (default: about 16 steps from 0 to the last, evenly spaced in the logarithm) and at the end; they return
    an array, or nested dicts and lists of arrays.
    `dtype`: "float32" or "float64", for params, points and the work (default: the precision of the params).
    `checkpoint`: a file that is written at probe steps and when interrupted. The same call with an existing file goes on from there;
    on the same machine its losses and records are bitwise those of an uninterrupted run. `depends_on`: numbers and arrays, by name,
    that the probes use besides the params; a checkpoint written with others belongs to another run.
    `progress(step, steps, losses)`: called about twice a second, and at probe steps, with the losses (S,) of that step.

    A seed that diverges (a step to NaN, an infinity, or a loss above 10⁶ times the initial one) keeps its last finite params, and its
    status says so. Ctrl-C ends the run early: the `Trace` holds what is done.

    Returns: `Trace`.
    Raises: `InputError` for unknown names, shapes that do not fit, NaN in the input, an initial loss that is not finite, and a
    checkpoint file that belongs to something else.
    """
    recipe = Recipe(steps, learning_rate, optimizer, loss, reduction, batch_size, stop_fraction, probe_steps, dtype, key)
    names = tuple(probes or ())
    plan = checked(f, params, x, y, recipe, probe_names=names, checkpoint=checkpoint, depends_on=depends_on or {})
    with conventions(plan.dtype):
        run = _Run(plan, dict(probes or {}), progress)
        try:
            run.proceed()
        except KeyboardInterrupt:
            run.interrupted = True
            run.save()
        return run.trace()


class _Run:
    """A run as far as it has come. An interrupt may fall between any two lines: only `state` says how far, and it is set last."""

    def __init__(self, plan: Plan, probes: dict[str, Probe], progress: Progress | None) -> None:
        self.plan, self.probes, self.progress = plan, probes, progress
        self.interrupted = False
        # before anything is compiled
        saved = None if plan.path is None else checkpoints.read(plan.path, plan.mark)
        x, y, rates = (jnp.asarray(a) for a in (plan.x, plan.y, plan.rates))
        nowhere = jnp.full_like(rates, -1.0), jnp.full_like(rates, jnp.inf)
        self.inputs = Inputs(x, y, rates, plan.key, *nowhere)
        self._advance = jax.jit(partial(advance, plan.rules))
        # always through the host, so that a resumed run calls the very same compiled program
        self.state = _on_host(unevaluated(plan.rules, plan.params, self.inputs))
        self.state = _on_host(self._advance(self.state, np.int32(0), self.inputs)[0])
        lost = self.state.word != RUNNING
        if lost.any():
            got = f"{int(lost.sum())} of {lost.size} seeds with NaN or infinity"
            raise fail("a finite initial loss", got, "check the params and the scale of the data")
        self.first = np.array(self.state.loss)
        self._set_bounds()
        self.losses = [self.first[None]]
        self.records: list[tuple[int, dict[str, Record]]] = []
        self.chunk = 1
        if saved is not None and plan.path is not None:
            checkpoints.check_model(plan.path, saved, self.first)
            self._restore(saved)

    def _set_bounds(self) -> None:
        """The losses that end a seed's training; a seed may have arrived before its first step."""
        first, fraction = self.first, self.plan.stop_fraction
        low = np.full_like(first, -1.0) if fraction is None else (fraction * first).astype(first.dtype)
        high = np.where(first > 0, np.minimum(EXPLOSION * first.astype(np.float64), np.finfo(first.dtype).max), np.inf).astype(first.dtype)
        self.inputs = self.inputs._replace(low=jnp.asarray(low), high=jnp.asarray(high))
        there = first <= low
        word, frozen_at = (np.where(there, done, before).astype(np.int32) for done, before in ((STOPPED, RUNNING), (0, -1)))
        self.state = self.state._replace(word=word, frozen_at=frozen_at)

    def proceed(self) -> None:
        """Train to the end."""
        while True:
            step = int(self.state.step)
            done = step >= self.plan.steps or not (self.state.word == RUNNING).any()
            recorded = bool(self.records) and self.records[-1][0] == step
            if (done or step in self.plan.probe_steps) and not recorded:
                self._record(step)
                self.save()
            if done:
                return
            following = [later for later in (*self.plan.probe_steps, self.plan.steps) if later > step]
            self._train_until(min(step + self.chunk, *following))
            if self.progress is not None:
                self.progress(int(self.state.step), self.plan.steps, np.array(self.state.loss))

    def _train_until(self, until: int) -> None:
        begin, step = time.perf_counter(), int(self.state.step)
        state, losses = self._advance(self.state, np.int32(until), self.inputs)
        state = _on_host(state)
        taken = int(state.step) - step
        self.losses.append(np.asarray(losses)[:taken])
        self.state = state
        wanted = int(taken * SECONDS / max(time.perf_counter() - begin, 1e-9))
        # few steps measure badly: approach the chunk that fits from below
        self.chunk = max(1, min(wanted, 8 * taken, loop.BUFFER))

    def _record(self, step: int) -> None:
        taken = {}
        for name, probe in self.probes.items():
            # copies: a probe may keep or change what it gets
            taken[name] = Record.of(name, probe(step, jax.tree.map(np.array, self.state.params)))
            if self.records:
                taken[name].like(name, self.records[0][1][name])
        self.records.append((step, taken))

    def save(self) -> None:
        """Write the checkpoint, if one is kept."""
        if self.plan.path is not None:
            steps = np.asarray([step for step, _ in self.records], dtype=np.int64)
            saved = Saved(tuple(jax.tree.leaves(self.state)), self._losses(), steps, self._stacked())
            checkpoints.write(self.plan.path, self.plan.mark, saved)

    def _restore(self, saved: Saved) -> None:
        self.state = jax.tree.unflatten(jax.tree.structure(self.state), saved.state)
        self.losses = [saved.losses.T]
        each = {name: unstacked(record, len(saved.steps)) for name, record in saved.records.items()}
        self.records = [(int(step), {name: records[t] for name, records in each.items()}) for t, step in enumerate(saved.steps)]

    def _losses(self) -> np.ndarray:
        """(S, n + 1), up to the step of the state."""
        return np.ascontiguousarray(np.concatenate(self.losses)[: int(self.state.step) + 1].T)

    def _stacked(self) -> dict[str, Record]:
        taken = [record for _, record in self.records]
        return {name: stacked([record[name] for record in taken]) for name in self.probes} if taken else {}

    def trace(self) -> Trace:
        """The run as the user gets it."""
        done = int(self.state.step) >= self.plan.steps
        words: dict[int, Status] = {STOPPED: "stopped", DIVERGED: "diverged", RUNNING: "finished" if done else "interrupted"}
        return Trace(
            steps=np.asarray([step for step, _ in self.records], dtype=np.int64),
            records={name: record.nested for name, record in self._stacked().items()},
            losses=_precision.to_host(self._losses(), self.plan.dtype),
            params=jax.tree.map(lambda leaf: _precision.to_host(np.array(leaf), self.plan.dtype), self.state.params),
            stopped_at=np.asarray(self.state.frozen_at, dtype=np.int64),
            status=tuple(words[int(word)] for word in self.state.word),
            interrupted=self.interrupted,
        )


def _on_host(state: State) -> State:
    """The state as NumPy arrays."""
    try:
        return jax.tree.map(np.asarray, state)
    except TypeError as error:
        do = "use one that does not keep PRNG keys"
        raise fail("an optimizer whose state is arrays of numbers", str(error).split("\n")[0][:80], do) from None
