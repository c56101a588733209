"""What one group of evidence adds to a diagnosis."""

from dataclasses import dataclass, field

import numpy as np

from kernelregime.results import Evidence


@dataclass(frozen=True)
class Findings:
    """Evidence, arrays for the figures, and what is missing and why."""

    evidence: tuple[Evidence, ...] = ()
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()

    def __add__(self, other: "Findings") -> "Findings":
        return Findings(
            self.evidence + other.evidence, self.arrays | other.arrays, self.missing + other.missing, self.advice + other.advice
        )
