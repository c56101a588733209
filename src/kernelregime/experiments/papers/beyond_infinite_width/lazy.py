"""B8: rescaling the model by α and the loss by 1/α² (lazy training): what it does to the first step's relative change of the NTK."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kernelregime.claims import Claim, Estimate
from kernelregime.experiments.experiment import Arrays, Experiment, Measured, Params, Scale
from kernelregime.experiments.papers.beyond_infinite_width.dense import Networks, Passes, networks, passes, rate, stepped
from kernelregime.experiments.papers.beyond_infinite_width.paper import PAPER
from kernelregime.theory import first_step, ntk_moments

PHASES = {"ordered phase": 1.0, "edge of chaos": 2.0, "chaotic phase": 3.0}  # σ_w²
HARDER = {3.0: 2.25}  # times as many draws: in the chaotic phase few networks decide the mean
READINGS = ("loss of f", "loss of αf", "loss of αf, f = 0 first")
SIZES: Mapping[Scale, Mapping[str, Any]] = {
    "smoke": {"alphas": (1, 4), "shapes": ((10, 2), (20, 4)), "draws": 1000, "plain": (20, 4), "steps": 1000},
    "laptop": {"alphas": (1, 2, 4), "shapes": ((20, 4), (40, 8), (80, 16)), "draws": 3000, "plain": (40, 6), "steps": 60_000},
    "paper": {
        "alphas": (1, 2, 4, 8, 16, 32),
        "shapes": ((50, 10), (100, 20), (200, 40)),
        "draws": 50_000,
        "plain": (200, 20),
        "steps": 200_000,
    },
}
GENTLE = 0.005  # η E Θ of a whole step at α = 1
# what whole steps leave open of what holds to first order in η: units that switch in one step cancel one another in part, the more the
# larger it is, so that |ΔΘ| grows more slowly than η
FIRST_ORDER = 0.2


def cells(scale: Scale) -> Mapping[str, Params]:
    """A cell for each phase in which α varies; one for each phase and size at one L/M, where α = (σ_w/√2)^L."""
    alphas, shapes, draws, (width, depth) = (SIZES[scale][name] for name in ("alphas", "shapes", "draws", "plain"))
    steps = SIZES[scale]["steps"]
    found: dict[str, Params] = {}
    for weight in PHASES.values():
        shared = {"sigma_w2": weight, "draws": draws}
        found[f"alpha-w{weight:g}"] = {
            "width": width,
            "depth": depth,
            "alphas": list(alphas),
            **shared,
            "draws": round(steps * HARDER.get(weight, 1)),
        }
        found |= {f"depth-w{weight:g}-l{deep}": {"width": wide, "depth": deep, "alphas": [], **shared} for wide, deep in shapes}
    return found


def seconds(*, width: int, depth: int, draws: int, alphas: list[float], **_: Any) -> float:
    """About how long a cell takes."""
    return draws * depth * (width**2 * 3e-8 + 5e-6) * (0.4 + 0.08 * len(READINGS) * len(alphas))


def run(*, sigma_w2: float, width: int, depth: int, draws: int, alphas: list[float], seed: int) -> Arrays:
    """E ΔΘ/(η E Θ) by the derivative at y = 0; for each α and reading of the loss, E |ΔΘ̃|/E Θ̃ of a whole step at y = 1."""
    widths = (*(width for _ in range(depth)), 1)
    setting: dict[str, Any] = {"sigma_w2": sigma_w2, "sigma_b2": 0.0, "parameterization": "standard"}
    mean = ntk_moments(widths, **setting).mean
    changes, whole = [], []
    for net in networks(widths, sigma_w2=sigma_w2, draws=draws, rng=np.random.default_rng(seed)):
        at = passes(net)
        changes.append(-at.outputs * rate(net, at) / mean)
        whole.append(np.array([_whole(net, at, alpha, GENTLE / mean) / mean for alpha in alphas]))
    change = np.concatenate(changes)
    found = {"relative": np.array([change.mean(), change.std(ddof=1) / math.sqrt(draws)])}
    if alphas:
        sizes = np.concatenate(whole, axis=2)  # α, reading, draw
        found |= {"size": sizes.mean(axis=2), "size_sem": sizes.std(axis=2, ddof=1) / math.sqrt(draws)}
        # of the same draws, each α over the first: the errors are nearly proportional
        ratio = sizes.mean(axis=2) / sizes[:1].mean(axis=2)
        found |= {
            "ratio": ratio,
            "ratio_sem": (sizes - ratio[..., None] * sizes[:1]).std(axis=2, ddof=1) / math.sqrt(draws) / found["size"][:1],
        }
    return found | {"exact": np.array(first_step(widths, **setting).relative)}


def _whole(net: Networks, at: Passes, alpha: float, eta: float) -> np.ndarray:
    """|ΔΘ| (readings, draws) at y = 1: the loss ½(f - 1)²/α² of f; ½(αf - 1)²/α²; and that with f's first values taken off f.

    α² is common to Θ̃ = α²Θ before and after. The gradients are (f - 1)/α² ∇f, (αf - 1)/α ∇f and -1/α ∇f.
    """
    residuals = ((at.outputs - 1) / alpha**2, (alpha * at.outputs - 1) / alpha, np.full_like(at.outputs, -1 / alpha))
    return np.array([np.abs(passes(stepped(net, at, eta * residual)).theta - at.theta) for residual in residuals])


def claims(measured: Measured) -> Sequence[Claim]:
    """How the relative change depends on α, by what the rescaled loss is a loss of; then α = (σ_w/√2)^L in the three phases."""
    made: list[Claim] = []
    for phase, weight in PHASES.items():
        ((params, arrays),) = (found for found in measured.where(sigma_w2=weight) if found[0]["alphas"])
        made += _powers(phase, params, arrays)
    for phase, weight in PHASES.items():
        made += _depth(phase, weight / 2, [found for found in measured.where(sigma_w2=weight) if not found[0]["alphas"]])
    return made


def _powers(phase: str, params: Params, arrays: Arrays) -> list[Claim]:
    index = params["alphas"].index(4)
    ratios = [
        Estimate(float(mean), float(sem), params["draws"])
        for mean, sem in zip(arrays["ratio"][index], arrays["ratio_sem"][index], strict=True)
    ]
    where = f"{phase}, M = {params['width']}, L = {params['depth']}, y = 1"
    said = "E |ΔΘ̃|/E Θ̃ of a whole step at α = 4 over that at α = 1"
    return [
        Claim("appendix B.3", f"{said}, loss of f over α²: 1/α²; {where}", 1 / 16, ratios[0], FIRST_ORDER),
        Claim("ours", f"{said}, loss of αf, the rescaled model's own, over α²: above 1/α²; {where}",
              (1 + FIRST_ORDER) / 16, ratios[1], relation="at least", origin="ours"),
        Claim("ours", f"{said}, loss of αf over α², f = 0 at first: 1/α; {where}", 1 / 4, ratios[2], FIRST_ORDER, origin="ours"),
    ]  # fmt: skip


def _depth(phase: str, a: float, found: Sequence[tuple[Params, Arrays]]) -> list[Claim]:
    ends = []
    for params, arrays in (found[0], found[-1]):
        alpha2 = a ** params["depth"]
        mean, sem = (float(value) / alpha2 for value in arrays["relative"])
        ends.append(Estimate(mean, sem, params["draws"]))
    (low, _), (high, last) = found[0], found[-1]
    growth = ends[1].mean / ends[0].mean
    grown = Estimate(growth, abs(growth) * math.hypot(ends[0].sem / ends[0].mean, ends[1].sem / ends[1].mean), high["draws"])
    where = f"{phase}, L/M = {high['depth'] / high['width']:.2g}, L = {low['depth']} to {high['depth']}"
    exact = float(last["exact"]) / a ** high["depth"]
    at = f"{phase}, M = {high['width']}, L = {high['depth']}"
    said = f"with α = (σ_w/√2)^L and constant η the relative change, over α², falls with depth; {where}"
    return [
        Claim("appendix B.3", said, 1.0, grown, relation="at most"),
        Claim("ours: theory.first_step", f"E ΔΘ/(η E Θ)/α², α = (σ_w/√2)^L, by the derivative, y = 0; {at}", exact, ends[1], origin="ours"),
    ]


EXPERIMENT = Experiment(
    key="B8",
    paper=PAPER,
    title="Lazy rescaling",
    statement="Rescaling f to αf and the loss by 1/α² divides the relative change of Θ(x, x) in the first step by α²; with "
    "α = (σ_w/√2)^L it tends to zero in all phases.",
    source="appendix B.3",
    cells=cells,
    run=run,
    claims=claims,
    seconds=seconds,
    version=2,
    choices=(
        "loss ½(f - y)², y = 1, σ_w² = 1, 2, 3, n_0 = M; networks with sampled weights, zero biases that are trained",
        "three readings of the rescaled loss: of f, as the paper's derivation has it, of αf, and of αf for networks whose first outputs "
        "are taken off",
        f"whole steps, η E Θ = {GENTLE} at α = 1, in which units switch: what holds to first order in η is allowed {FIRST_ORDER:.0%}",
        "depth by the derivative of Θ at y = 0",
    ),
)
