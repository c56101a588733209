"""The dispersion E Θ²/(E Θ)² estimated from a sample, with what its heavy tail leaves of the sample."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from kernelregime._checks import array, fail, integer, one_of
from kernelregime.claims import Estimate

# Thresholds of reliability, capped at shares of N so that a few draws of an almost constant kernel pass. Where most log-normal
# samples of 20 to 5000 draws pass, at most 12 % of those that do miss the truth by more than 4 sem.
ENOUGH, ENOUGH_SHARE = 50.0, 0.5  # effective draws of θ²
BEYOND, BEYOND_SHARE = 20.0, 0.2  # draws expected where a log-normal θ has the bulk of E θ²

Method = Literal["jackknife", "plug-in", "disjoint", "printed"]
Error = Literal["jackknife", "bootstrap"]


@dataclass(frozen=True)
class DispersionEstimate:
    """An estimated dispersion: `mean`, its standard error `sem`, the sample size `n`.

    `effective_sample_size` = (Σθ²)²/Σθ⁴: the number of draws that carry the sum of squares. `reliable`: whether `mean` and `sem` can be
    believed; `status` says why not.
    """

    mean: float
    sem: float
    n: int
    effective_sample_size: float
    reliable: bool
    status: str

    @property
    def estimate(self) -> Estimate:
        """The same as an `Estimate`; `sem` is nan (it cannot be told) where the estimate is not reliable."""
        return Estimate(self.mean, self.sem if self.reliable else math.nan, self.n)


def dispersion_estimate(
    samples: object,
    *,
    method: Method = "jackknife",
    error: Error = "jackknife",
    resamples: int = 200,
    seed: int = 0,
    logarithms: bool = False,
) -> DispersionEstimate:
    """E Θ²/(E Θ)² from independent draws θ_1 … θ_N of an NTK entry, N >= 3 (one per initialization).

    `method`: "plug-in", r = mean(θ²)/mean(θ)²; "jackknife" (default), N r - (N - 1)·mean of r without each draw, which takes away the
    bias of order 1/N; "disjoint", (1/N) Σ_i θ_i²/m_i, with m_i the unbiased estimate of (E Θ)² from the other draws (biased upwards
    still); "printed": that with 1/(N - 2) in front. `sem` is that of the plug-in with every method, by `error`: "jackknife", or
    "bootstrap", the deviation of r over `resamples` samples drawn with replacement, fixed by `seed`. `logarithms`: `samples` are log θ
    (-inf for 0), of any size.
    log Θ of a deep network is close to normal, so that E Θ² comes from rare large draws. The estimate is called unreliable when fewer
    than min(50, N/2) draws carry Σθ², or when a normal law of log θ with the sample's deviation s expects fewer than min(20, N/5) draws
    beyond 2s² above its mean, where the bulk of E Θ² lies: `mean` and `sem` are then likely too small.
    Returns: a `DispersionEstimate`. Raises: `InputError` for fewer than three draws, NaN, and means of zero.
    Source: Efron and Stein 1981 (jackknife); Efron and Tibshirani 1993, chapter 6 (bootstrap: 200 resamples are enough for an error);
    Seleznova and Kutyniok 2022, appendix C.3 ("printed").
    """
    one_of("method", method, ("jackknife", "plug-in", "disjoint", "printed"))
    one_of("error", error, ("jackknife", "bootstrap"))
    theta, logs = _scaled(samples, logarithms)
    n, total, squares = theta.size, float(theta.sum()), theta**2
    if total == 0 or (total - theta == 0).any():
        raise fail("draws whose mean, with any one left out, is not zero", f"a sum of {total:g}", "check the draws, or draw more")
    plug_in = n * float(squares.sum()) / total**2
    others = (n - 1) * (squares.sum() - squares) / (total - theta) ** 2
    if method == "plug-in":
        mean = plug_in
    elif method == "jackknife":
        mean = n * plug_in - (n - 1) * float(others.mean())
    else:
        pairs = ((total - theta) ** 2 - (squares.sum() - squares)) / ((n - 1) * (n - 2))
        mean = float(np.sum(squares / pairs)) / (n if method == "disjoint" else n - 2)
    if error == "jackknife":
        sem = math.sqrt((n - 1) / n * float(np.sum((others - others.mean()) ** 2)))
    else:
        sem = _bootstrap(theta, integer("resamples", resamples, least=2), integer("seed", seed, least=0))
    effective = effective_sample_size(squares)
    status = _status(logs, effective, n)
    return DispersionEstimate(mean, sem, n, effective, status == "reliable", status)


def effective_sample_size(weights: np.ndarray) -> float:
    """(Σw)²/Σw²: how many draws carry the sum of `weights`.

    Source: Kong 1992.
    """
    w = weights / np.max(np.abs(weights))
    return float(w.sum() ** 2 / np.sum(w**2))


def _scaled(samples: object, logarithms: bool) -> tuple[np.ndarray, np.ndarray]:
    """θ in units of the largest |θ|, so that fourth powers stay within the range of floats, and log θ of the positive ones.

    No logarithms where some draws are negative.
    """
    values = array("samples", samples, finite=not logarithms).astype(np.float64).ravel()
    if values.size < 3:
        raise fail("at least 3 draws", f"{values.size}", "draw more initializations")
    if logarithms:
        if np.isnan(values).any() or values.max() in (-np.inf, np.inf):
            raise fail("logarithms below infinity, one at least of a positive draw", "NaN or infinite ones", "check the draws")
        return np.exp(values - values.max()), values[values > -np.inf]
    theta = values / (float(np.max(np.abs(values))) or 1.0)
    return theta, np.log(theta[theta > 0]) if (theta >= 0).all() else np.empty(0)


def _bootstrap(theta: np.ndarray, resamples: int, seed: int) -> float:
    """The deviation of mean(θ²)/mean(θ)² over samples drawn with replacement; inf if one of them sums to zero."""
    rng = np.random.default_rng(seed)
    drawn = (theta[rng.integers(theta.size, size=theta.size)] for _ in range(resamples))
    sums = np.array([(np.mean(part), np.mean(part**2)) for part in drawn])
    if (sums[:, 0] == 0).any():
        return math.inf
    return float(np.std(sums[:, 1] / sums[:, 0] ** 2, ddof=1))


def _status(logs: np.ndarray, effective: float, n: int) -> str:
    """Whether the tail leaves enough draws to believe the estimate, in words."""
    if effective < min(ENOUGH, ENOUGH_SHARE * n):
        return f"unreliable: {effective:.1f} of {n} draws carry Σθ²; draw more, or compare log θ"
    if logs.size > 1:
        deviation = float(np.std(logs, ddof=1))
        # tilting a normal law of log θ by θ² moves its mean by twice its variance: 2s in units of its deviation s
        beyond = logs.size * 0.5 * math.erfc(2 * deviation / math.sqrt(2))
        if beyond < min(BEYOND, BEYOND_SHARE * n):
            return f"unreliable: {beyond:.2g} draws expected where the bulk of E θ² lies; draw more, or compare log θ"
    return "reliable"
