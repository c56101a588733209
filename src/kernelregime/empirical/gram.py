"""The finite-width neural tangent kernel on the host: any number of points, in tiles within a memory budget."""

import math
import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, Num, PyTree

from kernelregime import _checks, _precision, grams
from kernelregime.empirical import kernel
from kernelregime.empirical import model as models
from kernelregime.empirical.adapters import Model, as_model
from kernelregime.empirical.compiled import PROGRAMS
from kernelregime.empirical.footprint import Footprint, footprint
from kernelregime.empirical.model import Function
from kernelregime.grams import identity

_MIRROR = {"trace": (1, 0), "diagonal": (1, 0, 2), "full": (1, 0, 3, 2)}
_AXES = {"trace": (), "diagonal": ("output",), "full": ("output1", "output2")}


def ntk(
    model: Any,
    x1: Num[ArrayLike, "N1 ..."],
    x2: Num[ArrayLike, "N2 ..."] | None = None,
    *,
    output: str = "trace",
    by_layer: bool = False,
    method: str = "auto",
    memory: int | None = None,
    dtype: Any = None,
    engine: str = "threads",
    workers: int | None = None,
    store: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Float[np.ndarray, "N1 N2 ..."]:
    """The empirical neural tangent kernel of anyone's network, for any number of points.

    Θ(x, x')_{oo'} = Σ_p ∂f_o(x)/∂θ_p · ∂f_o'(x')/∂θ_p, over all entries θ_p of the floating-point leaves of params.

    `model`: a pair (f, params) of a network, or of any pure f(params, x) with params any pytree, x (N, ...), outputs (N,) or (N, O), each
    row on its own; or a bound Flax linen module, an NNX, Equinox or PyTorch module (computed in torch: see docs/torch.md).
    `x1` (N1, ...), `x2` (N2, ...); x2=None stands for x1. `output`: "trace", the mean over outputs (1/O) Σ_o Θ_oo, which tends to the
    infinite-width kernel; "full";
    "diagonal", Θ_oo. `by_layer` (PyTorch): a dict of kernels that add up to it, by the names of the modules that hold parameters.
    `method`: "jacobian", "structured" or "auto", as in `ntk_function`; all agree to rounding.
    `memory`: bytes for what is computed at one time, the parameters and the whole result apart (default: half of the free memory of
    the device or host); no size has to divide another. `dtype`: float32 or float64, to which params and floating-point x are cast
    (default: that of params; half precision counts as float32). `engine`: "threads", "processes", "dask" or "dask:tcp://HOST:PORT",
    with so many `workers` (in processes, f must be a function of a module); `store`: a path for a Zarr store, in which a run that was
    stopped goes on; see `grams.assemble`. `progress(done, total)` is called after every tile. The compiled program is kept with `f`:
    further calls with the same `f` and shapes do not trace it again.

    Returns: array (N1, N2) for "trace", (N1, N2, O, O) for "full" (axes n1, n2, o1, o2), (N1, N2, O) for "diagonal"; with a store an
    `xarray.DataArray` that reads what is used when it is used.
    Raises: `InputError` for NaN or infinite params, points or kernels, for shapes that do not fit, for an f that does not compute in
    `dtype` or whose rows depend on one another, and for a budget too small for a pair of points.

    Source: Lee et al. (2019), arXiv:1902.06720, eq. 4; structured derivatives: Novak et al. (2022), arXiv:2206.08720.

    >>> ntk((lambda params, x: x @ params, np.ones((2, 1))), np.eye(2))
    array([[1., 0.],
           [0., 1.]])
    """
    taken = as_model(model)
    if not isinstance(taken, Model):  # a module of PyTorch, which is computed there
        options = {"method": method, "memory": memory, "dtype": dtype, "engine": engine, "workers": workers}
        return taken.ntk(x1, x2, output=output, by_layer=by_layer, store=store, progress=progress, **options)
    if by_layer:
        raise _checks.fail("by_layer=True for a PyTorch module", "a model in JAX", "leave by_layer out")
    _checks.one_of("output", output, kernel.OUTPUTS)
    _checks.one_of("method", method, kernel.METHODS)
    f, working = taken.f, models.precision(taken.params, dtype)
    with _precision.enter(working):
        params = models.cast(taken.params, working)
        first = models.points("x1", x1, working)
        second = first if x2 is None else models.points("x2", x2, working)
        models.check_pair(first, second)
        size = sizes(f, params, first, output=output, method=method)
        models.check_dtype(size.dtype, working)
        check_rows(f, params, first, second)
        run = grams.engine(engine, workers)
        chunk, budget = share(grams.memory_budget(memory) // run.workers, size, max(len(first), len(second)))
    result = grams.assemble(
        grams.Problem(
            _Tiles(f, output, method, chunk, params, first, None if x2 is None else second, working),
            len(first),
            None if x2 is None else len(second),
            outputs={"ntk": grams.Output(kernel.tail(output, size.outputs), _MIRROR[output], _AXES[output])},
            dtype=working,
            bytes_per_pair=size.bytes_per_pair,
            bytes_per_point=size.bytes_kept_per_point if chunk else size.bytes_per_point,
            identity=lambda: _identity(f, params, first, None if x2 is None else second, output),
        ),
        memory=budget * run.workers,
        engine=engine,
        workers=workers,
        store=store,
        progress=progress,
    )
    return result.matrices["ntk"]


def _identity(f: Function, params: PyTree, first: np.ndarray, second: np.ndarray | None, output: str) -> dict[str, Any]:
    """What tells a kernel from others: f by its name and its values at the first points, all data by fingerprints."""
    leaves, structure = jax.tree.flatten(params)
    named = f if hasattr(f, "__qualname__") else type(f)
    with _precision.enter(models.precision(params, None)):
        values = f(params, first[:2])
    return {
        "f": f"{named.__module__}.{named.__qualname__}",
        "values": identity.rounded(values)[:20],
        "params": [str(structure), *(identity.fingerprint(np.asarray(leaf)) for leaf in leaves)],
        "x1": identity.fingerprint(first),
        "x2": None if second is None else identity.fingerprint(second),
        "output": output,
    }


def sizes(f: Function, params: PyTree, x: Any, *, output: str, method: str) -> Footprint:
    """The footprint of the kernel, kept with `f`: finding it traces `f`."""

    def build(reference: Callable[[], Function]) -> Footprint:
        point = jax.eval_shape(lambda points: points[0], x)  # the dtype JAX gives the points: without 64 bits it has no int64
        return footprint(reference(), params, point, output=output, method=method)

    return PROGRAMS.get(f, (output, method, *_shapes(params, x)), build)


def _shapes(params: PyTree, x: Any) -> tuple[Any, ...]:
    leaves, structure = jax.tree.flatten(params)
    return structure, tuple((leaf.shape, str(leaf.dtype)) for leaf in leaves), x.shape[1:], str(x.dtype)


def share(memory: int | None, size: Footprint, n: int) -> tuple[int | None, int]:
    """The points whose gradients are found at one time (None: all of a tile), and the bytes left for a tile; `InputError` if too few.

    Where not all points fit, and gradients need more memory while they are found than while they wait, they are found in one half of
    it and wait in the other.
    """
    given = grams.memory_budget(memory)
    side = 2 * size.bytes_per_point  # a point of the rows and one of the columns
    need = math.ceil(size.bytes_once + side + 2 * size.bytes_kept_per_point + size.bytes_per_pair)
    if given < need:
        raise _checks.fail(f"a memory budget of at least {need} bytes (one pair of points)", f"{given} bytes", "give a larger memory=")
    left = given - size.bytes_once
    if side * n + size.bytes_per_pair * n**2 <= left or size.bytes_per_point <= 2 * size.bytes_kept_per_point:
        return None, math.floor(left)
    chunk = max(1, math.floor(left / 2 / side))
    return chunk, math.floor(left - chunk * side)


def check_rows(f: Function, params: PyTree, x1: np.ndarray, x2: np.ndarray) -> None:
    """`InputError` if `f` at two points is not `f` at each alone; tried once for every `f` and shapes."""
    others = (row for x in (x1, x2) for row in x if not np.array_equal(row, x1[0]))
    pair = np.stack([x1[0], next(others, x1[0])])
    PROGRAMS.get(f, ("rows", *_shapes(params, x1)), lambda reference: models.check_rows(reference(), params, pair))


def finite(result: np.ndarray) -> np.ndarray:
    """`result`, unless it holds NaN or infinite values."""
    if not np.isfinite(result).all():
        got = f"{np.count_nonzero(~np.isfinite(result))} NaN or infinite values"
        raise _checks.fail("a finite kernel", got, "look for overflow in f, or a point where f has no derivative (a norm or root at 0)")
    return result


def _compile(reference: Callable[[], Function], output: str, method: str, chunk: int | None) -> Callable[..., Any]:
    def compute(params: Any, x1: Any, x2: Any) -> Any:
        find = kernel.finder(reference(), params, x1, method)
        rows = kernel.gradients(find, x1, chunk=chunk)
        return kernel.contract(rows, rows if x2 is None else kernel.gradients(find, x2, chunk=chunk), output)

    return jax.jit(compute)


class _Tiles:
    """Tiles of a kernel, all of the shape of the largest so far, so that one compiled program serves all rectangular ones."""

    def __init__(
        self,
        f: Function,
        output: str,
        method: str,
        chunk: int | None,
        params: Any,
        first: np.ndarray,
        second: np.ndarray | None,
        dtype: np.dtype,
    ) -> None:
        self.f, self.options, self.params, self.first, self.second, self.dtype = f, (output, method, chunk), params, first, second, dtype
        self.shape = (0, 0)
        self.compute: Callable[..., Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without the compiled program; parameters as NumPy arrays, which keep their 64 bits wherever they are read."""
        return {**self.__dict__, "compute": None, "params": jax.tree.map(np.asarray, self.params)}

    def __call__(self, rows: slice, columns: slice) -> grams.Block:
        counts = rows.stop - rows.start, columns.stop - columns.start
        self.shape = height, width = max(self.shape[0], counts[0]), max(self.shape[1], counts[1])
        x1 = _padded(self.first[rows], height)
        if self.second is None and rows == columns:
            x2 = None  # the gradients of each point are found once
        else:
            x2 = _padded((self.first if self.second is None else self.second)[columns], width)
        with _precision.enter(self.dtype):
            self.compute = self.compute or PROGRAMS.get(self.f, self.options, lambda reference: _compile(reference, *self.options))
            block = _precision.to_host(self.compute(self.params, x1, x2), self.dtype)
        return grams.Block({"ntk": finite(block[: counts[0], : counts[1]])})


def _padded(x: np.ndarray, rows: int) -> np.ndarray:
    """`x` with its last row repeated up to `rows` rows."""
    return x if len(x) == rows else np.concatenate([x, np.repeat(x[-1:], rows - len(x), axis=0)])
