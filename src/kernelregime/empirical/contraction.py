"""From the gradients of two sets of points to their kernel."""

from collections.abc import Callable, Sequence
from functools import reduce
from operator import add
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class Indexed(NamedTuple):
    """Inputs that are 1 in one place and 0 elsewhere, times a weight: `rows` and `weights` (N, B, P)."""

    rows: Array
    weights: Array


class Gradients(NamedTuple):
    """Gradients of N points with respect to the parameters that enter at one place: Σ_p source_bpk signal_obpm.

    `sources`: for every parameter there, what it is multiplied with, (N, B, P, K), or `Indexed`; ones for a parameter that is only
    added. `signals` (N, O, B, P, M): the gradients of the outputs with respect to the value at that place; or such of each
    parameter on its own.
    """

    sources: tuple[Any, ...]
    signals: Any


MIRROR = {"trace": (1, 0), "diagonal": (1, 0, 2), "full": (1, 0, 3, 2)}  # from Θ(x, x') to Θ(x', x)
SIDES, LEAST = 4, 96  # blocks of rows of a symmetric kernel, and rows a block that a product of matrices needs to be quick
ROWS = 256  # positions of rows in one product of matrices: fewer would read the columns for little
# From the axes (i, j), (o, i, j) and (i, o, j, p) of the products to rows, columns, outputs.
_ORDER = {"trace": (0, 1), "diagonal": (1, 2, 0), "full": (0, 2, 1, 3)}


def contract(rows: list[Gradients], columns: list[Gradients], output: str, *, apart: bool = False) -> Any:
    """The kernel from the gradients of both sets of points, (N1, N2, ...); with `apart` a list, that of each source on its own."""
    found = [part for r, c in zip(map(_single, rows), map(_single, columns), strict=True) for part in _parts(r, c, output, apart)]
    found = [part.transpose(_ORDER[output]) for part in found] if apart else [reduce(add, found).transpose(_ORDER[output])]
    return found if apart else found[0]


def contract_symmetric(rows: list[Gradients], output: str, *, apart: bool = False) -> Any:
    """The kernel of one set of points; of many, blocks on and below the diagonal alone are computed, and mirrored."""
    shape = jax.tree.leaves(rows)[-1].shape  # of signals, (N, O, ...)
    n, wide = shape[0], shape[0] * (shape[1] if output == "full" else 1)
    if wide < SIDES * LEAST or n < SIDES:
        return contract(rows, rows, output, apart=apart)
    ends = [n * (i + 1) // SIDES for i in range(SIDES)]
    strips = [_strip(rows, start, end, output, apart) for start, end in zip([0, *ends], ends, strict=False)]
    found = [_mirrored(list(parts), ends, output) for parts in zip(*strips, strict=True)]
    return found if apart else found[0]


def _strip(rows: list[Gradients], start: int, end: int, output: str, apart: bool) -> list[Array]:
    """Rows `start` to `end` of the kernel, up to the diagonal."""
    mine, others = (jax.tree.map(lambda leaf, a=a: leaf[a:end], rows) for a in (start, 0))
    found = contract(mine, others, output, apart=apart)
    return found if apart else [found]


def _mirrored(strips: list[Array], ends: list[int], output: str) -> Array:
    n = ends[-1]
    lower = jnp.concatenate([jnp.pad(part, [(0, 0), (0, n - part.shape[1])] + [(0, 0)] * (part.ndim - 2)) for part in strips])
    block = np.searchsorted(ends, np.arange(n), side="right")
    inside = (block[:, None] >= block).reshape(n, n, *(1,) * (lower.ndim - 2))
    return jnp.where(inside, lower, lower.transpose(MIRROR[output]))


def _single(given: Gradients) -> list[Gradients]:
    """Sources with signals in common, or each with its own."""
    if not isinstance(given.signals, tuple):
        return [given]
    return [Gradients((source,), signals) for source, signals in zip(given.sources, given.signals, strict=True)]


def _parts(rows: list[Gradients], columns: list[Gradients], output: str, apart: bool) -> list[Array]:
    return [part for r, c in zip(rows, columns, strict=True) for part in _of_place(r, c, output, apart)]


def _of_place(rows: Gradients, columns: Gradients, output: str, apart: bool) -> list[Array]:
    """The kernels of the parameters that enter at one place, or their sum, with axes in the order that products give (`_ORDER`)."""
    pairs = list(zip(rows.sources, columns.sources, strict=True))
    if rows.signals.shape[3] * columns.signals.shape[3] == 1:
        grams = [_sources(a, b) for a, b in pairs]
        return _one_position(grams if apart else [reduce(add, grams)], rows.signals.squeeze(3), columns.signals.squeeze(3), output)

    outputs, positions, n = rows.signals.shape[1], rows.signals.shape[3], len(columns.signals)
    sources = [_side_by_side(source) for source in columns.sources]
    signals = columns.signals
    if output == "trace":  # outputs and features as one, at each position
        rows, signals = rows._replace(signals=_outputs_last(rows.signals)), _side_by_side(_outputs_last(signals))

    def row(point: Gradients) -> list[Array]:
        grams = [_pairs_of_positions(a, b, n) for a, b in zip(point.sources, sources, strict=True)]
        grams = grams if apart else [reduce(add, grams)]
        if output == "trace":
            products = _pairs_of_positions(point.signals, signals, n)
            return [(gram * products).sum((0, 1, 3)) for gram in grams]
        return [_positions(gram, point.signals, signals, output) for gram in grams]

    found = jax.lax.map(row, rows, batch_size=min(max(1, ROWS // positions), len(rows.signals)))  # (i, j), (i, o, j) or (i, o, j, p)
    if output == "trace":
        return [part / outputs for part in found]
    return [part.transpose(1, 0, 2) for part in found] if output == "diagonal" else found


def _outputs_last(signals: Float[Array, "N O B P M"]) -> Float[Array, "N B P OM"]:
    moved = jnp.moveaxis(signals, 1, 3)
    return moved.reshape(*moved.shape[:3], -1)


def _sources(a: Any, b: Any) -> Float[Array, "B N1 N2"]:
    if isinstance(a, Indexed):
        same = a.rows[:, None, :, 0] == b.rows[None, :, :, 0]
        return jnp.moveaxis(jnp.where(same, a.weights[:, None, :, 0] * b.weights[None, :, :, 0], 0), 2, 0)
    return _products(a.squeeze(2), b.squeeze(2))


def _products(a: Float[Array, "N1 B K"], b: Float[Array, "N2 B K"]) -> Float[Array, "B N1 N2"]:
    if a.shape[1] == 1:  # one product of matrices
        return jnp.einsum("nk,mk->nm", a.squeeze(1), b.squeeze(1))[None]
    return jnp.einsum("nbk,mbk->bnm", a, b)


def _one_position(grams: Sequence[Array], left: Array, right: Array, output: str) -> list[Array]:
    """With signals (N, O, B, M) and the inner products of the sources (B, N1, N2)."""
    n, m, outputs, blocks = len(left), len(right), left.shape[1], left.shape[2]
    if output == "trace":
        one, other = (x if blocks == 1 else x.swapaxes(1, 2) for x in (left, right))
        signals = _products(one.reshape(n, blocks, -1), other.reshape(m, blocks, -1))
        return [(gram * signals).sum(0) / outputs if blocks > 1 else gram[0] * signals[0] / outputs for gram in grams]
    if output == "diagonal":
        signals = jnp.einsum("nobm,kobm->obnk", left, right)
        return [(gram[None] * signals).sum(1) for gram in grams]

    def block(each: tuple[Array, Array, list[Array]]) -> list[Array]:
        signals = jnp.einsum("nom,kpm->nokp", *each[:2])
        return [gram[:, None, :, None] * signals for gram in each[2]]

    if blocks == 1:
        return block((left.squeeze(2), right.squeeze(2), [gram.squeeze(0) for gram in grams]))
    zeros = [jnp.zeros((n, outputs, m, right.shape[1]), left.dtype) for _ in grams]
    return _summed(block, (jnp.moveaxis(left, 2, 0), jnp.moveaxis(right, 2, 0), list(grams)), zeros)


def _summed(term: Callable[[Any], list[Array]], over: Any, zeros: list[Array]) -> list[Array]:
    return jax.lax.scan(lambda total, each: (list(map(add, total, term(each))), None), zeros, over)[0]


def _side_by_side(given: Any) -> Any:
    """What is multiplied with rows, (N, B, P, K), as (B, K, N·P): laid so once, and not for every row."""
    if isinstance(given, Indexed):
        return Indexed(*(part.swapaxes(0, 1).reshape(part.shape[1], -1) for part in given))
    return jnp.moveaxis(given, (1, 3), (0, 1)).reshape(given.shape[1], given.shape[3], -1)


def _pairs_of_positions(a: Any, b: Any, n: int) -> Float[Array, "B P N2 Q"]:
    """Inner products of one point, (B, P, K), with n others, laid side by side."""
    if isinstance(a, Indexed):
        found = jnp.where(a.rows[:, :, None] == b.rows[:, None], a.weights[:, :, None] * b.weights[:, None], 0)
    elif len(a) == 1:
        found = (a.squeeze(0) @ b.squeeze(0))[None]
    else:
        found = a @ b
    return found.reshape(*found.shape[:2], n, -1)


def _positions(gram: Array, left: Array, right: Array, output: str) -> Array:
    """Σ_bpq gram_bpjq Σ_m left_obpm right_jobqm, for one point with signals (O, B, P, M) and others (N2, O, B, Q, M)."""
    if output == "diagonal":
        return jax.lax.map(lambda pair: jnp.einsum("bpjq,bpm,jbqm->j", gram, *pair), (left, right.swapaxes(0, 1)))
    moved = jnp.einsum("bpjq,obpm->jobqm", gram, left)  # what the source of each position of the others gives to the one's signals
    return jnp.einsum("jobqm,jrbqm->ojr", moved, right)
