"""B3: the mean of Θ(x, x̃) beside that of Θ(x, x), against depth over width, by the angle of the inputs."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kernelregime.claims import Claim, Estimate
from kernelregime.experiments.experiment import Arrays, Experiment, Measured, Params, Scale
from kernelregime.experiments.papers.beyond_infinite_width.course import less
from kernelregime.experiments.papers.beyond_infinite_width.paper import PAPER
from kernelregime.theory import OFF_DIAGONAL_BOUNDS, off_diagonal_ratio, sample_ntk_matrix

CORRELATIONS = (0.1, 0.3, 0.5, 0.7, 0.9)  # x·x̃
WEIGHTS = (1.0, 1.5, 2.0, 3.0)  # σ_w²
PHASES = {1.0: "ordered phase", 1.5: "ordered phase", 2.0: "edge of chaos", 3.0: "chaotic phase"}
RATIOS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)  # L/M
SHALLOW = RATIOS.index(0.1)
CLOSE = 0.05  # "a good approximation"
SIZES: Mapping[Scale, Mapping[int, int]] = {  # draws by width
    "smoke": {20: 60},
    "laptop": {100: 500, 200: 100, 500: 20},
    "paper": {100: 500, 200: 500, 500: 500},
}


def cells(scale: Scale) -> Mapping[str, Params]:
    """A cell for each σ_w² and width."""
    return {
        f"w{weight:g}-m{width}": {
            "sigma_w2": weight,
            "width": width,
            "depths": [max(2, round(ratio * width)) for ratio in RATIOS],
            "draws": draws,
        }
        for weight, (width, draws) in itertools.product(WEIGHTS, SIZES[scale].items())
    }


def seconds(*, width: int, depths: list[int], draws: int, **_: Any) -> float:
    """About how long a cell takes."""
    return sum(depths) * (2e-3 + 1e-6 * width * draws)


def run(*, sigma_w2: float, width: int, depths: list[int], draws: int, seed: int) -> Arrays:
    """By depth and correlation: E Θ(x, x̃)/E Θ(x, x) with its standard error, and the estimate (18) in the ordered phase (else nan)."""
    points = np.zeros((1 + len(CORRELATIONS), width))
    points[0, 0] = 1
    points[1:, 0] = CORRELATIONS
    points[np.arange(1, len(points)), np.arange(1, len(points))] = np.sqrt(1 - np.square(CORRELATIONS))
    found = []
    for depth, own in zip(depths, np.random.SeedSequence(seed).generate_state(len(depths)), strict=True):
        widths = (*(width for _ in range(depth)), 1)
        theta = sample_ntk_matrix(
            widths, "relu", points, sigma_w2=sigma_w2, sigma_b2=0.0, parameterization="standard", draws=draws, seed=int(own)
        ).theta
        found.append(_ratios(theta))
    estimate = [
        [off_diagonal_ratio(c, depth=depth, sigma_w2=sigma_w2) if sigma_w2 < 2 else np.nan for c in CORRELATIONS] for depth in depths
    ]
    mean, sem = np.moveaxis(np.array(found), 1, 0)
    return {"ratio": mean, "sem": sem, "estimate": np.array(estimate)}


def _ratios(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ratio of the means of Θ(x_0, x_j) and of the diagonal for each j, and its error to first order."""
    diagonal = np.diagonal(theta, axis1=1, axis2=2)
    off, on = theta[:, 0, 1:], (diagonal[:, :1] + diagonal[:, 1:]) / 2
    ratio = off.mean(0) / on.mean(0)
    return ratio, np.std(off - ratio * on, axis=0, ddof=1) / (on.mean(0) * np.sqrt(len(theta)))


def claims(measured: Measured) -> Sequence[Claim]:
    """The bounds (16) in each phase, the estimate (18), and the course with depth."""
    width = min(params["width"] for params, _ in measured.where())
    return [*_bounds(measured, width), *_estimate(measured, width), *_depths(measured, width)]


def _found(measured: Measured, weight: float, width: int, depth: int, correlation: float) -> tuple[Estimate, float, str]:
    """The measured ratio, its estimate (18), and where; `depth` an index."""
    ((params, arrays),) = measured.where(sigma_w2=weight, width=width)
    column = CORRELATIONS.index(correlation)
    found = Estimate(float(arrays["ratio"][depth, column]), float(arrays["sem"][depth, column]), params["draws"])
    where = f"{PHASES[weight]}, σ_w² = {weight:g}, M = {width}, L = {params['depths'][depth]}, x·x̃ = {correlation:g}"
    return found, float(arrays["estimate"][depth, column]), where


def _bounds(measured: Measured, width: int) -> list[Claim]:
    made = []
    for weight in (1.0, 2.0, 3.0):
        low, _, where = _found(measured, weight, width, -1, 0.1)
        made.append(Claim("eq. 16", f"E Θ(x, x̃)/E Θ(x, x); {where}", OFF_DIAGONAL_BOUNDS.lower, low, relation="at least"))
        high, _, where = _found(measured, weight, width, -1, 0.9)
        made.append(Claim("eq. 16", f"E Θ(x, x̃)/E Θ(x, x); {where}", OFF_DIAGONAL_BOUNDS.upper, high, relation="at most"))
    return made


def _estimate(measured: Measured, width: int) -> list[Claim]:
    """(18) as a lower bound of deep networks, as an approximation at every width, and what becomes of the bound in shallow ones."""
    made = []
    for correlation in (0.1, 0.5, 0.9):
        found, estimate, where = _found(measured, 1.5, width, -1, correlation)
        made.append(Claim("eq. 18", f"E Θ(x, x̃)/E Θ(x, x), at least the estimate; {where}", estimate, found, relation="at least"))
    for other in sorted({params["width"] for params, _ in measured.where()}):
        found, estimate, where = _found(measured, 1.5, other, -1, 0.5)
        made.append(Claim("section 3.3", f"E Θ(x, x̃)/E Θ(x, x), close to the estimate; {where}", estimate, found, CLOSE))
    found, estimate, where = _found(measured, 1.5, width, SHALLOW, 0.5)
    statement = f"E Θ(x, x̃)/E Θ(x, x), below the estimate where the weights' part still counts; {where}"
    return [*made, Claim("eq. 18", statement, estimate, found, relation="at most", origin="ours")]


def _depths(measured: Measured, width: int) -> list[Claim]:
    """The ratio rises with depth in the ordered phase, and is least in the chaotic phase."""
    made = []
    for weight in (1.0, 1.5):
        (deep, _, where), (shallow, _, _) = (_found(measured, weight, width, depth, 0.1) for depth in (-1, 0))
        statement = f"E Θ(x, x̃)/E Θ(x, x) less that of the shallowest network; {where}"
        made.append(Claim("section 3.3", statement, 0.0, less(deep, shallow), relation="at least"))
    (edge, _, where), (chaotic, _, _) = (_found(measured, weight, width, SHALLOW, 0.1) for weight in (2.0, 3.0))
    statement = f"E Θ(x, x̃)/E Θ(x, x) less that of the chaotic phase (σ_w² = 3); {where}"
    return [*made, Claim("section 3.3", statement, 0.0, less(edge, chaotic), relation="at least")]


EXPERIMENT = Experiment(
    key="B3",
    paper=PAPER,
    title="Off-diagonal entries of the NTK",
    statement="E Θ(x, x̃) lies between a quarter of E Θ(x, x) and the whole; in the ordered phase the ratio rises quickly with depth, and "
    "(18) bounds it from below and is close to it.",
    source="theorem 3.3, figures 3 and 11",
    figures=("Figure 3", "Figure 11"),
    cells=cells,
    run=run,
    claims=claims,
    seconds=seconds,
    choices=(
        "σ_w² = 1, 1.5, 2, 3",
        "draws by the exact law of Θ on several inputs (theory.sample_ntk_matrix), of unit norm at exactly these angles",
        "500 draws at M = 100, on a laptop fewer than the paper's 500 at M = 200 (100) and 500 (20)",
        "a good approximation is one within 5 %",
    ),
)
