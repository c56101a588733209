"""Boundary checks: every message says what was expected, what came, and what to do."""

import difflib
import math
from collections.abc import Iterable, Mapping
from numbers import Integral
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


ALIKE = 0.6  # similarity (of `difflib`) from which a name is worth suggesting


class InputError(ValueError):
    """Input from the user that cannot be used; the message is one line meant for the user."""


class RunError(RuntimeError):
    """A run that could not go on although its input is right; the message is one line meant for the user, and says what is kept."""


def fail(expected: str, got: object, do: str) -> InputError:
    """An `InputError` in the form every message takes."""
    return InputError(f"expected {expected}; got {got}; {do}")


def counted(number: int, noun: str, plural: str = "") -> str:
    """`number` with the noun it counts: 1 row, 2 rows; `plural` where it is not the noun with an s."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def one_of(name: str, value: str, choices: Iterable[str]) -> str:
    """`value`, if it is among `choices`; otherwise an error that suggests the nearest."""
    names = sorted(choices)
    if value in names:
        return value
    near = difflib.get_close_matches(str(value).lower(), names, n=1, cutoff=ALIKE)
    hint = f"did you mean {near[0]!r}?" if near else "choose one of them"
    raise fail(f"{name} to be one of {', '.join(names)}", repr(value), hint)


def from_registry(name: str, value: str, registry: Mapping[str, Any]) -> Any:
    """The entry of `registry` named `value`; an unknown name suggests the nearest."""
    return registry[one_of(name, value, registry)]


def integer(name: str, value: Any, *, least: int = 1) -> int:
    """`value` as an int of at least `least` (booleans and fractions are refused)."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise fail(f"{name} to be an integer of at least {least}", repr(value), f"give an integer, for example {max(least, 1)}")
    return int(value)


def real(name: str, value: Any, *, least: float = -math.inf, above: float = -math.inf, most: float = math.inf) -> float:
    """`value` as a finite float with `least <= value <= most` and `value > above`."""
    bounds = (
        [f"at least {least:g}"] * bool(least > -math.inf)
        + [f"above {above:g}"] * bool(above > -math.inf)
        + [f"at most {most:g}"] * bool(most < math.inf)
    )
    wanted = f"{name} to be a finite number" + "".join(f", {bound}" for bound in bounds)
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise fail(wanted, repr(value), "give a number") from None
    if isinstance(value, bool) or not math.isfinite(number) or number < least or number <= above or number > most:
        raise fail(wanted, repr(value), "change it")
    return number


def array(
    name: str, value: Any, *, ndim: int | tuple[int, ...] | None = None, finite: bool = True, rows: int | None = None
) -> "np.ndarray":
    """`value` as a NumPy array of numbers, checked for kind, dimensions, rows and finiteness."""
    import numpy as np  # here, so that the command line can show its help without NumPy

    try:
        out = np.asarray(value)
    except ValueError:
        raise fail(f"{name} to be an array", f"a {type(value).__name__} with rows of several lengths", "give rows of one length") from None
    if out.dtype.kind not in "fiub" and out.dtype.name != "bfloat16":
        raise fail(f"{name} to hold real numbers", f"dtype {out.dtype}", "convert it to float32 or float64")
    allowed = (ndim,) if isinstance(ndim, int) else ndim
    if allowed is not None and out.ndim not in allowed:
        shape = " or ".join(f"{n}-dimensional" for n in allowed)
        raise fail(f"{name} to be {shape}", f"shape {out.shape}", "reshape it")
    if out.size == 0:
        raise fail(f"{name} to hold at least one value", f"shape {out.shape}", "give at least one row and one column")
    if rows is not None and out.shape[0] != rows:
        raise fail(f"{name} to have {counted(rows, 'row')}", f"shape {out.shape}", "give one row for every point")
    if finite and out.dtype.kind not in "iub" and not np.isfinite(out).all():
        bad = int(np.size(out) - np.isfinite(out).sum())
        raise fail(f"{name} to be finite", counted(bad, "NaN or infinite value"), "remove or impute them")
    return out
