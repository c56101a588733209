"""The finite-width kernel at initialization, as a random variable."""

import inspect
import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, Num

from kernelregime import _checks, _precision, grams
from kernelregime.empirical import gram, kernel, model, tiles
from kernelregime.empirical.compiled import PROGRAMS, Kept
from kernelregime.empirical.footprint import Footprint
from kernelregime.empirical.model import Function
from kernelregime.layers import Layer
from kernelregime.layers.base import check_key

CHUNK = 16  # draws a call: more would not make a call cheaper, fewer would make small models wait for their dispatch

Init = Callable[[Any], Any]


def sample_at_init(
    init: Init,
    f: Function | Layer,
    x1: Num[ArrayLike, "N1 ..."],
    x2: Num[ArrayLike, "N2 ..."] | None = None,
    *,
    draws: int,
    key: Any,
    output: str = "trace",
    method: str = "auto",
    memory: float | None = None,
    dtype: Any = None,
    progress: Callable[[int, int], None] | None = None,
) -> Float[np.ndarray, "draws N1 N2 ..."]:
    """Draws of the empirical neural tangent kernel over random initializations.

    Draw s is the kernel of `f` at θ_s = init(k_s), with the keys k_1 .. k_draws = jax.random.split(key, draws): it depends on `key`,
    `draws` and s alone, not on `memory` or the number of cores.

    `init(key) -> params`; `f`, `x1`, `x2`, `output` and `method` as in `ntk`. `memory`: bytes for the draws computed at one time
    (default: half of the free memory). `dtype`: float32 or float64, in which `init` and `f` are computed (default: that of the
    parameters that `init` gives). `progress(done, draws)` is called as draws are done.

    Returns: array (draws, N1, N2), with axes (O, O) more for output="full", (O,) for "diagonal". Raises: `InputError` as `ntk` does,
    for draws < 1, for a key that is none, and when the budget is too small for one draw.
    """
    _checks.one_of("output", output, kernel.OUTPUTS)
    _checks.one_of("method", method, kernel.METHODS)
    count = _checks.integer("draws", draws)
    f = model.function(f)
    # With a dtype given, `init` is not traced in another precision first.
    working = model.precision(_shapes(init, key), None) if dtype is None else _precision.resolve(dtype)
    with _precision.enter(working):
        params = model.in_precision(_shapes(init, key), working)
        first = model.points("x1", x1, working)
        second = None if x2 is None else model.points("x2", x2, working)
        model.check_pair(first, first if second is None else second)
        options = gram.with_forms(kernel.Options(output, method), gram.analysed(f, params, first, output), points=len(first))
        size = gram.sizes(f, params, first, options)
        model.check_dtype(size.dtype, working)
        gram.check_rows(f, _normal(params), first, first if second is None else second)
        columns = len(first if second is None else second)
        workers = _workers(_bytes(size, len(first), columns), count, memory)
        keys = jax.random.split(key, count)
    compute = _sampler(init, f, output, method, working)
    result = np.empty((count, len(first), columns, *kernel.tail(output, size.outputs)), working)
    done = 0
    for block in _blocks(lambda part: compute(part, first, second), keys, workers, working):
        result[done : done + len(block)] = block
        done += len(block)
        if progress:
            progress(done, count)
    return tiles.finite(result)


def _shapes(init: Init, key: Any) -> Any:
    check_key(key)
    try:
        inspect.signature(init).bind(key)
    except TypeError as error:
        do = "write lambda key: network.init(key, shape), with the shape of one point"
        raise _checks.fail("init(key) -> params", f"a function of other arguments ({error})", do) from None
    except ValueError:  # a builtin, which shows no signature
        pass
    return jax.eval_shape(init, key)


def _normal(params: Any) -> Any:
    """Normal parameters of these shapes: whether rows depend on one another shows at any, and `init` would have to be compiled."""
    rng, held = np.random.default_rng(0), model.parameters(params)
    leaves = [np.zeros(leaf.shape, leaf.dtype) for leaf in held.leaves]
    drawn = [rng.standard_normal(leaf.shape).astype(leaf.dtype) / max(leaf.shape, default=1) ** 0.5 for leaf in held.values]
    return model.Parameters(leaves, held.trained, held.structure).rebuild(drawn)


def _bytes(size: Footprint, rows: int, columns: int) -> float:
    """What one draw takes. Parameters exist as random bits, as normals, and as what init makes of them."""
    of_points = size.bytes_per_point * (rows + columns) + size.bytes_per_pair * rows * columns
    return 3 * size.bytes_of_parameters + size.bytes_once + of_points


def _workers(need: float, count: int, memory: float | None) -> int:
    """How many draws to compute at one time, each taking `need` bytes."""
    budget = grams.memory_budget(memory)
    if budget < need:
        raise _checks.fail(f"a memory budget of at least {math.ceil(need)} bytes (one draw)", f"{budget} bytes", "give a larger memory=")
    return int(min(os.cpu_count() or 1, count, budget // need))


def _sampler(init: Init, f: Function, output: str, method: str, dtype: np.dtype) -> Callable[..., Any]:
    """The compiled map from keys to kernels, kept with both functions."""
    reference, kept = PROGRAMS.get(f, ("draws", output, method, dtype.name), lambda reference: (reference, Kept()))

    def build(init_reference: Callable[[], Init]) -> Callable[..., Any]:
        def one(key: Any, x1: Any, x2: Any) -> Any:
            params = model.in_precision(init_reference()(key), dtype)
            return kernel.ntk_function(reference(), output=output, method=method)(params, x1, x2)

        return jax.jit(lambda keys, x1, x2: jax.lax.map(lambda key: one(key, x1, x2), keys))

    return kept.get(init, "sampler", build)


def _blocks(compute: Callable[[Any], Any], keys: Any, workers: int, dtype: np.dtype) -> Iterator[np.ndarray]:
    """The kernels of all keys in order, some keys a call; one draw at a time in every worker."""
    count = len(keys)
    chunk = min(CHUNK, math.ceil(count / workers))

    def block(start: int) -> np.ndarray:
        with _precision.enter(dtype):
            # The last chunk is filled up with the last key: one compiled program serves all.
            part = keys[jnp.minimum(jnp.arange(start, start + chunk), count - 1)]
            return _precision.to_host(compute(part), dtype)[: count - start]

    yield block(0)  # compiled here, not once in every worker
    pool = ThreadPoolExecutor(workers)
    try:
        yield from pool.map(block, range(chunk, count, chunk))
    finally:
        pool.shutdown(cancel_futures=True)
