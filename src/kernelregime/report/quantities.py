"""Numbers as a reader wants them: as many digits as the standard error supports."""

import math

from kernelregime.claims import Estimate

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_PLAIN = (1e-3, 1e5)  # sizes written without a power of ten
_MANY = 10_000  # times, beyond which only a diverged run goes


def power_of_ten(exponent: int) -> str:
    """10 to an integer power for an axis: written out where it is short, else as 1e6 (raised digits are too small to read there)."""
    return f"{10.0**exponent:.{max(0, -exponent)}f}" if -3 <= exponent <= 4 else f"1e{exponent}".replace("-", "−")


def number(value: float, digits: int = 3) -> str:
    """`value` to `digits` significant digits, without trailing zeros."""
    value = float(value)
    if math.isnan(value):
        return "not known"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    rounded = float(f"{value:.{digits - 1}e}")
    exponent = math.floor(math.log10(abs(rounded)))
    if _PLAIN[0] <= abs(rounded) < _PLAIN[1]:
        text = f"{rounded:.{max(0, digits - 1 - exponent)}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    else:
        text = f"{rounded / 10.0**exponent:.{digits - 1}f}".rstrip("0").rstrip(".") + f" × 10{str(exponent).translate(_RAISED)}"
    return text.replace("-", "−")


def with_error(estimate: Estimate) -> str:
    """Mean ± sem, the error to two digits and the mean to the same decimal; the mean alone where there is no error or none is known."""
    mean, sem = estimate.mean, estimate.sem
    if not (math.isfinite(mean) and math.isfinite(sem) and sem > 0):
        return number(mean, 4)
    if sem < 1e-6 * abs(mean):
        return f"{number(mean, 7)} ± {number(sem, 2)}"
    size = max(abs(mean), sem)
    exponent = 0 if _PLAIN[0] <= size < _PLAIN[1] else math.floor(math.log10(size))
    mean, sem = mean / 10.0**exponent, sem / 10.0**exponent
    decimals = 1 - math.floor(math.log10(float(f"{sem:.1e}")))
    shown = max(decimals, 0)
    text = f"{round(mean, decimals):.{shown}f} ± {round(sem, decimals):.{shown}f}".replace("-", "−")
    return f"({text}) × 10{str(exponent).translate(_RAISED)}" if exponent else text


def sample(estimate: Estimate) -> str:
    """The sample size; "computed" for one number without error."""
    return "computed" if estimate.n == 0 or (estimate.n == 1 and estimate.sem == 0) else f"n\u00a0=\u00a0{estimate.n}"


def percent(value: float) -> str:
    """A fraction as per cent, to two digits (with a space that does not break)."""
    return f"{number(100 * value, 2)}\u00a0%"


def share(value: float, whole: str) -> str:
    """A ratio to `whole` in words: per cent of it, or so many times it where per cent would be hard to read."""
    if value < 10:
        return f"{percent(value)} of {whole}"
    return f"{number(value, 2)} times {whole}" if value <= _MANY else f"more than {_MANY:,} times {whole}"


def counted(count: object, singular: str, plural: str = "") -> str:
    """A count with its noun: 1 output, 2 outputs."""
    return f"{count} {singular if count == 1 else plural or singular + 's'}"


def duration(seconds: float) -> str:
    """Seconds, minutes or hours."""
    if not math.isfinite(seconds):
        return "unknown time"
    if seconds < 120:
        return f"{number(seconds, 2)} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
