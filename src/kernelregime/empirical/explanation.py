"""What `ntk` would do, and why: method by parameter, memory, work."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from kernelregime import grams
from kernelregime.empirical.gram import Task, prepare
from kernelregime.empirical.plan import Group
from kernelregime.empirical.tiles import trained_paths

MEGA = 1e6


@dataclass(frozen=True)
class Part:
    """Parameters that are treated together. `positions`: at which they enter, for each of so many `blocks`; `kept`: bytes for a point.

    `form`: "jacobian", products of inputs with gradients summed over the positions, or "gram", their inner products for all pairs of
    positions; "gradient" of parameters that enter by no product. `operations`: additions and multiplications for all pairs of points.
    """

    parameters: tuple[str, ...]
    form: str
    blocks: int
    positions: int
    kept: int
    operations: float


@dataclass(frozen=True)
class Explanation:
    """How a kernel is found. `bytes_per_point`, `bytes_per_pair`: while it is; `side`: points a side of the `tiles`.

    `passes`: how often the gradients of all points are found, of some parameters after others, where those of all do not fit.
    """

    method: str
    reason: str
    parts: tuple[Part, ...]
    notes: tuple[str, ...]
    bytes_per_point: float
    bytes_per_pair: float
    tiles: int
    side: int
    passes: int

    def __str__(self) -> str:
        """A table of the parts, the largest first."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"{self.method}: {self.reason}"
        yield from (f"note: {note}" for note in self.notes)
        taken = f"{self.bytes_per_point / MEGA:.3g} MB a point, {self.bytes_per_pair:.3g} bytes a pair"
        often = f" in {self.passes} passes" if self.passes > 1 else ""
        yield f"{self.tiles} tile{'s' if self.tiles > 1 else ''} of {self.side} points{often}; {taken}"
        if self.parts:
            yield f"{'GFLOP':>8} {'MB/point':>9} {'positions':>9}  form      parameters"
        for part in sorted(self.parts, key=lambda one: -one.operations):
            places = f"{part.blocks}x{part.positions}" if part.blocks > 1 else str(part.positions)
            yield f"{part.operations / 1e9:8.3g} {part.kept / MEGA:9.3g} {places:>9}  {part.form:<9} {', '.join(part.parameters)}"


def explain(
    model: Any,
    x1: Any,
    x2: Any = None,
    *,
    output: str = "trace",
    by_layer: bool = False,
    method: str = "auto",
    memory: float | None = None,
    dtype: Any = None,
) -> Explanation:
    """How `ntk` would find the kernel of `model`, without computing it; arguments and errors as of `ntk`."""
    task = prepare(model, x1, x2, output=output, by_layer=by_layer, method=method, memory=memory, dtype=dtype)
    problem, options, found = task.problem, task.options, task.analysis
    points, paths = max(problem.shape), trained_paths(task.params)
    parts = []
    if options.forms is not None:
        for group, form in zip(found.groups, options.forms, strict=True):
            parts.append(_part(replace(group, form=form), tuple(paths[e.leaf] for e in group.members), points, task))
    cost = grams.tiling(problem, memory=task.memory)
    sizes = task.size.bytes_per_point, problem.bytes_per_pair
    return Explanation(options.method, _reason(task, method), tuple(parts), task.notes, *sizes, *cost, task.passes)


def _part(group: Group, names: tuple[str, ...], points: int, task: Task) -> Part:
    outputs, output = (1, "trace") if task.options.output == "pseudo" else (task.analysis.outputs, task.options.output)
    kept = group.kept(outputs) * task.problem.dtype.itemsize
    return Part(names, group.form, group.blocks, group.positions, kept, group.operations(outputs, points, output))


def _reason(task: Task, asked: str) -> str:
    method, groups = task.options.method, task.analysis.groups
    if asked != "auto":
        return "as asked"
    if method == "products":
        return "gradients of a pair of points do not fit into the memory"
    leaves = {member.leaf for group in groups for member in group.members}
    by_product = {member.leaf for group in groups for member in group.members if member.product}
    if method == "jacobian":
        return "no parameter enters by a product that could be taken apart"
    return f"{len(by_product)} of {len(leaves)} parameters enter by products, whose Jacobians need not be found by derivatives"
