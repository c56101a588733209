"""B6: the dispersion of Θ(x, x) at the edge of chaos, by the ratio α₀ of the input's dimension to the width."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kernelregime.claims import Claim
from kernelregime.experiments.experiment import Arrays, Experiment, Measured, Params, Scale
from kernelregime.experiments.papers.beyond_infinite_width.course import at, course, least_step, ratio
from kernelregime.experiments.papers.beyond_infinite_width.paper import PAPER, near_limit
from kernelregime.theory import dispersion_limit, printed_dispersion_limit

ALPHAS = (1.0, 0.8, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)  # n_0/M
EDGE, CHAOTIC = 2.0, 3.0  # σ_w²
RATIOS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)  # L/M
CURVE = np.linspace(0.01, 0.5, 50)  # L/M at which the limits are drawn
SIZES: Mapping[Scale, Mapping[str, Any]] = {
    "smoke": {"alphas": (1.0, 0.5, 0.1), "width": 40, "precise": 200},
    "laptop": {"alphas": ALPHAS, "width": 500, "precise": 20_000},
    "paper": {"alphas": ALPHAS, "width": 500, "precise": 1_000_000},
}


def cells(scale: Scale) -> Mapping[str, Params]:
    """A cell for each α₀ at the edge of chaos, one for a single input there, one for the chaotic phase."""
    alphas, width, precise = (SIZES[scale][name] for name in ("alphas", "width", "precise"))
    shared = {"width": width, "depths": [max(2, round(ratio * width)) for ratio in RATIOS], "precise": precise}
    edge = {f"a{alpha:g}": {"sigma_w2": EDGE, "inputs": round(alpha * width), **shared} for alpha in alphas}
    single: Params = {"sigma_w2": EDGE, "inputs": 1, **shared}
    return {**edge, "single": single, "chaotic": {"sigma_w2": CHAOTIC, "inputs": width, **shared}}


def seconds(*, depths: list[int], precise: int, **_: Any) -> float:
    """About how long a cell takes."""
    return sum(depths) * 2.3e-7 * precise


def run(*, sigma_w2: float, inputs: int, width: int, depths: list[int], precise: int, seed: int) -> Arrays:
    """The dispersion by depth, and its limits on a finer grid."""
    networks = [(inputs, *(width for _ in range(depth - 1)), 1) for depth in depths]
    alpha = inputs / width
    ratios = np.array(depths) / width
    limits = {}
    for name, where in (("", ratios), ("curve_", CURVE)):
        limits[f"{name}printed"] = printed_dispersion_limit(where, sigma_w2=sigma_w2, alpha0=alpha)
        limits[f"{name}corrected"] = dispersion_limit(where, sigma_w2=sigma_w2, sigma_b2=0.0, parameterization="standard", alpha0=alpha)
    return {**course(networks, sigma_w2=sigma_w2, precise=precise, seed=seed), **limits, "curve": CURVE}


def claims(measured: Measured) -> Sequence[Claim]:
    """The limits at the largest depth, the approach to the chaotic phase as α₀ falls, and what is left of it at one input."""
    edge = measured.where(sigma_w2=EDGE)
    width, depth, precise = (edge[0][0][name] for name in ("width", "depths", "precise"))
    where = f"M = {width}, L = {depth[-1]}"
    made = []
    for params, arrays in edge:
        if params["inputs"] not in (width, width // 2, width // 10):
            continue
        found, tolerance = at(arrays, -1, precise), near_limit(width, RATIOS[-1])
        here = f"edge of chaos, α₀ = {params['inputs'] / width:g}, {where}"
        printed, corrected = float(arrays["printed"][-1]), float(arrays["corrected"][-1])
        made += [
            Claim("eq. 9", f"limit of the dispersion as printed; {here}", printed, found, tolerance),
            Claim("eq. 9, corrected", f"limit of the dispersion, corrected; {here}", corrected, found, tolerance, origin="corrected"),
            Claim("theorem 3.2, corrected", f"exact dispersion; {here}", float(arrays["exact"][-1]), found, origin="corrected"),
        ]
    falling = [at(arrays, -1, precise) for params, arrays in edge if params["inputs"] > 1]
    names = ", ".join(f"{params['inputs'] / width:g}" for params, _ in edge if params["inputs"] > 1)
    statement = f"edge of chaos: smallest increase of the dispersion between neighbours α₀ = {names}; {where}"
    made.append(Claim("appendix B.1", statement, 0.0, least_step(falling), relation="at least"))
    chaotic, single = (at(measured.one(sigma_w2=weight, inputs=n), -1, precise) for weight, n in ((CHAOTIC, width), (EDGE, 1)))
    statement = f"dispersion at the edge of chaos with one input (α₀ = 1/M) over that at σ_w² = {CHAOTIC:g}; {where}"
    return [*made, Claim("remark 1", statement, 1.0, ratio(single, chaotic), near_limit(width, RATIOS[-1]))]


EXPERIMENT = Experiment(
    key="B6",
    paper=PAPER,
    title="Dispersion at the edge of chaos and the input's dimension",
    statement="As α₀ = n_0/M falls, the dispersion at the edge of chaos rises to that of the chaotic phase.",
    source="remark 1, appendix B.1, figure 5",
    figures=("Figure 5",),
    cells=cells,
    run=run,
    claims=claims,
    seconds=seconds,
    choices=(
        "the paper draws its limits alone: here networks of M = 500 are measured too",
        "of weighted draws E Θ and the mean squares of its terms are taken from their formulas, products over layers: measured is how the "
        "terms go together; B1 measures these, of plain draws, too",
    ),
)
