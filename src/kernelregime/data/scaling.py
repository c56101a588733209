"""Scalings of the inputs: fitted on train, applied to train and test.

The scale of the inputs sets the first layer's variance q = σ_w² |x|²/d + σ_b², and with it the phase of a network whose activation is not
homogeneous; each scaling therefore says what |x|²/d becomes.
"""

from collections.abc import Callable

import numpy as np

from kernelregime._checks import fail

Pair = tuple[np.ndarray, np.ndarray]


def deviations(train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean and the deviation of every column; that of a constant one, which would be of rounding errors, is 0."""
    deviation = train.std(0)
    return train.mean(0), np.where(deviation > 8 * np.finfo(np.float64).eps * np.abs(train).max(0), deviation, 0.0)


def _standardize(train: np.ndarray, test: np.ndarray) -> Pair:
    mean, deviation = deviations(train)
    if not deviation.any():
        raise fail("inputs that differ between train points", "constant features only", "give other data, or scaling='none'")
    scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 0)
    return (train - mean) * scale, (test - mean) * scale


def _unit_variance(train: np.ndarray, test: np.ndarray) -> Pair:
    mean = train.mean(0)
    deviation = float(np.sqrt(np.mean((train - mean) ** 2)))
    if not deviation > 8 * np.finfo(np.float64).eps * np.abs(train).max():
        raise fail("inputs that differ between train points", "constant features only", "give other data, or scaling='none'")
    return (train - mean) / deviation, (test - mean) / deviation


def _unit_norm(train: np.ndarray, test: np.ndarray) -> Pair:
    scaled = []
    for part, x in (("train", train), ("test", test)):
        top = np.abs(x).max(1, keepdims=True)
        if (top == 0).any():
            row = int(np.argmin(top[:, 0]))
            raise fail("inputs that are not zero", f"a zero row in {part} (row {row})", "drop it, or choose another scaling")
        unit = x / top  # squares neither overflow nor vanish
        scaled.append(unit * (np.sqrt(x.shape[1]) / np.linalg.norm(unit, axis=1, keepdims=True)))
    return scaled[0], scaled[1]


def _none(train: np.ndarray, test: np.ndarray) -> Pair:
    return train, test


SCALINGS: dict[str, Callable[[np.ndarray, np.ndarray], Pair]] = {
    "standardize": _standardize,
    "unit-norm": _unit_norm,
    "unit-variance": _unit_variance,
    "none": _none,
}
