"""A model as this package sees it: `f(params, x)`, the differentiable leaves of its parameters, the shape of its outputs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kernelregime import _checks, _precision
from kernelregime.layers import Layer
from kernelregime.layers.rates import check_one_rate

Function = Callable[[Any, Any], Any]
STEP = float(jnp.finfo(jnp.bfloat16).eps) ** 0.5  # of parameters, relative: what may be lost in rounding moves outputs by less


@partial(jax.tree_util.register_dataclass, data_fields=("value",), meta_fields=())
@dataclass(frozen=True)
class Frozen:
    """A part of `params` that is not trained: running averages, say."""

    value: Any


@dataclass(frozen=True)
class Parameters:
    """A pytree of parameters as a flat list of leaves; `trained` are the numbers of the floating-point ones that are not `frozen`."""

    leaves: list[Any]
    trained: tuple[int, ...]
    structure: Any
    frozen: tuple[int, ...] = ()

    def replace(self, trained: Sequence[Any]) -> list[Any]:
        """All leaves, the floating-point ones replaced."""
        leaves = list(self.leaves)
        for index, value in zip(self.trained, trained, strict=True):
            leaves[index] = value
        return leaves

    def rebuild(self, trained: Sequence[Any]) -> Any:
        """The pytree with its floating-point leaves replaced."""
        return jax.tree.unflatten(self.structure, self.replace(trained))

    @property
    def values(self) -> list[Any]:
        """The floating-point leaves."""
        return [self.leaves[index] for index in self.trained]


def parameters(params: Any) -> Parameters:
    """`params` taken apart; `InputError` if a leaf is no array of numbers or none is floating-point."""
    leaves, structure = jax.tree.flatten(params)
    leaves = [jnp.asarray(leaf) if isinstance(leaf, (bool, int, float, complex)) else leaf for leaf in leaves]
    for leaf in leaves:
        if not hasattr(leaf, "dtype"):
            raise _checks.fail("params to hold arrays only", f"a leaf of type {type(leaf).__name__}", "close f over what is not trained")
        if jnp.issubdtype(leaf.dtype, jnp.complexfloating):
            raise _checks.fail("real params", f"a leaf of dtype {leaf.dtype}", "write f in terms of real and imaginary parts")
    floating = [index for index, leaf in enumerate(leaves) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    held = _held(params)
    trained = tuple(index for index in floating if not held[index])
    if not trained:
        raise _checks.fail("params with floating-point arrays", f"{len(leaves)} leaves, none of them", "pass the trained parameters")
    return Parameters(leaves, trained, structure, tuple(index for index in floating if held[index]))


def _held(params: Any) -> list[bool]:
    """Of each leaf, whether it is in a `Frozen`."""
    nodes = jax.tree.leaves(params, is_leaf=lambda node: isinstance(node, Frozen))
    return [isinstance(node, Frozen) for node in nodes for _ in (jax.tree.leaves(node) if isinstance(node, Frozen) else (node,))]


def precision(params: Any, dtype: Any) -> np.dtype:
    """The working precision: `dtype`, or that of the floating-point arrays in `params`."""
    return _precision.resolve(dtype, *parameters(params).values)


def in_precision(params: Any, dtype: np.dtype) -> Any:
    """`params`, arrays or shapes, with the floating-point leaves in `dtype`."""
    return _floating(params, lambda leaf: _leaf_in_precision(leaf, dtype))


def _leaf_in_precision(leaf: Any, dtype: np.dtype) -> Any:
    return leaf.update(dtype=dtype) if isinstance(leaf, jax.ShapeDtypeStruct) else leaf.astype(dtype)


def cast(params: Any, dtype: np.dtype) -> Any:
    """`params` with its floating-point leaves in `dtype`, on the device; `InputError` if one is NaN or infinite."""

    def convert(leaf: Any) -> Any:
        value = leaf if leaf.dtype == dtype else np.asarray(leaf).astype(dtype)
        if not np.isfinite(np.asarray(value)).all():
            raise _checks.fail("finite params", "NaN or infinite values", "look for divergence in training or at initialization")
        return value if isinstance(value, jax.Array) else jnp.asarray(value)

    return _floating(params, convert)


def _floating(params: Any, change: Callable[[Any], Any]) -> Any:
    """`params` with `change` made to the floating-point leaves, trained or not."""
    held = parameters(params)
    chosen = {*held.trained, *held.frozen}
    leaves = [change(leaf) if index in chosen else leaf for index, leaf in enumerate(held.leaves)]
    return jax.tree.unflatten(held.structure, leaves)


def points(name: str, x: Any, dtype: np.dtype) -> np.ndarray:
    """Checked points on the host; floating-point ones in `dtype`, integers (tokens, pixels) as they are."""
    if isinstance(x, dict) or (isinstance(x, tuple) and any(isinstance(part, dict) for part in x)):
        raise _checks.fail(f"{name} to be an array of points", f"a {type(x).__name__}, as of params", "give f, params and x1 in this order")
    out = _checks.array(name, x)
    if out.ndim == 0:
        raise _checks.fail(f"{name} to have one row for every point", "a single number", "give an array of shape (N, ...)")
    return out if out.dtype.kind in "iub" else out.astype(dtype)


def shape_of_point(x: Any) -> jax.ShapeDtypeStruct:
    """The shape of one of the points `x`, with the dtype JAX gives it: without 64 bits it has no int64."""
    return jax.eval_shape(lambda points: points[0], x)


def shapes(params: Any, x: Any) -> tuple[Any, ...]:
    """What tells the programs of one function at other parameters and points from one another."""
    leaves, structure = jax.tree.flatten(params)
    return structure, tuple((leaf.shape, leaf.dtype) for leaf in leaves), x.shape[1:], x.dtype


def check_pair(x1: Any, x2: Any) -> None:
    """`InputError` unless the points of both arguments have one shape."""
    if x1.shape[1:] != x2.shape[1:]:
        got = f"{tuple(x1.shape[1:])} and {tuple(x2.shape[1:])}"
        raise _checks.fail("x1 and x2 to hold points of one shape", got, "give both the same shape")


def two_points(x1: np.ndarray, x2: np.ndarray) -> np.ndarray:
    """The first point and another one, if there is another."""
    others = (row for x in (x1, x2) for row in x if not np.array_equal(row, x1[0]))
    return np.stack([x1[0], next(others, x1[0])])


def check_dtype(found: Any, asked: np.dtype) -> None:
    """`InputError` unless `f` computes in the working precision."""
    if found != asked:
        do = f"do not fix a dtype inside f, or give dtype={str(found)!r}"
        raise _checks.fail(f"f to compute in {asked}", f"{found} outputs", do)


def check_rows(f: Function, params: Any, pair: np.ndarray) -> None:
    """`InputError` if a row of `f` depends on another row, on its place, or on their number.

    With another beside it, a row goes through the same arithmetic. In another place or number it may be rounded differently, in bfloat16
    at worst, and depth may amplify that: it is told apart where it moves by more than a change of the parameters by √ε moves it.
    """
    compute = jax.jit(lambda params, x: jnp.reshape(f(params, x), (len(x), -1)))
    two, same, three = (np.asarray(compute(params, pair[rows]), np.float64) for rows in ([0, 1], [0, 0], [0, 0, 0]))
    moved = np.asarray(compute(_scattered(parameters(params), STEP), pair[[0, 0]]), np.float64)
    compare_rows(two, same, three, moved, parameters(params).values[0].dtype)


def compare_rows(two: np.ndarray, same: np.ndarray, three: np.ndarray, moved: np.ndarray, dtype: Any) -> None:
    """The same from outputs (rows, O): of the points [0, 1], [0, 0] and [0, 0, 0], and of [0, 0] with scattered parameters."""
    with np.errstate(invalid="ignore"):  # values that are not finite are told apart elsewhere
        largest = np.abs(same).max()
        beside = np.abs(two[0] - same[0]).max() > float(np.finfo(dtype).eps) ** 0.5 * largest
        elsewhere = np.abs(three - same[0]).max() > STEP * largest + np.abs(moved - same).max()
    if beside or elsewhere:
        got = f"rows that change with {'another row' if beside else 'their place or number'}"
        do = "take out batch statistics and dropout (for batch norm, use its running averages)"
        raise _checks.fail("f(params, x) to give each row of x on its own", got, do)


def _scattered(held: Parameters, step: float) -> Any:
    """The pytree with every parameter larger or smaller by the fraction `step`, at random."""
    rng = np.random.default_rng(0)
    values = [np.asarray(leaf) for leaf in held.values]
    up = (rng.integers(2, size=value.shape, dtype=bool) for value in values)
    return held.rebuild([np.where(sign, value * (1 + step), value * (1 - step)) for sign, value in zip(up, values, strict=True)])


def difference(params: Any, held: Parameters) -> list[jax.Array]:
    """The floating-point leaves of `params` less those of `held`; `InputError` unless structure and shapes agree."""
    given = parameters(params)
    if given.structure != held.structure or [jnp.shape(leaf) for leaf in given.leaves] != [jnp.shape(leaf) for leaf in held.leaves]:
        raise _checks.fail("params of the structure and shapes of params0", "others", "expand at parameters of the same model")
    old = held.values
    return [jnp.asarray(given.leaves[index] - value, value.dtype) for index, value in zip(held.trained, old, strict=True)]


def single(f: Function, held: Parameters) -> Callable[[Sequence[Any], Any], jax.Array]:
    """`f` at one point, as a function of the list of all leaves and the point, with outputs of shape (O,)."""

    def outputs(leaves: Sequence[Any], point: Any) -> jax.Array:
        return jnp.reshape(f(jax.tree.unflatten(held.structure, list(leaves)), point[None]), -1)

    return outputs


def outputs(f: Function, params: Any, point: Any) -> jax.ShapeDtypeStruct:
    """Shape (O,) and dtype of the outputs of `f` at one point; `InputError` unless it maps (N, ...) to (N,) or (N, O)."""
    try:
        one, three = (jax.eval_shape(f, params, _rows(point, rows)) for rows in (1, 3))
    except _checks.InputError:  # of a model of a library, which says what to do
        raise
    except Exception as error:  # any that f raises; those that are not ours to explain go on
        check_order(f, params, point, error)
        if not isinstance(error, TypeError | ValueError):
            raise
        expected = f"f(params, x) to accept x of shape {('N', *point.shape)}".replace("'", "")
        got = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise _checks.fail(expected, f"the error {got!r}", "check x and f") from error
    if not (hasattr(one, "shape") and hasattr(three, "shape")):
        do = "pass a function that returns the outputs alone"
        raise _checks.fail("f(params, x) to return one array of shape (N,) or (N, O)", f"a {type(one).__name__}", do)
    if one.shape[:1] != (1,) or three.shape[:1] != (3,) or one.shape[1:] != three.shape[1:] or len(one.shape) > 2:
        check_order(f, params, point)
        got = f"{tuple(one.shape)} for 1 point and {tuple(three.shape)} for 3"
        raise _checks.fail("f(params, x) to return shape (N,) or (N, O)", got, "reshape the outputs of f")
    if one.size == 0:
        raise _checks.fail("f(params, x) to return at least one output a point", f"shape {tuple(one.shape)}", "check the slices in f")
    if not jnp.issubdtype(one.dtype, jnp.floating):
        raise _checks.fail("f(params, x) to return floating-point outputs", f"dtype {one.dtype}", "return them before rounding or argmax")
    return jax.ShapeDtypeStruct((one.size,), one.dtype)


def check_order(f: Function, params: Any, point: Any, error: Exception | None = None) -> None:
    """`InputError` if `f`, which fails as f(params, x), gives outputs for all points as f(x, params)."""
    try:
        found = [jax.eval_shape(f, _rows(point, rows), params).shape[:1] for rows in (1, 3)]
    except Exception:  # the reverse fails too, in whatever way
        return
    if found == [(1,), (3,)]:
        do = "give params before x, or write lambda params, x: f(x, params)"
        raise _checks.fail("f(params, x)", "a function that works as f(x, params) alone", do) from error


def _rows(point: Any, rows: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((rows, *point.shape), point.dtype)


def function(f: Any) -> Function:
    """`f`, or the `apply` of a network; `InputError` for what cannot be called."""
    if isinstance(f, Layer):
        check_one_rate(f)
        return f.apply
    if not callable(f):
        do = "give its apply" if hasattr(f, "apply") else "give network.apply, or a function of yours"
        raise _checks.fail("f to be a function f(params, x) or a network", f"a {type(f).__name__}", do)
    return f
