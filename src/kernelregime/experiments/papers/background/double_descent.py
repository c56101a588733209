"""G2: the risk of ridgeless least squares against parameters over points, and interpolators of unbounded risk."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kernelregime.claims import Claim, Estimate
from kernelregime.experiments.experiment import Arrays, Experiment, Measured, Params, Scale
from kernelregime.experiments.papers.background import interpolators
from kernelregime.experiments.papers.background.paper import PAPER
from kernelregime.theory import excess_risk_limit, expected_excess_risk, least_risk_ratio, printed_risk_limit

RATIOS = (0.1, 0.2, 0.4, 0.5, 0.6, 0.8, 0.9, 1.1, 1.2, 1.4, 1.8, 2.0, 3.0, 5.0, 10.0)  # γ = P/N
LIMITS = (0.5, 2.0)  # those at which the risk is compared with its limit
SIGNALS = (5.0, 0.5)  # r² = ‖w*‖² beside noise of variance 1
SIZES: Mapping[Scale, Mapping[str, Any]] = {
    "smoke": {"ratios": (0.2, 0.5, 0.8, 1.4, 1.8, 2.0, 10.0), "points": 20, "draws": 100, "fresh": 50, "precise": 100},
    "laptop": {"ratios": RATIOS, "points": 100, "draws": 200, "fresh": 100, "precise": 3000},
    "paper": {"ratios": RATIOS, "points": 400, "draws": 1000, "fresh": 1000, "precise": 10_000},
}


def cells(scale: Scale) -> Mapping[str, Params]:
    """A cell for each γ, and one for the interpolators."""
    size = SIZES[scale]
    sampled = {name: size[name] for name in ("points", "draws", "fresh")}
    found: dict[str, Params] = {f"g{ratio:g}": {"ratio": ratio, **sampled} for ratio in size["ratios"]}
    for ratio in LIMITS:
        found[f"g{ratio:g}"] = {"ratio": ratio, "points": size["points"], "draws": size["precise"], "fresh": 4 * size["fresh"]}
    return found | {"interpolators": {"ratio": interpolators.RATIO, "interpolators": True, **sampled}}


def seconds(*, ratio: float, points: int, draws: int, fresh: int, **_: Any) -> float:
    """About how long a cell takes."""
    parameters = ratio * points
    return draws * (3e-8 * parameters * (points + fresh) + 2e-10 * points * parameters * min(points, parameters) + 1e-3)


def run(*, ratio: float, points: int, draws: int, fresh: int, seed: int, interpolators: bool = False) -> Arrays:
    """Errors of least squares by draw, and the risks of theory."""
    if interpolators:
        return unbounded(ratio=ratio, points=points, draws=draws, fresh=fresh, seed=seed)
    parameters = round(ratio * points)
    rng = np.random.default_rng(seed)
    found = [_draw(rng, points, parameters, fresh) for _ in range(draws)]
    signals = np.array(SIGNALS)
    theory = {
        "limit": [excess_risk_limit(parameters / points, signal=signal, noise=1.0) for signal in signals],
        "printed": [printed_risk_limit(parameters / points, signal=signal, noise=1.0) for signal in signals],
        "exact": [expected_excess_risk(points, parameters, signal=signal, noise=1.0) for signal in signals],
    }
    errors = {name: np.array([draw[name] for draw in found], np.float32) for name in found[0]}
    return errors | {name: np.array(value, np.float64) for name, value in theory.items()} | {"signals": signals}


def _draw(rng: np.random.Generator, points: int, parameters: int, fresh: int) -> dict[str, list[float]]:
    """One train set and new points. Least squares is linear in the targets: errors for any r and σ follow from these of r = 1 and σ = 1.

    Of r a + σ b the mean square is r² E a² + 2rσ E ab + σ² E b²: `test` (new noisy points), `train` and `norm` (of w) hold the three.
    """
    x, new = rng.normal(size=(points, parameters)), rng.normal(size=(fresh, parameters))
    target = rng.normal(size=parameters)
    target /= np.linalg.norm(target)
    noise = rng.normal(size=points)
    right = np.stack([x @ target, noise], 1)
    weights = interpolators.least_squares(x, right)
    test = new @ (weights - np.stack([target, np.zeros(parameters)], 1)) - np.stack([np.zeros(fresh), rng.normal(size=fresh)], 1)
    train = x @ weights - right

    def squares(pair: np.ndarray) -> list[float]:
        product = pair.T @ pair
        return [product[0, 0], 2 * product[0, 1], product[1, 1]]

    return {"test": [value / fresh for value in squares(test)], "train": [v / points for v in squares(train)], "norm": squares(weights)}


def unbounded(**params: Any) -> Arrays:
    """The cell of the interpolators."""
    return interpolators.run(**params)


def of(squares: np.ndarray, signal: float, noise: float = 1.0) -> np.ndarray:
    """The mean square, by draw, for ‖w*‖² = `signal` and this variance of the noise."""
    return squares @ np.array([signal, math.sqrt(signal * noise), noise])


def _limits(measured: Measured) -> list[Claim]:
    """The risk at γ = ½ and 2 as printed, corrected, and exactly."""
    made, signal = [], SIGNALS[0]
    for ratio in LIMITS:
        ((params, arrays),) = measured.where(ratio=ratio, interpolators=None)
        points = params["points"]
        found = Estimate.of(of(arrays["test"], signal))
        where = f"γ = {ratio:g}, N = {points}, ‖w*‖² = r² = {signal:g}, σ² = 1"
        # (P - N)/(P - N - 1) - 1, the distance of the exact risk from its limit, to leading order
        tolerance = 1 / (points * abs(1 - ratio))
        at = {name: float(arrays[name][0]) for name in ("limit", "printed", "exact")}
        made += [
            Claim("theorem 2.5, eq. 2.46", f"limit of the expected risk (2.45) as printed; {where}", at["printed"], found, tolerance),
            Claim(
                "theorem 2.5, corrected",
                f"limit of the expected risk, corrected: σ²/(γ-1), and σ² for the noise of new data; {where}",
                at["limit"] + 1,
                found,
                tolerance,
                origin="corrected",
            ),
            Claim("theorem 2.5, exact", f"exact expected risk of this N and P; {where}", at["exact"] + 1, found, origin="ours"),
        ]
    ((params, arrays),) = measured.where(ratio=2.0, interpolators=None)
    squared = Estimate.of(of(arrays["test"], signal, 0.0))
    where = f"γ = 2, N = {params['points']}, no noise, ‖w*‖ = √{signal:g}"
    made += [  # of any N and P
        Claim("theorem 2.5", f"risk r²(1 - 1/γ) with ‖w*‖ = r² as printed; {where}", math.sqrt(signal) / 2, squared),
        Claim("theorem 2.5, corrected", f"risk r²(1 - 1/γ) with ‖w*‖ = r; {where}", signal / 2, squared, origin="corrected"),
    ]
    return made


def _difference(measured: Measured, high: float, low: float, signal: float, name: str = "test") -> Estimate:
    """The mean at γ = `high` less that at γ = `low`, of independent draws."""
    values = [of(measured.one(ratio=ratio, interpolators=None)[name], signal) for ratio in (high, low)]
    return Estimate.of(values[0] - values[1])


def _shape(measured: Measured) -> list[Claim]:
    """Where the risk rises and falls."""
    large, small = SIGNALS
    best = least_risk_ratio(signal=large, noise=1.0)
    rises = _expected_difference(measured, 10.0, 1.8, large)
    falls = "risk at γ = 10 less that at γ = 1.8 (falls with P above the threshold)"
    source = "theorem 2.5, remark; figure 2.4"
    return [
        Claim(source, f"risk at γ = 0.8 less that at γ = 0.2 (rises with P below the threshold); r² = {large:g}, σ² = 1", 0.0,
              _difference(measured, 0.8, 0.2, large), relation="at least"),
        Claim(source, f"{falls}; r² = {small:g}, σ² = 1", 0.0, _difference(measured, 10.0, 1.8, small), relation="at most"),
        Claim(source, f"{falls}; r² = {large:g}, σ² = 1", 0.0, _difference(measured, 10.0, 1.8, large), relation="at most"),
        Claim(
            "theorem 2.5, corrected", f"risk at γ = 10 less that at γ = 1.8: for r² > σ² it rises again beyond γ = r/(r-σ) = {best:.3g}; "
            f"r² = {large:g}, σ² = 1", rises, _difference(measured, 10.0, 1.8, large), origin="corrected",
        ),
        Claim("theorem 2.5, remark", f"‖ŵ‖² at γ = 10 less that at γ = 1.4 (the least norm falls with P); r² = {large:g}, σ² = 1", 0.0,
              _difference(measured, 10.0, 1.4, large, "norm"), relation="at most"),
        Claim("section 2.3.2", f"mean squared error on the train set at γ = 2 (it interpolates); r² = {large:g}, σ² = 1", 1e-10,
              Estimate.of(of(measured.one(ratio=2.0, interpolators=None)["train"], large)), relation="at most"),
    ]  # fmt: skip


def _expected_difference(measured: Measured, high: float, low: float, signal: float) -> float:
    """The exact risk at γ = `high` less that at γ = `low`."""
    index = SIGNALS.index(signal)
    first, second = (float(measured.one(ratio=ratio, interpolators=None)["exact"][index]) for ratio in (high, low))
    return first - second


def claims(measured: Measured) -> Sequence[Claim]:
    """The theorem, the shape of the curve, and (2.47)."""
    return [*_limits(measured), *_shape(measured), *interpolators.claims(*measured.where(interpolators=True)[0])]


EXPERIMENT = Experiment(
    key="G2",
    paper=PAPER,
    title="Double descent of ridgeless least squares; interpolators of unbounded risk",
    statement="With more parameters the risk of the least-squares solution of least norm rises up to the interpolation threshold and falls "
    "beyond it; other interpolators have arbitrarily large risk.",
    source="theorem 2.5, eqs 2.45 to 2.47, figure 2.4",
    figures=("Figure 2.4",),
    cells=cells,
    run=run,
    claims=claims,
    seconds=seconds,
    choices=(
        "normal inputs of covariance 1, N = 100 (paper's size: 400), σ² = 1, ‖w*‖² = 5 and ½, w* in a random direction",
        "the risk is measured on new points with new noise; more draws at γ = ½ and 2, where it is compared with limits",
        "interpolators: P = 2N, covariances from 0.2 to 1.8",
    ),
)
