"""What the gradients of a model are found by, parameter by parameter, and what that costs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from kernelregime.empirical import model
from kernelregime.empirical.arrangement import Axes, Indices, Turns, sizes
from kernelregime.empirical.entrances import Entrance, Use, entrances
from kernelregime.empirical.model import Function, Parameters
from kernelregime.empirical.program import Program, Value, trace

Form = Literal["gradient", "jacobian", "gram"]
Site = tuple[Value, Axes, Turns]


@dataclass(frozen=True)
class Group:
    """Parameters that enter at the same places, whose signals are found once: for a point (O, B, P, M), and inputs (B, P, K) of each.

    `form`: "gradient", of what enters by no product; of a product "jacobian" adds up inputs ⊗ signals over the positions for each point,
    "gram" multiplies inner products of inputs with those of signals for each pair of positions of each pair of points.
    """

    members: tuple[Entrance, ...]
    blocks: int
    positions: int
    inputs: tuple[int, ...]
    signals: int
    form: Form = "gradient"

    @property
    def sites(self) -> tuple[Site, ...]:
        """Where signals are found."""
        return tuple((use.site, use.axes, use.turns) for use in self.members[0].uses)

    def kept(self, outputs: int) -> int:
        """Numbers kept of a point."""
        inputs = sum(self.inputs)
        if self.form == "jacobian":
            return outputs * self.blocks * inputs * self.signals
        return self.blocks * self.positions * (inputs + outputs * self.signals)

    def operations(self, outputs: int, points: int, output: str) -> float:
        """Multiplications and additions for all pairs of so many points."""
        pairs, inputs = float(points) ** 2, sum(self.inputs)
        products = outputs**2 if output == "full" else outputs
        if self.form == "jacobian":
            each = 2.0 * outputs * self.blocks * self.positions * inputs * self.signals
            return points * each + pairs * 2 * products * self.blocks * inputs * self.signals
        return pairs * 2 * self.blocks * self.positions**2 * (inputs + products * self.signals + products)


@dataclass(frozen=True)
class Analysis:
    """How the parameters of a model enter, apart from its program: groups with a form yet to be chosen, and its outputs."""

    groups: tuple[Group, ...]
    outputs: int
    dtype: Any

    def forms(self, method: str, output: str, *, points: int, memory: float | None = None) -> tuple[Form, ...] | None:
        """The form of each group, for so many points in all and bytes for gradients that wait; None for JAX's Jacobian.

        The cheaper form of every product; where gradients then need too much memory, the smaller of those that save most for their cost,
        unless it costs more than to find the gradients again, for smaller tiles.
        """
        # With no product to take apart JAX's own Jacobian does the same work, in a shorter program.
        products = any(member.product for group in self.groups for member in group.members)
        if method == "jacobian" or (method == "auto" and not products):
            return None
        chosen, others, outputs = [], [], self.outputs
        again = points * 4.0 * outputs * sum(g.blocks * g.positions * sum(g.inputs) * g.signals for g in self.groups)  # passes back
        for number, group in enumerate(self.groups):
            best, *more = sorted(ways(group), key=lambda one: one.operations(outputs, points, output))
            chosen.append(best)
            smaller = [one for one in more if one.kept(outputs) < best.kept(outputs)]
            risen = smaller[0].operations(outputs, points, output) - best.operations(outputs, points, output) if smaller else again
            if risen < again:
                others.append((risen / (best.kept(outputs) - smaller[0].kept(outputs)), number, smaller[0]))
        for _, number, one in sorted(others, key=lambda other: other[0]):
            if memory is None or np.dtype(self.dtype).itemsize * points * sum(group.kept(outputs) for group in chosen) <= memory:
                break
            chosen[number] = one
        return tuple(group.form for group in chosen)


def analysis(program: Program, trained: Sequence[int]) -> Analysis:
    """How the leaves `trained` of a model enter its program."""
    output = program.outputs[0]
    groups = _groups(program, entrances(program, trained, [program.inputs - 1]))
    return Analysis(tuple(groups), math.prod(program.shape(output)), program.dtype(output))


def program_of(f: Function, held: Parameters, point: Any) -> Program:
    """The program of `f` at one point, of parameters and a point of these shapes."""
    return trace(model.single(f, held), held.leaves, point)


def _groups(program: Program, found: Sequence[Entrance]) -> list[Group]:
    members: dict[Any, list[Entrance]] = {}
    for entrance in found:
        members.setdefault(tuple((use.site, use.axes, use.turns) for use in entrance.uses), []).append(entrance)
    return [_group(program, tuple(group)) for group in members.values()]


def _group(program: Program, members: tuple[Entrance, ...]) -> Group:
    first, positions = members[0].uses, 0
    for use in first:
        blocks, count, signals = sizes(program.shape(use.site), program.dtype(use.site), use.axes, use.turns)
        positions += count
    inputs = tuple(_inputs(program, member.uses[0]) for member in members)
    return Group(members, blocks, positions, inputs, signals)


def _inputs(program: Program, use: Use) -> int:
    """K, how many numbers a parameter is multiplied with for each position; of indices a comparison counts as one."""
    if use.source is None or isinstance(use.reading, Indices):
        return 1
    return sizes(program.shape(use.source), program.dtype(use.source), use.reading, use.turns)[-1]


def ways(group: Group) -> list[Group]:
    """The ways to contract a group."""
    several = group.blocks > 1 or group.positions > 1
    if not several and not any(member.product for member in group.members):
        return [group]
    if any(isinstance(use.reading, Indices) for member in group.members for use in member.uses) or not several:
        return [replace(group, form="gram")]
    return [replace(group, form="gram"), replace(group, form="jacobian")]


def wanted(groups: Sequence[Group]) -> frozenset[Value]:
    """The values in loops that the sources of the groups read."""
    uses = [use for group in groups for member in group.members for use in member.uses]
    read = [use.source for use in uses if use.source is not None] + [scale for use in uses for scale, _ in use.scales]
    return frozenset(value for value in read if isinstance(value, tuple))
