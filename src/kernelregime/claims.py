"""A prediction and a measurement meet here, as numbers: `Claim` holds both and says whether they agree."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

Verdict = Literal["holds", "fails", "inconclusive"]
Relation = Literal["equal", "at most", "at least"]
Origin = Literal["printed", "corrected", "ours"]

SIGMAS = 3  # standard errors that a claim allows for where their size is known exactly: chance exceeds them once in 370 times


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

    @property
    def allowance(self) -> float:
        """What chance explains of a difference from `mean`: 3 `sem` where the sample is large (or `n` is 0: `sem` is known exactly).

        `sem` of a few normal values is itself uncertain: Student's t with n - 1 degrees of freedom gives the multiple that is exceeded
        as rarely as 3 sigma (6.6 for n = 5, 4.1 for 10, 3.4 for 21, 3.04 for 200).
        """
        return allowed_errors(self.n) * self.sem


@lru_cache
def allowed_errors(n: int) -> float:
    """The two-sided quantile of Student's t for the mean of `n` normal values, at the level of 3 sigma; 3 where n < 2."""
    if n < 2:
        return SIGMAS
    from scipy import special  # here: reports and the command line's help read claims too

    return float(-special.stdtrit(n - 1, special.ndtr(-SIGMAS)))


@dataclass(frozen=True)
class Claim:
    """A statement with its predicted and measured values.

    `relation`: what the statement says of the measured value beside the predicted one. `tolerance` is relative to `predicted` and is
    what the statement itself allows (a limit reached only asymptotically); statistical error is allowed for apart:
    `measured.allowance`. `origin`: whether the prediction is as a paper prints it, that with a misprint or an error put right, or ours.
    """

    source: str
    statement: str
    predicted: float
    measured: Estimate
    tolerance: float = 0.0
    relation: Relation = "equal"
    origin: Origin = "printed"

    @property
    def verdict(self) -> Verdict:
        """`holds`, `fails`, or `inconclusive`: the standard error is unknown, or larger than what it would have to decide.

        Of numbers said to be equal it may be no larger than what the statement leaves open, or than the predicted number where it leaves
        nothing open; a bound has to be clear of it on either side.
        """
        if not (math.isfinite(self.measured.mean) and math.isfinite(self.measured.sem) and math.isfinite(self.predicted)):
            return "inconclusive"
        allowance, gap = self.measured.allowance, self._gap
        if gap > allowance:
            return "fails"
        if self.relation == "equal":
            return "inconclusive" if allowance > self._enough else "holds"
        return "holds" if gap <= -allowance else "inconclusive"

    @property
    def more(self) -> float:
        """How many times the sample would have to be as large for a verdict, if its mean stayed; 1 with a verdict, nan if unknown."""
        if self.verdict != "inconclusive":
            return 1.0
        enough = self._enough if self.relation == "equal" else abs(self._gap)
        return (self.measured.allowance / enough) ** 2 if enough > 0 and math.isfinite(self.measured.sem) else math.nan

    @property
    def _enough(self) -> float:
        """The largest allowance for chance with which equality can be said to hold."""
        return self._slack or abs(self.predicted)

    @property
    def _slack(self) -> float:
        return self.tolerance * abs(self.predicted)

    @property
    def _gap(self) -> float:
        """By how much the mean is beyond what the statement allows."""
        difference = self.measured.mean - self.predicted
        return {"equal": abs(difference), "at most": difference, "at least": -difference}[self.relation] - self._slack
