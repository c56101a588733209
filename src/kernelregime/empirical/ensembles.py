"""The NTK of fully-connected networks at initialization over many seeds, by forward and backward passes: no Jacobians, no parameters kept.

With h^l = W^l x^{l-1} + b^l, x^l = φ(h^l) and δ^l the derivative of one output by h^l,

    Θ(x, x') = Σ_l (κ_l x^{l-1}·x'^{l-1} + β) δ^l·δ'^l,    δ^{l-1} = φ'(h^{l-1}) ∘ (W^l)ᵀδ^l,    δ^L = 1,

κ_l = σ_w²/n_{l-1}, β = σ_b² in the `ntk` parameterization; κ_l = 1, β = 1 (0 without biases) in `standard`.

Layers of equal widths are one loop, so that compiling does not depend on the depth. "dense" draws every weight. "conditional" draws
what the passes see of W^l, which has the same law: with x, x' = QR, Q orthonormal, W^l sends Q to a Gaussian matrix G √κ, whatever
came before; the rest of W^l is free, so that (W^l)ᵀ[δ δ'] = √κ (Q Gᵀ[δ δ'] + (1 - QQᵀ) Γ S), Γ Gaussian, S the right factor of [δ δ'].
"""

import itertools
import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Num

from kernelregime import _checks, _precision, grams, networks
from kernelregime.empirical import tiles
from kernelregime.layers import Layer
from kernelregime.layers.base import check_key

METHODS = ("dense", "conditional")
BATCH = 1 << 17  # random numbers a layer in one call: half a megabyte, which stays in a core's cache
MOST = 1024  # draws a call
COPIES = 5  # of a layer being drawn: two words of bits, their uniforms, normals, and these without the biases
PARALLEL = 16  # in units of rounding: what is left of a second input at this distance from the first has no direction of its own


@dataclass(frozen=True)
class NtkDraws:
    """Independent draws of the NTK of one output: `theta` of shape (draws,), or (draws, 3) with Θ(x, x), Θ(x, x'), Θ(x', x')."""

    theta: np.ndarray
    method: str

    @property
    def draws(self) -> int:
        """How many."""
        return len(self.theta)

    @property
    def mean(self) -> np.ndarray:
        """The mean over draws, of shape () or (3,), float64."""
        return np.asarray(np.mean(self.theta, axis=0, dtype=np.float64))

    @property
    def sem(self) -> np.ndarray:
        """Its standard error; nan for a single draw."""
        if self.draws < 2:
            return np.full(self.theta.shape[1:], np.nan)
        return np.asarray(np.std(self.theta, axis=0, ddof=1, dtype=np.float64) / math.sqrt(self.draws))


def sample_fully_connected(
    network: Layer,
    x1: Num[ArrayLike, "..."],
    x2: Num[ArrayLike, "..."] | None = None,
    *,
    draws: int,
    key: Any,
    method: str = "dense",
    memory: float | None = None,
    dtype: Any = None,
    progress: Callable[[int, int], None] | None = None,
) -> NtkDraws:
    """Draws of Θ(x, x), and with `x2` of Θ(x, x') and Θ(x', x'), over random initializations of a fully-connected network.

    `network`: as `networks.mlp` makes it, any widths, φ, σ_w², σ_b² and parameterization; the law is that of one output's NTK, whatever
    the number of outputs. `x1`, `x2`: one point each. Draw s depends on `key` and s alone, to rounding. `method`: "dense" draws all
    weights, O(n_{l-1} n_l) a layer; "conditional" draws from the same law in O(n_{l-1} + n_l). `memory`: bytes at one time (default:
    half of the free memory); with less, weights are drawn again in the backward pass instead of kept. `dtype`: float32 or float64
    (default: float32 for float32 points, else float64). `progress(done, draws)` is called as draws are done.

    Returns: an `NtkDraws`. Raises: `InputError` for other networks, points of unequal or wrong shapes, draws < 1, a key that is none,
    a budget too small for one draw, and a kernel beyond the range of floats.
    Source: Jacot et al. 2018, section 4 (the NTK); the passes are back-propagation.
    """
    _checks.one_of("method", method, METHODS)
    spec, count = networks.describe(network), _checks.integer("draws", draws)
    if spec is None:
        do = "take networks.mlp, or sample_at_init for any model"
        raise _checks.fail("a fully-connected network with one φ, σ_w², σ_b² and parameterization", type(network).__name__, do)
    working = _precision.resolve(dtype, x1, x2)
    inputs = _inputs(x1, x2, working)
    check_key(key)
    plan = _plan(
        _Setting((len(inputs), *spec.widths[:-1]), inputs.shape[1], spec.sigma_b2 is not None, spec.parameterization, method, True),
        count,
        working,
        grams.memory_budget(memory),
    )
    with _precision.enter(working):
        variances = [np.asarray(v or 0.0, working) for v in (spec.sigma_w2, spec.sigma_b2)]
        phi = jax.tree.map(lambda leaf: np.asarray(leaf, working), spec.activation)
    result = np.empty((count, inputs.shape[1] * (inputs.shape[1] + 1) // 2), working)
    done = 0
    for block in _blocks(lambda keys, indices: _draws(plan.setting, phi, *variances, keys, indices, inputs), key, count, plan, working):
        result[done : done + len(block)] = block
        done += len(block)
        if progress:
            progress(done, count)
    return NtkDraws(tiles.finite(result if x2 is not None else result[:, 0]), method)


def _inputs(x1: Any, x2: Any, dtype: np.dtype) -> np.ndarray:
    """The points as columns."""
    points = [_checks.array(name, x, ndim=1) for name, x in (("x1", x1), ("x2", x2)) if x is not None]
    if len({point.shape for point in points}) > 1:
        raise _checks.fail("x1 and x2 of one shape", " and ".join(str(point.shape) for point in points), "give both the same shape")
    return np.stack(points, axis=1).astype(dtype)


class _Setting(NamedTuple):
    """What a program is compiled for: n_0 … n_{L-1}, the number of inputs, and how. `kept`: weights are kept for the backward pass."""

    widths: tuple[int, ...]
    inputs: int
    biases: bool
    parameterization: str
    method: str
    kept: bool

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """(n_{l-1}, n_l) of the hidden layers."""
        return list(itertools.pairwise(self.widths))

    @property
    def runs(self) -> list[tuple[tuple[int, int], int]]:
        """Hidden layers of one shape after another, with how many there are."""
        return [(shape, len(list(run))) for shape, run in itertools.groupby(self.shapes)]

    def numbers(self, n: int, m: int) -> int:
        """Random numbers of a hidden layer."""
        return (n + self.biases) * m if self.method == "dense" else (n + m + self.biases) * self.inputs

    def footprint(self, itemsize: int) -> int:
        """Bytes a draw: what is kept of looped layers, one of them being drawn, and all others, which XLA draws when it likes."""
        looped = [(self.numbers(*shape), count) for shape, count in self.runs if count > 1]
        kept = sum(size * count for size, count in looped) if self.kept else 0
        drawn = max((size for size, _ in looped), default=0) + sum(self.numbers(*shape) for shape, count in self.runs if count == 1)
        return itemsize * (kept + COPIES * drawn + 4 * self.inputs * sum(self.widths))


class _Plan(NamedTuple):
    setting: _Setting
    batch: int
    workers: int


def _plan(setting: _Setting, count: int, dtype: np.dtype, budget: int) -> _Plan:
    """Draws a call and calls at one time: weights are kept if the budget allows, and draws go one by one if it must be."""
    numbers = sum(setting.numbers(*shape) for shape in setting.shapes)
    batch = min(count, MOST, max(1, BATCH * len(setting.shapes) // max(numbers, 1)))
    for size, trial in itertools.product((batch, 1), (setting, setting._replace(kept=False))):
        need = size * trial.footprint(dtype.itemsize)
        if need <= budget:
            return _Plan(trial, size, int(min(os.cpu_count() or 1, math.ceil(count / size), budget // need)))
    raise _checks.fail(f"a memory budget of at least {need} bytes (one draw)", f"{budget} bytes", "give a larger memory=")


def _blocks(compute: Callable[..., Any], key: Any, count: int, plan: _Plan, dtype: np.dtype) -> Iterator[np.ndarray]:
    """All draws in order, a batch a call; the last batch is filled up with the last draw, so that one program serves all."""

    def block(start: int) -> np.ndarray:
        with _precision.enter(dtype):
            indices = np.minimum(np.arange(start, start + plan.batch), count - 1).astype(np.uint32)
            return _precision.to_host(compute(key, indices), dtype)[: count - start]

    yield block(0)  # compiled here, not once in every worker
    pool = ThreadPoolExecutor(plan.workers)
    try:
        yield from pool.map(block, range(plan.batch, count, plan.batch))
    finally:
        pool.shutdown(cancel_futures=True)


@partial(jax.jit, static_argnums=0)
def _draws(setting: _Setting, phi: Any, sigma_w2: Array, sigma_b2: Array, key: Array, indices: Array, inputs: Array) -> Array:
    """Draws number `indices`, shape (batch, 1) or (batch, 3)."""
    return jax.vmap(lambda index: _draw(setting, phi, sigma_w2, sigma_b2, jax.random.fold_in(key, index), inputs))(indices)


def _draw(setting: _Setting, phi: Any, sigma_w2: Array, sigma_b2: Array, key: Array, inputs: Float[Array, "n P"]) -> Array:
    """The entries Θ(x, x), Θ(x, x'), Θ(x', x') of one draw."""
    keys = jax.random.split(key, (len(setting.widths), 2))  # of what is drawn on the way there and on the way back
    x, kept, stop = inputs, [], 0
    layers = [(_layer(setting, phi, sigma_w2, sigma_b2, *shape), count) for shape, count in setting.runs]
    for layer, count in layers:
        x, seen = _repeated(layer.forward, x, keys[stop : stop + count], count)
        kept.append(seen)
        stop += count
    n, dtype = setting.widths[-1], inputs.dtype
    readout = jnp.sqrt(sigma_w2 / n) * jax.random.normal(keys[-1, 0], (n, 1), dtype)
    last = _term(setting, sigma_w2, sigma_b2, x.T @ x, n)  # times δ^L δ'^L = 1
    state = (jnp.broadcast_to(readout, x.shape), last)
    for (layer, count), seen in reversed(list(zip(layers, kept, strict=True))):
        state, _ = _repeated(layer.backward, state, seen, count, reverse=True)
    return state[1][jnp.triu_indices(setting.inputs)]


def _repeated(step: Callable[[Any, Any], Any], state: Any, over: Any, count: int, *, reverse: bool = False) -> Any:
    """`lax.scan`; without a loop for a single layer, which may change the shape of the state."""
    if count > 1:
        return jax.lax.scan(step, state, over, reverse=reverse)
    state, out = step(state, jax.tree.map(lambda leaf: leaf[0], over))
    return state, jax.tree.map(lambda leaf: leaf[None], out)


def _term(setting: _Setting, sigma_w2: Array, sigma_b2: Array, x_gram: Array, width: int) -> Array:
    """κ x·x' + β for all pairs of inputs."""
    if setting.parameterization == "standard":
        return x_gram + int(setting.biases)
    return sigma_w2 / width * x_gram + (sigma_b2 if setting.biases else 0)


class _Layer(NamedTuple):
    """`forward(x, keys)` is φ(Wx + b) and what the way back needs; `backward((v, θ), seen)`, v = Wᵀδ from above, adds a term to θ."""

    forward: Callable[[Array, Array], tuple[Array, Any]]
    backward: Callable[[Any, Any], tuple[Any, None]]


def _layer(setting: _Setting, phi: Any, sigma_w2: Array, sigma_b2: Array, n: int, m: int) -> _Layer:
    """A hidden layer of n inputs and m units."""
    weights = (_conditional if setting.method == "conditional" else _dense)(setting, n, m, sigma_w2.dtype)
    scale = jnp.sqrt(sigma_w2 / n)

    def forward(x: Array, keys: Array) -> tuple[Array, Any]:
        product, bias, seen = weights.forward(keys, x)
        h = scale * product + jnp.sqrt(sigma_b2) * bias
        return phi(h), (keys, seen, h, x.T @ x)

    def backward(state: Any, kept: Any) -> tuple[Any, None]:
        (v, theta), (keys, seen, h, x_gram) = state, kept
        delta = jax.vjp(phi, h)[1](v)[0]  # φ' at a kink is that of gradient descent
        theta += _term(setting, sigma_w2, sigma_b2, x_gram, n) * (delta.T @ delta)
        return (scale * weights.backward(keys, seen, delta), theta), None

    return _Layer(forward, backward)


class _Weights(NamedTuple):
    """Standard normal W and b: `forward(keys, x)` is W x, b (m, 1) or 0, what the way back needs; `backward(keys, seen, δ)` is Wᵀδ."""

    forward: Callable[[Array, Array], tuple[Array, Array | float, Any]]
    backward: Callable[[Array, Any, Array], Array]


def _normal(key: Array, rows: int, columns: int, setting: _Setting, dtype: Any) -> tuple[Array, Array | float]:
    """A matrix and, from the same call (compiling one takes longer than running it), the biases if there are any."""
    drawn = jax.random.normal(key, (rows, columns + setting.biases), dtype)
    return drawn[:, :columns], drawn[:, columns:] if setting.biases else 0.0


def _dense(setting: _Setting, n: int, m: int, dtype: Any) -> _Weights:
    """All of W, kept or drawn again."""

    def forward(keys: Array, x: Array) -> tuple[Array, Array | float, Any]:
        w, bias = _normal(keys[0], m, n, setting, dtype)
        return w @ x, bias, w if setting.kept else None

    def backward(keys: Array, seen: Any, delta: Array) -> Array:
        w = _normal(keys[0], m, n, setting, dtype)[0] if seen is None else seen
        return w.T @ delta

    return _Weights(forward, backward)


def _conditional(setting: _Setting, n: int, m: int, dtype: Any) -> _Weights:
    """What the passes see of W; see the top of this module."""

    def forward(keys: Array, x: Array) -> tuple[Array, Array | float, Any]:
        q, r = _factors(x)
        g, bias = _normal(keys[0], m, setting.inputs, setting, dtype)
        return g @ r, bias, (q, g)

    def backward(keys: Array, seen: Any, delta: Array) -> Array:
        q, g = seen
        free = jax.random.normal(keys[1], (n, setting.inputs), dtype) @ _factors(delta)[1]
        return q @ (g.T @ delta - q.T @ free) + free

    return _Weights(forward, backward)


def _factors(x: Float[Array, "n P"]) -> tuple[Array, Array]:
    """Q of orthonormal or zero columns and R upper triangular with QR = x, for one or two columns of any rank."""
    first = x[:, :1]
    r = jnp.sqrt(first.T @ first)
    q = first / jnp.where(r > 0, r, 1)
    if x.shape[1] == 1:
        return q, r
    second = x[:, 1:]
    along = q.T @ second
    rest = second - q * along
    again = q.T @ rest  # projecting twice leaves no more than rounding along q
    rest -= q * again
    u = jnp.sqrt(rest.T @ rest)
    u = jnp.where(u > PARALLEL * jnp.finfo(x.dtype).eps * jnp.sqrt(second.T @ second), u, 0)
    return jnp.hstack([q, jnp.where(u > 0, rest / jnp.where(u > 0, u, 1), 0)]), jnp.block([[r, along + again], [jnp.zeros_like(u), u]])
