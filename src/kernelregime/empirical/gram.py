"""The finite-width neural tangent kernel on the host: any number of points, in tiles within a memory budget."""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Num, PyTree

from kernelregime import _checks, _precision, grams
from kernelregime.empirical import kernel
from kernelregime.empirical import model as models
from kernelregime.empirical.adapters import Model, as_jax, as_model
from kernelregime.empirical.compiled import PROGRAMS
from kernelregime.empirical.contraction import MIRROR
from kernelregime.empirical.footprint import Footprint, footprint
from kernelregime.empirical.kernel import Options
from kernelregime.empirical.model import Function
from kernelregime.empirical.plan import Analysis, analysis, program_of
from kernelregime.empirical.tiles import Tiles, trained_groups
from kernelregime.grams import identity

_AXES = {"trace": (), "pseudo": (), "diagonal": ("output",), "full": ("output1", "output2")}


def ntk(
    model: Any,
    x1: Num[ArrayLike, "N1 ..."],
    x2: Num[ArrayLike, "N2 ..."] | None = None,
    *,
    output: str = "trace",
    by_layer: bool = False,
    method: str = "auto",
    memory: float | None = None,
    dtype: Any = None,
    engine: str = "threads",
    workers: int | None = None,
    store: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Any:
    """The empirical neural tangent kernel of anyone's network, for any number of points.

    Θ(x, x')_{oo'} = Σ_p ∂f_o(x)/∂θ_p · ∂f_o'(x')/∂θ_p, over all entries θ_p of the trained parameters.

    `model`: a pair (f, params) of a network, or of any pure f(params, x) with params any pytree, of which floating-point leaves are
    trained, x (N, ...), outputs (N,) or (N, O), each row on its own; or a bound Flax linen module or (module, variables), an NNX
    module, an Equinox module or (module, state), in evaluation mode; or a PyTorch module, computed in torch (see docs/torch.md).
    `x1` (N1, ...), `x2` (N2, ...); x2=None stands for x1. `output`: "trace", the mean over outputs (1/O) Σ_o Θ_oo, which tends to the
    infinite-width kernel; "full"; "diagonal", Θ_oo; "pseudo", the kernel of Σ_o f_o/√O. `by_layer`: the kernel of every group of
    parameters, which add up to the whole. `method`: "jacobian", "structured", "products" or "auto", as in `ntk_function`; all agree to
    rounding; "auto" takes products where nothing else fits into the memory. What it chose: `explain`.
    `memory`: bytes for what is computed at one time, the parameters and the whole result apart (default: half of the free memory of
    the device or host); no size has to divide another. `dtype`: float32 or float64, to which params and floating-point x are cast
    (default: that of params; half precision counts as float32). `engine`: "threads", "processes", "dask" or "dask:tcp://HOST:PORT",
    with so many `workers` (in processes, f must be a function of a module); `store`: a path for a Zarr store, in which a run that was
    stopped goes on; see `grams.assemble`. `progress(done, total)` is called after every tile. The compiled program is kept with `f`:
    further calls with the same `f` and shapes do not trace it again.

    Returns: array (N1, N2) for "trace" and "pseudo", (N1, N2, O, O) for "full" (axes n1, n2, o1, o2), (N1, N2, O) for "diagonal"; by
    layer, such arrays by the dotted path of the parameters' parent, or of the parameter itself if it has none. With a store an
    `xarray.DataArray` that reads what is used when it is used.
    Raises: `InputError` for NaN or infinite params, points or kernels, for shapes that do not fit, for an f that does not compute in
    `dtype` or whose rows depend on one another, and for a budget too small for a pair of points.

    Source: Lee et al. (2019), arXiv:1902.06720, eq. 4; structured derivatives: Novak et al. (2022), arXiv:2206.08720.

    >>> ntk((lambda params, x: x @ params, np.ones((2, 1))), np.eye(2))
    array([[1., 0.],
           [0., 1.]])
    """
    given = as_model(model)
    if not isinstance(given, Model):  # a module of PyTorch, which is computed there
        options = {"output": output, "by_layer": by_layer, "method": method, "memory": memory, "dtype": dtype}
        return given.ntk(x1, x2, **options, engine=engine, workers=workers, store=store, progress=progress)
    task = prepare(
        given, x1, x2, output=output, by_layer=by_layer, method=method, memory=memory, dtype=dtype, engine=engine, workers=workers
    )
    result = grams.assemble(task.problem, memory=task.memory, engine=engine, workers=workers, store=store, progress=progress)
    return dict(result.matrices) if by_layer else result.matrices["ntk"]


@dataclass(frozen=True)
class Given:
    """A model and two sets of points (of one set twice), checked, in one precision; `outputs`: how many."""

    f: Function
    params: PyTree
    first: np.ndarray
    second: np.ndarray
    dtype: np.dtype
    outputs: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Share:
    """Gradients of `chunk` points at one time (None: all of a tile), and `left` bytes for tiles, of which a point takes some.

    `passes`: the numbers of the groups whose gradients wait at one time (None: of all).
    """

    chunk: int | None
    left: int
    bytes_per_point: float
    passes: tuple[tuple[int, ...] | None, ...] = (None,)


@dataclass(frozen=True)
class Task:
    """A kernel that is about to be computed: what for, how, and what it takes."""

    problem: grams.Problem
    memory: int
    options: Options
    analysis: Analysis
    size: Footprint
    params: PyTree
    notes: tuple[str, ...]
    passes: int


def prepare(
    model: Any,
    x1: Any,
    x2: Any,
    *,
    output: str,
    by_layer: bool,
    method: str,
    memory: float | None,
    dtype: Any,
    engine: str = "threads",
    workers: int | None = None,
) -> Task:
    """What `ntk` is to compute, checked, and the way it is going to."""
    _checks.one_of("output", output, kernel.OUTPUTS)
    _checks.one_of("method", method, kernel.METHODS)
    if by_layer and method == "products":
        raise _checks.fail("another method for kernels by layer", "method='products'", "products give the sum over all parameters alone")
    given = checked(model, x1, x2, dtype)
    f, params, first, second, working = given.f, given.params, given.first, given.second, given.dtype
    with _precision.enter(working):
        found = analysed(f, params, first, output)
        run = grams.engine(engine, workers)
        budget, points = grams.memory_budget(memory) // run.workers, max(len(first), len(second))
        alone = x2 is None and run.workers == 1
        options, size, way = _way(f, params, first, Options(output, method, by_layer), found, memory=budget, points=points, alone=alone)
    names = tuple(dict.fromkeys(trained_groups(params))) if by_layer else ("ntk",)
    form = grams.Output(kernel.tail(output, found.outputs), MIRROR["trace" if output == "pseudo" else output], _AXES[output])
    tiles = Tiles(f, options, names, way.chunk, way.passes, params, first, None if x2 is None else second, working)
    problem = grams.Problem(
        tiles,
        len(first),
        None if x2 is None else len(second),
        outputs=dict.fromkeys(names, form),
        dtype=working,
        bytes_per_pair=size.bytes_per_pair,
        bytes_per_point=way.bytes_per_point,
        identity=lambda: _identity(f, params, first, None if x2 is None else second, output, by_layer=by_layer),
    )
    return Task(problem, way.left * run.workers, options, found, size, params, given.notes, len(way.passes))


def checked(model: Any, x1: Any, x2: Any, dtype: Any) -> Given:
    """The model and points of a kernel as `ntk` takes them; `InputError` for what it refuses."""
    taken = as_jax(model)
    f, working = taken.f, models.precision(taken.params, dtype)
    with _precision.enter(working):
        params = models.cast(taken.params, working)
        first = models.points("x1", x1, working)
        second = first if x2 is None else models.points("x2", x2, working)
        models.check_pair(first, second)
        point = models.shape_of_point(first)
        result = PROGRAMS.get(f, ("outputs", *models.shapes(params, first)), lambda f: models.outputs(f(), params, point))
        models.check_dtype(result.dtype, working)
        check_rows(f, params, first, second)
    return Given(f, params, first, second, working, result.size, taken.notes)


def _way(
    f: Function, params: PyTree, x: np.ndarray, options: Options, found: Analysis, *, memory: int, points: int, alone: bool
) -> tuple[Options, Footprint, Share]:
    """The options with the forms of the products, what they take, and how the memory is used."""
    if options.method != "products":
        chosen = with_forms(options, found, points=points, memory=memory / 2)
        size = sizes(f, params, x, chosen)
        if fits(memory, size) or options.method != "auto" or options.apart:
            way = share(memory, size, points, alone=alone)
            return chosen, size, (in_passes(way, chosen, found, size, points) if alone else way)
    chosen = options._replace(method="products")
    size = sizes(f, params, x, chosen)
    return chosen, size, share(memory, size, points)


def with_forms(options: Options, found: Analysis, *, points: int, memory: float | None = None) -> Options:
    """The options with the forms of the products for so many points, and bytes for gradients."""
    if options.method == "products":
        return options
    forms = found.forms(options.method, options.output, points=points, memory=memory)
    return options._replace(method="jacobian") if forms is None else options._replace(method="structured", forms=forms)


def _identity(f: Function, params: PyTree, first: np.ndarray, second: np.ndarray | None, output: str, *, by_layer: bool) -> dict[str, Any]:
    """What tells a kernel from others: f by its name and its values at the first points, all data by fingerprints."""
    leaves, structure = jax.tree.flatten(params)
    named = f if hasattr(f, "__qualname__") else type(f)
    with _precision.enter(models.precision(params, None)):
        values = f(params, jax.numpy.asarray(first[:2]))
    return {
        "f": f"{named.__module__}.{named.__qualname__}",
        "values": identity.rounded(values)[:20],
        "params": [str(structure), *(identity.fingerprint(np.asarray(leaf)) for leaf in leaves)],
        "x1": identity.fingerprint(first),
        "x2": None if second is None else identity.fingerprint(second),
        "output": output,
        **({"by_layer": True} if by_layer else {}),
    }


def analysed(f: Function, params: PyTree, x: Any, output: str) -> Analysis:
    """How the parameters of `f` enter, kept with `f`: finding it traces `f`."""

    def build(reference: Callable[[], Function]) -> Analysis:
        held, point = models.parameters(params), models.shape_of_point(x)
        models.outputs(reference(), params, point)
        return analysis(program_of(kernel.one_output(reference(), output)[0], held, point), held.trained)

    return PROGRAMS.get(f, ("analysis", output == "pseudo", *models.shapes(params, x)), build)


def sizes(f: Function, params: PyTree, x: Any, options: Options) -> Footprint:
    """The footprint of the kernel, kept with `f`: finding it traces `f`."""
    return PROGRAMS.get(
        f, (options, *models.shapes(params, x)), lambda reference: footprint(reference(), params, models.shape_of_point(x), options)
    )


def least(size: Footprint) -> int:
    """Bytes for one pair of points."""
    return math.ceil(size.bytes_once + 2 * size.bytes_per_point + 2 * size.bytes_kept_per_point + size.bytes_per_pair)


def fits(memory: int, size: Footprint) -> bool:
    """Whether at least a pair of points does."""
    return least(size) <= memory


def share(memory: float | None, size: Footprint, n: int, *, alone: bool = False) -> Share:
    """The best use of the memory for n points, of a kernel of one set of points if `alone`; `InputError` if a pair does not fit.

    Gradients of one set wait for one another once, in a single tile if they fit. Where not all points fit, and gradients need more
    memory while they are found than while they wait, they are found in one half of it and wait in the other.
    """
    given, side = grams.memory_budget(memory), 2 * size.bytes_per_point  # a point of the rows and one of the columns
    need = least(size)
    if given < need:
        raise _checks.fail(f"a memory budget of at least {need} bytes (one pair of points)", f"{given} bytes", "give a larger memory=")
    left = given - size.bytes_once
    if side * n + size.bytes_per_pair * n**2 <= left:
        return Share(None, math.floor(left), size.bytes_per_point)
    found = math.floor((left - n * size.bytes_kept_per_point - n**2 * size.bytes_per_pair) / size.bytes_per_point)
    if alone and found >= 1 and n <= grams.LARGEST_TILE:
        return Share(min(found, n), math.floor(left), 0)
    if size.bytes_per_point <= 2 * size.bytes_kept_per_point:
        return Share(None, math.floor(left), size.bytes_per_point)
    chunk = max(1, math.floor(left / 2 / side))
    return Share(chunk, math.floor(left - chunk * side), size.bytes_kept_per_point)


def in_passes(way: Share, options: Options, found: Analysis, size: Footprint, n: int) -> Share:
    """Gradients of some groups after those of others, all points in one tile, where that finds them less often than several tiles would."""
    if options.forms is None or n > grams.LARGEST_TILE or way.bytes_per_point == 0:
        return way
    groups = [replace(group, form=form) for group, form in zip(found.groups, options.forms, strict=True)]
    kept = [group.kept(found.outputs) for group in groups]
    tiles = n * 2 * way.bytes_per_point / max(way.left, 1)  # a side, if pairs take nothing: as often every gradient is found
    for count in range(2, min(len(groups), math.ceil(tiles) - 1) + 1):
        sums = np.cumsum(kept) - np.asarray(kept) / 2
        of = np.minimum(count * sums / sum(kept), count - 1).astype(int)
        passes = tuple(tuple(int(i) for i in np.flatnonzero(of == k)) for k in range(count))
        share_of = max(sum(kept[i] for i in one) for one in passes) / sum(kept)
        chunk = math.floor((way.left - n * share_of * size.bytes_kept_per_point - n**2 * size.bytes_per_pair) / size.bytes_per_point)
        if chunk >= 1 and all(passes):
            return Share(min(chunk, n), way.left, 0, passes)
    return way


def check_rows(f: Function, params: PyTree, x1: np.ndarray, x2: np.ndarray) -> None:
    """`InputError` if `f` at two points is not `f` at each alone; tried once for every `f` and shapes."""
    pair = models.two_points(x1, x2)
    PROGRAMS.get(f, ("rows", *models.shapes(params, x1)), lambda reference: models.check_rows(reference(), params, pair))
