"""Tiles of a kernel: compiled once, gradients found for as many points at a time as the memory allows."""

from collections.abc import Callable
from functools import partial, reduce
from operator import add
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from kernelregime import _checks, _precision, grams
from kernelregime.empirical import kernel
from kernelregime.empirical import model as models
from kernelregime.empirical.compiled import PROGRAMS
from kernelregime.empirical.kernel import Options
from kernelregime.empirical.model import Function


def trained_groups(params: PyTree) -> tuple[str, ...]:
    """The group of each trained leaf: the dotted path of its parent, or of itself at the top."""
    return tuple(path.rpartition(".")[0] or path for path in trained_paths(params).values())


def trained_paths(params: PyTree) -> dict[int, str]:
    """The dotted path of each trained leaf, by its number."""
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    return {
        index: jax.tree_util.keystr(paths[index], simple=True, separator=".") or "params" for index in models.parameters(params).trained
    }


def finite(result: np.ndarray) -> np.ndarray:
    """`result`, unless it holds NaN or infinite values."""
    if not np.isfinite(result).all():
        got = f"{np.count_nonzero(~np.isfinite(result))} NaN or infinite values"
        raise _checks.fail("a finite kernel", got, "look for overflow in f, or a point where f has no derivative (a norm or root at 0)")
    return result


class Tiles:
    """Tiles of a kernel, all of the shape of the largest so far, so that one compiled program serves all rectangular ones."""

    def __init__(
        self,
        f: Function,
        options: Options,
        names: tuple[str, ...],
        chunk: int | None,
        passes: tuple[tuple[int, ...] | None, ...],
        params: Any,
        first: np.ndarray,
        second: np.ndarray | None,
        dtype: np.dtype,
    ) -> None:
        self.f, self.options, self.names, self.chunk, self.passes, self.dtype = f, options, names, chunk, passes, dtype
        self.params, self.first, self.second = params, first, second
        self.shape = (0, 0)
        self.compute: Callable[..., list[Any]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without the compiled program; parameters as NumPy arrays, which keep their 64 bits wherever they are read."""
        return {**self.__dict__, "compute": None, "params": jax.tree.map(np.asarray, self.params)}

    def __call__(self, rows: slice, columns: slice) -> grams.Block:
        """The kernels at some rows and columns."""
        counts = rows.stop - rows.start, columns.stop - columns.start
        self.shape = height, width = max(self.shape[0], counts[0]), max(self.shape[1], counts[1])
        x1 = filled(self.first[rows], height)
        if self.second is None and rows == columns:
            x2 = None  # the gradients of each point are found once
        else:
            x2 = filled((self.first if self.second is None else self.second)[columns], width)
        with _precision.enter(self.dtype):
            self.compute = self.compute or self._compiled
            found = self.compute(self.params, x1, x2, self.chunk)
            parts = [_precision.to_host(part, self.dtype)[: counts[0], : counts[1]] for part in found]
            groups = self.names * len(parts) if len(self.names) == 1 else trained_groups(self.params)
        blocks = {name: reduce(add, (part for part, group in zip(parts, groups, strict=True) if group == name)) for name in self.names}
        return grams.Block({name: finite(block) for name, block in blocks.items()})

    @property
    def _compiled(self) -> Callable[..., list[Any]]:
        if self.chunk is None:
            return PROGRAMS.get(self.f, (self.options, "whole"), lambda reference: _whole(reference, self.options))
        every = [self._of_pass(self.options._replace(only=only)) for only in self.passes]
        return lambda *given: reduce(lambda one, other: list(map(add, one, other)), (compute(*given) for compute in every))

    def _of_pass(self, options: Options) -> Callable[..., list[Any]]:
        return PROGRAMS.get(self.f, (options, "in chunks"), lambda reference: _in_chunks(reference, options))


def _whole(reference: Callable[[], Function], options: Options) -> Callable[..., list[Any]]:
    """The parts of the kernel for all points of a tile at one time."""
    compute = jax.jit(lambda params, x1, x2: kernel.parts(reference(), params, x1, x2, options))
    return lambda params, x1, x2, _: compute(params, x1, x2)


def _in_chunks(reference: Callable[[], Function], options: Options) -> Callable[..., list[Any]]:
    """The parts of the kernel from gradients that are found for some points after others.

    The loop over points is one of Python: in loops of its own XLA takes nine to twenty times as long for convolutions on a CPU.
    """
    leaves: list[tuple[int, ...]] = []  # of the sources, told when the gradients are traced

    def found(params: Any, x: Any) -> Any:
        rows, of = kernel.gradients(reference(), params, x, options)
        leaves[:] = [of]
        return rows

    find, put = jax.jit(found), jax.jit(_put, donate_argnums=0)
    contract = jax.jit(lambda rows, columns, trained: kernel.contracted(rows, columns, leaves[0], trained, options), static_argnums=2)

    def gradients(params: Any, x: np.ndarray, chunk: int) -> Any:
        count = min(chunk, len(x))
        form = jax.eval_shape(find, params, x[:count])
        whole = jax.tree.map(lambda leaf: jnp.zeros((len(x), *leaf.shape[1:]), leaf.dtype), form)
        for start in range(0, len(x), count):
            begin = min(start, len(x) - count)
            whole = jax.block_until_ready(put(whole, find(params, x[begin : begin + count]), begin))  # not several at one time
        return whole

    def compute(params: Any, x1: np.ndarray, x2: np.ndarray | None, chunk: int) -> list[Any]:
        rows = gradients(params, x1, chunk)
        columns = None if x2 is None else gradients(params, x2, chunk)
        return contract(rows, columns, models.parameters(params).trained)

    return compute


def _put(whole: PyTree, part: PyTree, start: Any) -> PyTree:
    return jax.tree.map(partial(_rows_put, start), whole, part)


def _rows_put(start: Any, whole: Any, part: Any) -> Any:
    return jax.lax.dynamic_update_slice_in_dim(whole, part, start, axis=0)


def filled(x: np.ndarray, rows: int) -> np.ndarray:
    """`x` with its last row repeated up to `rows` rows."""
    return x if len(x) == rows else np.concatenate([x, np.repeat(x[-1:], rows - len(x), axis=0)])
