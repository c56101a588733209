"""What a diagnosis is once computed: plain numbers, words and arrays, with a versioned schema."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from kernelregime._checks import fail
from kernelregime.claims import Claim, Estimate

SCHEMA = "kernelregime.diagnosis/2"

Regime = Literal["kernel regime", "near kernel regime", "feature learning", "inconclusive"]
Trainable = Literal["trainable", "untrainable", "inconclusive"]
Group = Literal["function space", "drift", "randomness", "phase", "conditioning"]


@dataclass(frozen=True)
class Evidence:
    """One number of the diagnosis, with the theory's prediction beside it.

    `role` says which axis of the verdict reads it: "regime", "trainable", or "" for context.
    `predicted` is None where no theory is known (and `comment` says so). A `measured` with n = 0 was computed from theory, not measured.
    """

    key: str
    group: Group
    label: str
    measured: Estimate
    predicted: float | None = None
    source: str = ""
    role: str = ""
    comment: str = ""

    @property
    def claim(self) -> Claim | None:
        """The prediction and the measurement as a `Claim`, where there is a prediction."""
        if self.predicted is None:
            return None
        return Claim(self.source, self.label, self.predicted, self.measured)


@dataclass(frozen=True)
class Advice:
    """What to do, in words, and whether this network does so already."""

    text: str
    satisfied: bool = False


@dataclass(frozen=True)
class Verdict:
    """The two axes of the verdict, the reasons in words, and what to do."""

    regime: Regime
    trainable: Trainable
    reasons: tuple[str, ...] = ()
    advice: tuple[Advice, ...] = ()


@dataclass(frozen=True)
class Diagnosis:
    """A finished diagnosis: verdict, evidence, configuration, and the raw arrays the figures are drawn from.

    `missing` says in words which evidence is absent and why (for example a model without a spec has no infinite-width kernel), `notes`
    what was decided about the data that the user may want otherwise.
    `arrays` are described in docs/results.md.
    """

    verdict: Verdict
    evidence: tuple[Evidence, ...]
    config: dict[str, Any]
    thresholds: dict[str, float]
    arrays: dict[str, np.ndarray] = field(repr=False)
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    environment: dict[str, Any] = field(default_factory=dict, repr=False)
    seconds: dict[str, float] = field(default_factory=dict, repr=False)
    schema: str = SCHEMA

    def __getitem__(self, key: str) -> Evidence:
        """The evidence with this key."""
        for item in self.evidence:
            if item.key == key:
                return item
        raise KeyError(f"no evidence named {key!r}; there are: {', '.join(item.key for item in self.evidence)}")

    def to_json(self) -> dict[str, Any]:
        """Everything but the arrays, as JSON types (nan and infinities become None)."""
        out = asdict(self)
        del out["arrays"]
        out["arrays"] = {name: list(value.shape) for name, value in self.arrays.items()}
        return plain(out)

    @classmethod
    def from_json(cls, data: dict[str, Any], arrays: dict[str, np.ndarray]) -> "Diagnosis":
        """The inverse of `to_json`; raises `InputError` for another schema."""
        if data.get("schema") != SCHEMA:
            raise fail(f"a result with schema {SCHEMA}", repr(data.get("schema")), "read it with the version that wrote it")
        evidence = []
        for item in data["evidence"]:
            measured = {k: math.nan if v is None else v for k, v in item["measured"].items()}
            evidence.append(Evidence(**{**item, "measured": Estimate(measured["mean"], measured["sem"], int(measured["n"]))}))
        said = data["verdict"]
        advice = tuple(Advice(**item) for item in said["advice"])
        verdict = Verdict(said["regime"], said["trainable"], tuple(said["reasons"]), advice)
        rest = {k: data[k] for k in ("config", "thresholds", "environment", "seconds")}
        missing, notes = (tuple(data[k]) for k in ("missing", "notes"))
        return cls(verdict=verdict, evidence=tuple(evidence), arrays=arrays, missing=missing, notes=notes, **rest)


def plain(value: Any) -> Any:
    """`value` with NumPy scalars, tuples and non-finite floats turned into JSON types."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
