"""What a comparison says: one outcome for every case."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

Status = Literal["passed", "failed", "unsupported"]


@dataclass
class Outcome:
    """One case. `worst` is the largest error over its tolerance, found in array `where`; `exact` counts values compared in many digits.

    `missing`: the library lists a layer for which the case could not be compared.
    """

    file: str
    case: str
    status: Status = "passed"
    reason: str = ""
    worst: float = 0.0
    where: str = ""
    values: int = 0
    exact: int = 0
    missing: bool = False
    layers: tuple[str, ...] = field(default=(), repr=False)

    def compare(self, name: str, ours: Any, reference: Any, tolerance: Any) -> None:
        """Record |ours - reference| <= tolerance for an array; values that are not finite fail."""
        ours, reference = np.asarray(ours, np.float64), np.asarray(reference, np.float64)
        if ours.shape != reference.shape:
            self.fail(f"{name} has shape {ours.shape}, the reference {reference.shape}", math.inf, name)
            return
        gap, allowed = np.abs(ours - reference), np.broadcast_to(np.asarray(tolerance, np.float64), ours.shape)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(gap == 0, 0.0, gap / allowed)
        ratio = np.where(np.isfinite(ours) & np.isfinite(reference) & ~np.isnan(ratio), ratio, math.inf)
        self.values += ratio.size
        top = float(ratio.max(initial=0.0))
        if top > self.worst:
            self.worst, self.where = top, name
        if top > 1:
            index = np.unravel_index(int(ratio.argmax()), ratio.shape)
            got = f"{ours[index]!r} for {reference[index]!r}"
            self.fail(f"{name}{[int(i) for i in index]}: {got}, {top:.3g} times the tolerance", top, name)

    def fail(self, reason: str, worst: float, where: str) -> None:
        """Mark the case as failed; the first reason is kept."""
        self.reason = self.reason or reason
        self.status = "failed"
        if worst > self.worst or not self.where:
            self.worst, self.where = worst, where

    def reject(self, reason: str, *, missing: bool = False) -> None:
        """Mark the case as one that the library cannot express."""
        self.status, self.reason, self.missing = "unsupported", reason, missing


def relative(reference: Any, rtol: float) -> Any:
    """rtol times the largest magnitude in `reference`: a tolerance for a whole array."""
    return rtol * float(np.max(np.abs(reference), initial=0.0))
