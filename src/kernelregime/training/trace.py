"""What a training run leaves behind."""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int64

Status = Literal["finished", "stopped", "diverged", "interrupted"]


@dataclass(frozen=True)
class Trace:
    """The course of training of S seeds.

    `steps` (T,): the steps at which the probes were called, the last one included. `records`: what each probe returned, by name, with
    every array stacked along a leading axis T (tuples have become lists); empty if the run was interrupted before the first.
    `losses` (S, n + 1): the loss on the whole train set after 0, 1, ..., n steps (that of a frozen seed stays). `params`: the final
    params, NumPy arrays with a leading axis S.
    `status`, for each seed: "finished" (all steps were taken), "stopped" (the loss reached the asked fraction of the initial one),
    "diverged" (a step led to NaN, an infinity, or a loss above 10⁶ times the initial one), "interrupted". `stopped_at` (S,): the step
    whose params a stopped or diverged seed has kept, -1 for the others. `interrupted`: the run was cut short by the user.
    """

    steps: Int64[np.ndarray, "T"]
    records: dict[str, Any] = field(repr=False)
    losses: Float[np.ndarray, "S n"] = field(repr=False)
    params: Any = field(repr=False)
    stopped_at: Int64[np.ndarray, "S"]
    status: tuple[Status, ...]
    interrupted: bool
