"""What a diagnosis is run with, and the thresholds its verdict is read by."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np

from kernelregime._checks import fail, integer, one_of, real
from kernelregime._precision import resolve

OPTIMIZERS = ("gd", "momentum", "adam")
LOSSES = ("mse", "cross_entropy")


@dataclass(frozen=True)
class Thresholds:
    """Where one verdict ends and the next begins. Every number can be set; docs/verdict.md says why these.

    `kernel_*` and `near_*` bound "kernel regime" and "near kernel regime" (beyond: "feature learning") for: the relative error
    of the linearized network in function space (`linearization`), the relative change of the NTK during training (`drift`), and
    the relative standard deviation of Θ(x, x) over initializations (`randomness`). `trainable_unexplained`: a network is trainable
    if its train residual is at most this share of the targets' variance. Where a network has not reached its goal and its
    linearization neither, more steps may help, unless those taken are `many_times` what the infinite-width kernel needs, or there is no
    hope: the kernel at initialization needs `many_times` the steps taken, and learning rate × λ_max × steps of `hopeless_training`,
    when learning rate × λ_max × (steps taken) is at least `least_training`. `least_seeds`: below it nothing is concluded.
    """

    kernel_linearization: float = 0.1
    near_linearization: float = 0.3
    kernel_drift: float = 0.2
    near_drift: float = 0.5
    kernel_randomness: float = 0.3
    near_randomness: float = 1.0
    trainable_unexplained: float = 0.5
    least_training: float = 20.0
    hopeless_training: float = 1e5
    many_times: float = 10.0
    least_seeds: float = 5

    def __post_init__(self) -> None:
        for item in fields(self):
            real(item.name, getattr(self, item.name), above=0.0)
        for name in ("linearization", "drift", "randomness"):
            lower, upper = getattr(self, f"kernel_{name}"), getattr(self, f"near_{name}")
            if lower >= upper:
                raise fail(f"kernel_{name} below near_{name}", f"{lower} and {upper}", "swap them")


@dataclass(frozen=True)
class Settings:
    """How a network is trained and measured for a diagnosis.

    `seeds`: independent initializations. `steps`: at most so many steps of training; a seed stops earlier, at `stop_fraction` of its
    initial train loss or, on squared loss, of what the best constant predictor leaves, whichever is less. `learning_rate`: a number,
    or None for `learning_rate_fraction` of the largest stable one of each seed at initialization. `reduction`: the loss is ½ Σ (f - y)²
    ("sum") or that divided by N·O ("mean"). `batch_size`: None is full batch. `dtype`: the precision the network is trained in;
    spectra and theory are float64. `draws`: initializations for the randomness of the NTK. `kernel_points`: train points on which the
    NTK is followed during training, of which `heat_points` are shown. `probes`: recorded steps. `seed`: of everything random.
    `memory`: bytes (default: half of what is free). `thresholds`: a `Thresholds`, or a dict of those that differ.
    """

    seeds: int = 5
    steps: int = 2000
    stop_fraction: float = 0.1
    learning_rate: float | None = None
    learning_rate_fraction: float = 0.5
    optimizer: str | Callable[..., Any] = "gd"
    loss: str = "mse"
    reduction: Literal["sum", "mean"] = "sum"
    batch_size: int | None = None
    dtype: str = "float32"
    draws: int = 200
    kernel_points: int = 200
    heat_points: int = 60
    probes: int = 10
    seed: int = 0
    memory: float | None = None
    thresholds: Thresholds = field(default_factory=Thresholds)

    def __post_init__(self) -> None:
        for name in ("seeds", "steps", "kernel_points", "heat_points", "probes"):
            integer(name, getattr(self, name))
        integer("draws", self.draws, least=3)
        integer("seed", self.seed, least=0)
        real("stop_fraction", self.stop_fraction, above=0.0, most=0.99)
        real("learning_rate_fraction", self.learning_rate_fraction, above=0.0, most=1.0)
        if isinstance(self.optimizer, str):
            one_of("optimizer", self.optimizer, OPTIMIZERS)
        one_of("loss", self.loss, LOSSES)
        one_of("reduction", self.reduction, ("sum", "mean"))
        object.__setattr__(self, "dtype", resolve(self.dtype).name)
        object.__setattr__(self, "thresholds", _thresholds(self.thresholds))
        if self.learning_rate is not None:
            real("learning_rate", self.learning_rate, above=0.0)
        elif self.optimizer not in ("gd", "momentum"):
            raise fail(
                f"a learning_rate for the optimizer {self.optimizer}", "None", "give one: its stable range does not follow from the kernel"
            )
        for name in ("batch_size", "memory"):
            if getattr(self, name) is not None:
                integer(name, getattr(self, name))

    @property
    def closed_form(self) -> bool:
        """Whether the linearized network trains by a formula: full-batch gradient descent on squared loss."""
        return self.optimizer == "gd" and self.loss == "mse" and self.batch_size is None

    def size(self, targets: np.ndarray) -> int:
        """What the loss over `targets` (N, O) is divided by: 1 for a sum; for a mean N·O on squared loss, N on cross-entropy."""
        if self.reduction == "sum":
            return 1
        return targets.size if self.loss == "mse" else len(targets)

    @property
    def momentum(self) -> float:
        """Heavy-ball momentum of the optimizer (0.9 for "momentum")."""
        return 0.9 if self.optimizer == "momentum" else 0.0


def _thresholds(given: Any) -> Thresholds:
    """`Thresholds`, or those that a mapping names."""
    if isinstance(given, Thresholds):
        return given
    if not isinstance(given, Mapping):
        raise fail("thresholds as a diagnosis.Thresholds or a dict", f"a {type(given).__name__}", 'give {"kernel_drift": 0.1} and the like')
    for name in given:
        one_of("threshold", name, Thresholds.__dataclass_fields__)
    return Thresholds(**given)
