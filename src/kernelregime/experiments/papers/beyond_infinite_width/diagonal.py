"""B1: the dispersion of Θ(x, x) against depth over width, in the three phases."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kernelregime.claims import Claim, Estimate
from kernelregime.experiments.experiment import Arrays, Experiment, Measured, Params, Scale
from kernelregime.experiments.papers.beyond_infinite_width.paper import PAPER, near_limit
from kernelregime.theory import (
    dispersion_estimate,
    dispersion_limit,
    ntk_moments,
    printed_dispersion_limit,
    printed_ntk_moments,
    sample_ntk,
    simulated_dispersion,
)

WEIGHTS = (0.5, 0.8, 1.0, 1.2, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0, 2.1, 2.2, 2.5, 3.0, 3.5)  # σ_w² of figure 1
SIZES: Mapping[Scale, Mapping[str, Any]] = {
    "smoke": {"weights": (1.0, 2.0, 3.0), "widths": (20,), "draws": 100, "precise": 400},
    "laptop": {"weights": WEIGHTS, "widths": (100, 200, 500), "draws": 500, "precise": 12_000},
    "paper": {"weights": WEIGHTS, "widths": (100, 200, 500), "draws": 500, "precise": 1_000_000},
}
RATIOS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)  # L/M
SHALLOW = 0.1  # L/M up to which 500 draws settle a mean of squares


def cells(scale: Scale) -> Mapping[str, Params]:
    """A cell for each σ_w² and width."""
    weights, widths, draws, precise = (SIZES[scale][name] for name in ("weights", "widths", "draws", "precise"))
    return {
        f"w{weight:g}-m{width}": {
            "sigma_w2": weight,
            "width": width,
            "depths": [max(2, round(ratio * width)) for ratio in RATIOS],
            "draws": draws,
            "precise": precise,
        }
        for weight, width in itertools.product(weights, widths)
    }


def seconds(*, depths: list[int], draws: int, precise: int, **_: Any) -> float:
    """About how long a cell takes."""
    return sum(depths) * (1e-6 * draws + 2e-7 * precise)


def run(*, sigma_w2: float, width: int, depths: list[int], draws: int, precise: int, seed: int) -> Arrays:
    """Draws of log Θ(x, x) for an input of unit norm, and the dispersion by importance sampling; by depth."""
    setting: dict[str, Any] = {"sigma_w2": sigma_w2, "sigma_b2": 0.0, "parameterization": "standard"}
    log_theta, mean, sem, exact = [], [], [], []
    for depth in depths:
        widths = (*(width for _ in range(depth)), 1)
        log_theta.append(sample_ntk(widths, draws=draws, seed=seed, **setting).log_theta)
        found = simulated_dispersion(widths, draws=precise, seed=seed, **setting)
        mean.append(found.mean)
        sem.append(found.sem)
        exact.append(ntk_moments(widths, **setting).dispersion)
    ratios = np.array(depths) / width
    predicted = {
        "printed": printed_dispersion_limit(ratios, sigma_w2=sigma_w2),
        "corrected": dispersion_limit(ratios, sigma_w2=sigma_w2, sigma_b2=0.0, parameterization="standard"),
        "exact": np.array(exact),
    }
    return {"log_theta": np.array(log_theta, np.float32), "dispersion": np.array(mean), "sem": np.array(sem), **predicted}


def claims(measured: Measured) -> Sequence[Claim]:
    """At the largest width and depth, the limit of every phase as printed and corrected, and the exact dispersion of that width."""
    width = max(params["width"] for params, _ in measured.where())
    made = []
    for phase, weight in (("ordered phase", 1.0), ("edge of chaos", 2.0), ("chaotic phase", 3.0)):
        ((params, arrays),) = measured.where(width=width, sigma_w2=weight)
        at = {name: float(arrays[name][-1]) for name in ("dispersion", "sem", "printed", "corrected", "exact")}
        found = Estimate(at["dispersion"], at["sem"], params["precise"])
        where = f"{phase}, σ_w² = {weight:g}, M = n_0 = {width}, L = {params['depths'][-1]}"
        tolerance = near_limit(width, RATIOS[-1])
        made += _plain(params, arrays, phase)
        made += [
            Claim("theorem 3.1, eqs 8 to 10", f"limit of the dispersion as printed; {where}", at["printed"], found, tolerance),
            Claim(
                "theorem 3.1, corrected",
                f"limit of the dispersion, corrected; {where}",
                at["corrected"],
                found,
                tolerance,
                origin="corrected",
            ),
            Claim("theorem 3.2, corrected", f"exact dispersion of this width; {where}", at["exact"], found, origin="corrected"),
        ]
    return made


def _plain(params: Params, arrays: Arrays, phase: str) -> list[Claim]:
    """Of plain draws, nothing taken from theory, at an L/M where few of them settle a mean: E Θ as printed, and the dispersion."""
    index, weight, width = RATIOS.index(SHALLOW), params["sigma_w2"], params["width"]
    depth = params["depths"][index]
    widths = (*(width for _ in range(depth)), 1)
    mean = printed_ntk_moments(widths, sigma_w2=weight, sigma_b2=0.0)
    draws = arrays["log_theta"][index].astype(np.float64)
    found = dispersion_estimate(draws, error="bootstrap", seed=0, logarithms=True)
    where = f"plain draws, {phase}, σ_w² = {weight:g}, M = n_0 = {width}, L = {depth}"
    return [
        Claim("theorem 3.2, eqs 11, 12", f"E Θ over that printed; {where}", 1.0, Estimate.of(np.exp(draws - mean.log_mean))),
        Claim("theorem 3.2, corrected", f"exact dispersion; {where}", float(arrays["exact"][index]),
              Estimate(found.mean, found.sem, draws.size), origin="corrected"),
    ]  # fmt: skip


EXPERIMENT = Experiment(
    key="B1",
    paper=PAPER,
    title="Dispersion of the NTK on the diagonal",
    statement="With L/M the dispersion E Θ²(x, x)/(E Θ(x, x))² grows exponentially, in the chaotic phase and at the edge of chaos; in the "
    "ordered phase it tends to 1.",
    source="theorem 3.1, figures 1 and 9",
    figures=("Figure 1", "Figure 9"),
    cells=cells,
    run=run,
    claims=claims,
    seconds=seconds,
    choices=(
        "draws by the exact law of Θ on one input (theory.sample_ntk), weighted where deep networks are claimed (simulated_dispersion)",
        "of weighted draws E Θ and the mean squares of its terms are taken from their formulas, products over layers: measured is how the "
        "terms go together; E Θ, and the dispersion at L/M = 0.1, of plain draws as well",
    ),
)
