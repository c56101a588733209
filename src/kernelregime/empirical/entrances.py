"""Where each parameter enters a program: by products with something of the point, by being added, or in a way that is not understood.

A parameter is followed through scalings and rearrangements, which keep inner products of gradients but for a factor, to the products
in which it is used; the result of a product is followed to where a bias has been added, so that both share one gradient.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from kernelregime.empirical.arrangement import Axes, Indices, Ones, Reading, Turns, Windows, long_axes
from kernelregime.empirical.program import Program, Step, Value

# Rearrangements of entries: isometries where they keep the number of entries.
_RESHAPES = frozenset({"reshape", "squeeze", "expand_dims", "broadcast_in_dim"})
_SAME = frozenset({"copy", "copy_p", "convert_element_type"})
_SUMS = frozenset({"add", "sub", "add_any"})
NEGATIVE = "negative"

Scale = tuple[Any, bool]  # a value and whether it divides, or (NEGATIVE, False)


@dataclass(frozen=True)
class Use:
    """One use of a parameter: its gradient is `scales` · Σ_p source_bp ⊗ δ_bp, δ the gradient with respect to value `site`.

    `axes`: of the site. `source`: a value, or None for the number 1, read as `reading` says; `turns`: of the loops around both.
    `layout`: which part and which axes of the parameter are blocks and features; None where that is not known.
    """

    site: Value
    axes: Axes
    source: Value | None
    reading: Reading
    scales: tuple[Scale, ...] = ()
    turns: Turns = ()
    layout: Any = None

    @property
    def product(self) -> bool:
        """Whether it is a product."""
        return self.source is not None


@dataclass(frozen=True)
class Entrance:
    """All uses of a parameter, or of a part of it; their gradients add up."""

    leaf: int
    uses: tuple[Use, ...]

    @property
    def product(self) -> bool:
        """Whether it enters by products."""
        return all(use.product for use in self.uses)


def entrances(program: Program, leaves: Sequence[int], varying: Sequence[int]) -> list[Entrance]:
    """How the inputs `leaves` enter, where inputs `varying` differ between points; an input without influence is left out."""
    walk = _Walk(program, program.varying(varying))
    found = []
    for leaf in leaves:
        parts = walk.parts(_Parameter(leaf, tuple(range(len(program.shape(leaf))))))
        uses = [[use for use in part if math.prod(program.shape(use.site))] for part in parts]  # nothing comes of an empty one
        found += [Entrance(leaf, tuple(part)) for part in uses if part]
    return found


@dataclass(frozen=True)
class _Parameter:
    """A value that is a parameter, rearranged and scaled. `axes`: which axis of the parameter each of its own is, None if unknown."""

    value: int
    axes: tuple[int | None, ...] | None
    part: tuple[Any, ...] = ()  # slices taken so far
    scales: tuple[Scale, ...] = ()

    def layout(self, blocks: Sequence[int], inputs: Sequence[int], outputs: Sequence[int]) -> Any:
        """What a gradient with these axes of the value is of the parameter."""
        if self.axes is None:
            return None
        axes = self.axes
        return (self.part, *(tuple(axes[a] for a in group if axes[a] is not None) for group in (blocks, inputs, outputs)))

    def ordered(self, own: Sequence[int]) -> list[int]:
        """Axes of the value in the order of the parameter's."""
        axes = self.axes
        if axes is None:
            return list(own)
        known = [axes[a] for a in own]
        return [a for _, a in sorted(zip([-1 if k is None else k for k in known], own, strict=True))]


class _Walk:
    """Follows parameters through one program; a loop in it by a walk of its own."""

    def __init__(self, program: Program, varying: frozenset[int]) -> None:
        self.program, self.varying = program, varying

    def parts(self, at: _Parameter) -> list[list[Use]]:
        """The uses of each independent part of the parameter at a value; none if nothing depends on it."""
        consumers = self.program.consumers.get(at.value, [])
        used = at.value in self.program.outputs
        if not consumers and not used:
            return []
        here = [[self._whole(at)]]
        if used:
            return here
        found = [self._through(self.program.steps[number], number, place, at) for number, place in consumers]
        if any(part is None for part in found):
            return here
        branches = [part for part in found if part]  # without those that lead nowhere
        if len(branches) < 2:
            return branches[0] if branches else []
        if self._apart([self.program.steps[number] for number, _ in consumers]):
            return [uses for part in branches for uses in part]
        uses = [use for part in branches for use in part[0]]
        same = len({use.layout for use in uses}) == 1 and uses[0].layout is not None
        return [uses] if same and all(len(part) == 1 for part in branches) else here

    def _apart(self, steps: Sequence[Step]) -> bool:
        """Whether the steps are slices of which no two share an entry."""
        if not all(step.name == "slice" for step in steps):
            return False
        boxes = [list(zip(step.equation.params["start_indices"], step.equation.params["limit_indices"], strict=True)) for step in steps]

        def share(one: Any, other: Any) -> bool:
            return all(a < d and c < b for (a, b), (c, d) in zip(one, other, strict=True))

        return not any(share(boxes[i], boxes[j]) for i in range(len(boxes)) for j in range(i))

    def _whole(self, at: _Parameter) -> Use:
        """The gradient with respect to the value itself."""
        shape = self.program.shape(at.value)
        own = at.ordered(long_axes(shape, range(len(shape))))
        return Use(at.value, Axes((), (), tuple(own)), None, Ones(1), at.scales, (), at.layout((), (), own))

    def _through(self, step: Step, number: int, place: int, at: _Parameter) -> list[list[Use]] | None:
        """The parts after a step that uses the parameter; None if it is not understood."""
        if step.body is not None:
            return self._loop(step, number, place, at)
        if len(step.results) != 1 or self._dtype(step.results[0]) != self._dtype(at.value):
            return None
        if step.name in ("dot_general", "conv_general_dilated", "gather"):
            use = {"dot_general": self._dot, "conv_general_dilated": self._windows, "gather": self._rows}[step.name](step, place, at)
            return None if use is None else [[self._settled(use)]]
        if step.name == "broadcast_in_dim" and self._size(step.results[0]) > self._size(at.value):
            return [[self._settled(self._added(step, at, step.equation.params["broadcast_dimensions"]))]]
        if step.name in _SUMS:
            at = at if (step.name, place) != ("sub", 1) else replace(at, scales=(*at.scales, (NEGATIVE, False)))
            if step.operands[1 - place] not in self.varying and self._size(step.results[0]) == self._size(at.value):
                return self.parts(replace(at, value=step.results[0]))
            return [[self._settled(self._added(step, at, range(len(self.program.shape(at.value)))))]]
        after = self._rearranged(step, place, at)
        return None if after is None else self.parts(after)

    def _rearranged(self, step: Step, place: int, at: _Parameter) -> _Parameter | None:
        """The parameter after a scaling, a rearrangement or a slice."""
        value, axes = step.results[0], at.axes
        if step.name == "slice" and not any(s != 1 for s in step.equation.params["strides"] or ()):
            ends = zip(axes or (), step.equation.params["start_indices"], step.equation.params["limit_indices"], strict=bool(axes))
            return replace(at, value=value, part=(*at.part, tuple(sorted(end for end in ends if end[0] is not None))))
        if self._size(value) != self._size(at.value):
            return None
        if step.name == "neg" or step.name in _SAME:
            scales = (*at.scales, (NEGATIVE, False)) if step.name == "neg" else at.scales
            return replace(at, value=value, scales=scales)
        scale = self._scale(step, place)
        if scale is not None:
            return replace(at, value=value, scales=(*at.scales, scale))
        if step.name == "rev":
            return replace(at, value=value, axes=None)
        if step.name == "transpose":
            return replace(at, value=value, axes=axes and tuple(axes[a] for a in step.equation.params["permutation"]))
        if step.name in _RESHAPES:
            moved = _same_axes(self.program.shape(at.value), self.program.shape(value))
            if axes is None or moved is None:
                return replace(at, value=value, axes=None)
            known = {moved[a]: axes[a] for a in moved}
            return replace(at, value=value, axes=tuple(known.get(a) for a in range(len(self.program.shape(value)))))
        return None

    def _dot(self, step: Step, place: int, at: _Parameter) -> Use | None:
        (contracted, batched), other = step.equation.params["dimension_numbers"], step.operands[1 - place]
        if other not in self.varying or self._dtype(other) != self._dtype(at.value):
            return None
        own, far = self.program.shape(at.value), self.program.shape(other)
        pairs = dict(zip(contracted[place], contracted[1 - place], strict=True))
        blocks = dict(zip(batched[place], batched[1 - place], strict=True))
        inputs, order = at.ordered(long_axes(own, tuple(pairs))), at.ordered(long_axes(own, tuple(blocks)))
        free = [a for a in range(len(own)) if a not in pairs and a not in blocks]
        apart = [a for a in range(len(far)) if a not in contracted[1 - place] and a not in batched[1 - place]]
        outputs = at.ordered(long_axes(own, free))
        first = len(batched[0]) + (0 if place == 0 else len(apart))  # where the free axes of the parameter begin in the result
        begin = len(batched[0]) + (len(free) if place == 0 else 0)
        at_block = {a: i for i, a in enumerate(batched[place])}
        positions = [i for i, a in enumerate(apart) if far[a] != 1]
        axes = Axes(tuple(at_block[a] for a in order), tuple(begin + i for i in positions), tuple(first + free.index(a) for a in outputs))
        read = Axes(tuple(blocks[a] for a in order), tuple(apart[i] for i in positions), tuple(pairs[a] for a in inputs))
        return Use(step.results[0], axes, other, read, at.scales, (), at.layout(order, inputs, outputs))

    def _windows(self, step: Step, place: int, at: _Parameter) -> Use | None:
        options, other = step.equation.params, step.operands[0]
        if place != 1 or options["batch_group_count"] != 1 or other not in self.varying or self._dtype(other) != self._dtype(at.value):
            return None
        (batch, channels, *places), (out, into, *taps), (to_batch, to, *to_places) = options["dimension_numbers"]
        shape, groups, result = self.program.shape(at.value), options["feature_group_count"], self.program.shape(step.results[0])
        positions = long_axes(result, (to_batch, *to_places))
        axes = Axes((), positions, (to,) if groups > 1 or result[to] != 1 else (), (to, groups) if groups > 1 else None)
        read = Windows(
            batch, channels, tuple(places), tuple(shape[a] for a in taps), options["window_strides"],
            tuple(map(tuple, options["padding"])), options["rhs_dilation"], options["lhs_dilation"], groups,
        )  # fmt: skip
        layout = at.layout((), long_axes(shape, (*taps, into)), long_axes(shape, (out,)))
        return Use(step.results[0], axes, other, read, at.scales, (), layout and (*layout, groups))

    def _rows(self, step: Step, place: int, at: _Parameter) -> Use | None:
        options, shape = step.equation.params, self.program.shape(at.value)
        numbers, [axis, *more] = options["dimension_numbers"], [*options["dimension_numbers"].start_index_map, -1, -1][:2]
        whole = all(size == (1 if a == axis else n) for a, (size, n) in enumerate(zip(options["slice_sizes"], shape, strict=True)))
        single = numbers.start_index_map == numbers.collapsed_slice_dims == (axis,) and more == [-1] and axis >= 0
        if place != 0 or not whole or not single or numbers.operand_batching_dims:
            return None
        result = self.program.shape(step.results[0])
        kept = [a for a in range(len(shape)) if a != axis]
        where = dict(zip(kept, numbers.offset_dims, strict=True))
        outputs = at.ordered(long_axes(shape, kept))
        positions = long_axes(result, [a for a in range(len(result)) if a not in numbers.offset_dims])
        mode = "drop" if "FILL" in str(options["mode"]) else "clip"  # indices that are promised to be inside are
        axes = Axes((), positions, tuple(where[a] for a in outputs))
        layout = at.layout((), (axis,), outputs) and (*at.layout((), (axis,), outputs), "rows")
        return Use(step.results[0], axes, step.operands[1], Indices(shape[axis], mode), at.scales, (), layout)

    def _added(self, step: Step, at: _Parameter, kept: Sequence[int]) -> Use:
        """Of a parameter that is added, or repeated along some axes; `kept`: where its own are in the result."""
        own, result = self.program.shape(at.value), self.program.shape(step.results[0])
        outputs = at.ordered(long_axes(own, range(len(own))))
        features = tuple(kept[a] for a in outputs)
        positions = tuple(a for a in long_axes(result, range(len(result))) if a not in features)
        count = math.prod(result[a] for a in positions)
        return Use(step.results[0], Axes((), positions, features), None, Ones(count), at.scales, (), at.layout((), (), outputs))

    def _settled(self, use: Use) -> Use:
        """The use with its site moved on for as long as all of its influence goes through one value, its entries in their places."""
        site = use.site
        while isinstance(site, int) and len(found := self.program.consumers.get(site, [])) == 1 and site not in self.program.outputs:
            step, place = self.program.steps[found[0][0]], found[0][1]
            after = step.results[0]
            if step.body is not None or len(step.results) != 1 or self._dtype(after) != self._dtype(site):
                break
            if self._size(after) != self._size(site):
                break
            scale, moved = self._scale(step, place), self._moved(step, site, use.axes)
            if step.name == "neg" or (step.name == "sub" and place == 1):
                scale = (NEGATIVE, False)
            elif scale is None and step.name not in _SUMS and step.name not in _SAME and moved is None:
                break
            use = replace(use, site=after, axes=moved or use.axes, scales=use.scales if scale is None else (*use.scales, scale))
            site = after
        return use

    def _moved(self, step: Step, site: int, axes: Axes) -> Axes | None:
        """The axes of a site after a transposition, or a reshape that only takes or leaves axes of 1."""
        if step.name == "transpose":
            permutation = tuple(step.equation.params["permutation"])
            return axes.moved(permutation.index)
        if step.name not in _RESHAPES:
            return None
        places = _same_axes(self.program.shape(site), self.program.shape(step.results[0]))
        return None if places is None else axes.moved(places.__getitem__)

    def _loop(self, step: Step, number: int, place: int, at: _Parameter) -> list[list[Use]] | None:
        """The parts of a parameter that is the same in all turns of a loop, or of which each turn has a slice."""
        body, (begin, end) = step.body, step.carried
        assert body is not None
        if begin <= place < end:
            return None
        each = place >= end
        varying = [i for i, operand in enumerate(step.operands) if operand in self.varying]
        inside = body.varying([*varying, *range(begin, end)] if varying else [])
        axes = at.axes[1:] if each and at.axes is not None else at.axes
        within = _Walk(body, inside).parts(_Parameter(place, axes, at.part, ()))
        if not each and any(isinstance(use.site, int) and use.site not in inside for uses in within for use in uses):
            return None  # gradients of all turns, which a gradient with respect to the parameter adds up
        return [[self._lifted(use, number, at, each) for use in uses] for uses in within]

    def _lifted(self, use: Use, number: int, at: _Parameter, each: bool) -> Use:
        """A use in a loop as one outside."""
        turns: Turns = (*use.turns, "block" if each else "position")
        scales = (*at.scales, *((s if s == NEGATIVE else (number, s), divides) for s, divides in use.scales))
        layout = use.layout and (*use.layout, at.axes and at.axes[0]) if each else use.layout
        source = None if use.source is None else (number, use.source)
        return replace(use, site=(number, use.site), source=source, scales=scales, turns=turns, layout=layout)

    def _scale(self, step: Step, place: int) -> Scale | None:
        """The scalar by which the step multiplies or divides its operand at `place`."""
        if step.name not in ("mul", "div") or (step.name == "div" and place == 1):
            return None
        other = self._unbroadcast(step.operands[1 - place])
        return None if self._size(other) != 1 else (other, step.name == "div")

    def _unbroadcast(self, index: int) -> int:
        """The scalar of which the value is a broadcast copy, or the value itself."""
        origin = index
        while self._size(origin) != 1 and origin in self.program.producers:
            step = self.program.producers[origin]
            if step.name not in ("broadcast_in_dim", "reshape", "squeeze") or len(step.operands) != 1:
                break
            origin = step.operands[0]
        return origin if self._size(origin) == 1 else index

    def _size(self, value: int) -> int:
        return math.prod(self.program.shape(value))

    def _dtype(self, value: int) -> Any:
        return self.program.dtype(value)


def _same_axes(before: Sequence[int], after: Sequence[int]) -> dict[int, int] | None:
    """Where each axis longer than 1 goes in a reshape that only takes or leaves axes of 1; None of any other."""
    one, other = (long_axes(shape, range(len(shape))) for shape in (before, after))
    return dict(zip(one, other, strict=True)) if [before[a] for a in one] == [after[a] for a in other] else None
