"""What one group of evidence adds to a diagnosis."""

import math
from dataclasses import dataclass, field

import numpy as np

from kernelregime import theory
from kernelregime.claims import Estimate
from kernelregime.results import Advice, Evidence


@dataclass(frozen=True)
class Findings:
    """Evidence, arrays for the figures, and what is missing and why."""

    evidence: tuple[Evidence, ...] = ()
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    advice: tuple[Advice, ...] = ()

    def __add__(self, other: "Findings") -> "Findings":
        return Findings(
            self.evidence + other.evidence, self.arrays | other.arrays, self.missing + other.missing, self.advice + other.advice
        )


def positive(values: np.ndarray) -> tuple[Estimate, str]:
    """The mean over seeds of a positive quantity, and a caution where its tail is so heavy that neither mean nor error can be believed.

    Kernels and signals of deep narrow networks are close to log-normal. With θ = √v the mean of v is E θ², and what
    `theory.dispersion_estimate` asks of a sample of θ is what the mean of v needs. Where it fails, `sem` is nan: it cannot be told.
    """
    mean = Estimate.of(values)
    if mean.n < 3 or np.min(values) <= 0:
        return mean, ""
    tail = theory.dispersion_estimate(np.sqrt(values))
    if tail.reliable:
        return mean, ""
    few = f"heavy tail: {tail.effective_sample_size:.1f} of {mean.n} seeds carry the mean"
    return Estimate(mean.mean, math.nan, mean.n), f"{few}; more seeds are needed beside a prediction"
