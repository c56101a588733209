"""A prediction and a measurement meet here, as numbers: `Claim` holds both and says whether they agree."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

Verdict = Literal["holds", "fails", "inconclusive"]


@dataclass(frozen=True)
class Estimate:
    """A measured number: `mean`, its standard error `sem` (nan if it cannot be told), and the sample size `n`."""

    mean: float
    sem: float
    n: int

    @classmethod
    def of(cls, values: object) -> "Estimate":
        """Mean and standard error of independent `values` (flattened); one value has `sem = nan`."""
        flat = np.asarray(values, dtype=np.float64).ravel()
        sem = float(np.std(flat, ddof=1) / math.sqrt(flat.size)) if flat.size > 1 else math.nan
        return cls(float(np.mean(flat)), sem, int(flat.size))


@dataclass(frozen=True)
class Claim:
    """A statement with its predicted and measured values.

    `tolerance` is relative to `predicted` and is what the statement itself allows (a limit reached only asymptotically);
    statistical error is allowed for apart, at 4 standard errors.
    """

    source: str
    statement: str
    predicted: float
    measured: Estimate
    tolerance: float = 0.0

    @property
    def verdict(self) -> Verdict:
        """`holds`, `fails`, or `inconclusive` when the standard error is unknown or larger than the predicted number."""
        if not (math.isfinite(self.measured.mean) and math.isfinite(self.measured.sem) and math.isfinite(self.predicted)):
            return "inconclusive"
        slack = self.tolerance * abs(self.predicted)
        gap = abs(self.measured.mean - self.predicted)
        if gap > slack + 4 * self.measured.sem:
            return "fails"
        if 4 * self.measured.sem > max(slack, abs(self.predicted)):
            return "inconclusive"
        return "holds"
