"""When probes are called, and how what they return is kept."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from kernelregime._checks import fail, integer

COUNT = 16  # probe steps by default: three to a factor of ten over five decades


def geometric_steps(steps: int, *, count: int = COUNT) -> tuple[int, ...]:
    """Step 0 and up to `count` steps from 1 to `steps`, evenly spaced in the logarithm.

    >>> geometric_steps(100, count=5)
    (0, 1, 3, 10, 32, 100)
    """
    last = integer("steps", steps)
    spaced = np.rint(np.geomspace(1, last, integer("count", count, least=2)))
    return (0, *sorted({int(step) for step in spaced}))


def chosen_steps(probe_steps: Sequence[int] | None, steps: int) -> tuple[int, ...]:
    """The steps at which probes are called, ascending, each once."""
    if probe_steps is None:
        return geometric_steps(steps)
    chosen = sorted({integer("every probe step", step, least=0) for step in probe_steps})
    if chosen and chosen[-1] > steps:
        raise fail(f"probe_steps between 0 and {steps}", chosen[-1], "drop it, or train for more steps")
    return tuple(chosen)


@dataclass(frozen=True)
class Record:
    """What a probe returned once: its arrays in order, and how they are nested, as JSON with the arrays' positions."""

    form: str
    leaves: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, name: str, value: Any) -> "Record":
        """`value`, if it is an array or nested dicts and lists of arrays."""
        leaves, structure = jax.tree.flatten(value)
        arrays = tuple(np.array(leaf) for leaf in leaves)
        bad = [a.dtype for a in arrays if a.dtype.kind not in "fiubc"]
        if bad:
            raise fail(f"probe {name!r} to return arrays of numbers", f"dtype {bad[0]}", "return numbers only")
        try:
            return cls(json.dumps(jax.tree.unflatten(structure, range(len(leaves)))), arrays)
        except TypeError:
            got = f"a {type(value).__name__}"
            raise fail(f"probe {name!r} to return an array or nested dicts and lists of arrays", got, "return a dict") from None

    def like(self, name: str, first: "Record") -> "Record":
        """The record itself, if it has the form of the first one."""
        shapes, before = ([(a.shape, a.dtype) for a in r.leaves] for r in (self, first))
        if self.form != first.form or shapes != before:
            got = "arrays of another shape, type or nesting than at its first call"
            raise fail(f"probe {name!r} to return the same form at every step", got, "return arrays of fixed shapes")
        return self

    @property
    def nested(self) -> Any:
        """The arrays in their nesting."""
        return jax.tree.map(lambda position: self.leaves[position], json.loads(self.form))


def stacked(records: Sequence[Record]) -> Record:
    """Records of one form as one record, with a leading axis T."""
    return Record(records[0].form, tuple(np.stack(leaves) for leaves in zip(*(r.leaves for r in records))))


def unstacked(record: Record, count: int) -> list[Record]:
    """The inverse of `stacked`."""
    return [Record(record.form, tuple(np.asarray(leaf[t]) for leaf in record.leaves)) for t in range(count)]
