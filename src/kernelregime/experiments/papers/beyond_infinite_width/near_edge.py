"""B2: the dispersion of Θ(x, x) at finite width, near the edge of chaos, for narrow and wide inputs."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kernelregime.claims import Claim
from kernelregime.experiments.experiment import Arrays, Experiment, Measured, Params, Scale
from kernelregime.experiments.papers.beyond_infinite_width.course import at, course, least_step, left_out, less
from kernelregime.experiments.papers.beyond_infinite_width.paper import PAPER
from kernelregime.theory import dispersion_estimate, sample_ntk

WEIGHTS = (1.5, 1.6, 1.7, 1.8, 1.9, 2.0, 2.1, 2.2)  # σ_w²
ALPHAS = (2.0, 0.5, 0.1)  # n_0/M
RATIOS = (0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)  # L/M
SIZES: Mapping[Scale, Mapping[str, Any]] = {
    "smoke": {"weights": (1.8, 1.9, 2.0), "width": 40, "draws": 50, "precise": 200},
    "laptop": {"weights": WEIGHTS, "width": 200, "draws": 500, "precise": 20_000},
    "paper": {"weights": WEIGHTS, "width": 200, "draws": 500, "precise": 1_000_000},
}
SHOWN, PEAKED, EDGE = 1.9, 1.8, 2.0  # σ_w² at which the formulas, the peak, and the edge of chaos are looked at


def cells(scale: Scale) -> Mapping[str, Params]:
    """A cell for each σ_w² and α₀."""
    weights, width, draws, precise = (SIZES[scale][name] for name in ("weights", "width", "draws", "precise"))
    return {
        f"w{weight:g}-a{alpha:g}": {
            "sigma_w2": weight,
            "alpha0": alpha,
            "width": width,
            "depths": [max(2, round(ratio * width)) for ratio in RATIOS],
            "draws": draws,
            "precise": precise,
        }
        for weight, alpha in itertools.product(weights, ALPHAS)
    }


def seconds(*, depths: list[int], draws: int, precise: int, **_: Any) -> float:
    """About how long a cell takes."""
    return sum(depths) * 2.3e-7 * (draws + precise)


def run(*, sigma_w2: float, alpha0: float, width: int, depths: list[int], draws: int, precise: int, seed: int) -> Arrays:
    """The dispersion by depth: by weighted draws, and as the paper estimates it, of `draws` initializations."""
    networks = [(round(alpha0 * width), *(width for _ in range(depth - 1)), 1) for depth in depths]
    sampled = []
    for widths, own in zip(networks, np.random.SeedSequence([seed, 1]).generate_state(len(networks)), strict=True):
        drawn = sample_ntk(widths, sigma_w2=sigma_w2, sigma_b2=0.0, parameterization="standard", draws=draws, seed=int(own))
        found = dispersion_estimate(drawn.log_theta, method="printed", error="bootstrap", seed=int(own), logarithms=True)
        sampled.append((found.mean, found.sem))
    few = dict(zip(("few", "few_sem"), np.array(sampled).T, strict=True))
    return {**course(networks, sigma_w2=sigma_w2, precise=precise, seed=seed), **few}


def claims(measured: Measured) -> Sequence[Claim]:
    """Theorem 3.2 as printed, as in its proof, and exact; the rise towards the edge; the peak for α₀ < 1."""
    made = []
    for alpha in ALPHAS:
        made += _formulas(measured, alpha)
        ordered = [(params, arrays) for params, arrays in measured.where(alpha0=alpha) if params["sigma_w2"] <= EDGE]
        index = RATIOS.index(0.2)
        step = least_step([at(arrays, index, params["precise"]) for params, arrays in ordered])
        where = f"α₀ = {alpha:g}, M = {ordered[0][0]['width']}, L = {ordered[0][0]['depths'][index]}"
        weights = ", ".join(f"{params['sigma_w2']:g}" for params, _ in ordered)
        statement = f"smallest increase of the dispersion between neighbours σ_w² = {weights}; {where}"
        made.append(Claim("section 3.2", statement, 0.0, step, relation="at least"))
        if alpha < 1:
            made += _peak(measured, alpha)
    return made


def _formulas(measured: Measured, alpha: float) -> list[Claim]:
    """The dispersion of shallow networks below the edge and of deep ones at it, beside the formulas."""
    made = []
    for weight, ratio in ((SHOWN, 0.1), (EDGE, 0.5)):
        ((params, arrays),) = measured.where(alpha0=alpha, sigma_w2=weight)
        index = RATIOS.index(ratio)
        width, depth = params["width"], params["depths"][index]
        found, tolerance = at(arrays, index, params["precise"]), left_out(depth, width)
        where = f"σ_w² = {weight:g}, α₀ = {alpha:g}, M = {width}, L = {depth}"
        theorem, lemma, exact = (float(arrays[name][index]) for name in ("theorem", "lemma", "exact"))
        made += [
            Claim("theorem 3.2, eqs 11 to 15", f"dispersion as printed in the theorem; {where}", theorem, found, tolerance),
            Claim("lemmas A.5 to A.7", f"dispersion as printed in the proof; {where}", lemma, found, tolerance),
            Claim("theorem 3.2, corrected", f"exact dispersion; {where}", exact, found, origin="corrected"),
        ]
    return made


def _peak(measured: Measured, alpha: float) -> list[Claim]:
    """The dispersion at the depth where it is largest, against the shallowest and the deepest network."""
    ((params, arrays),) = measured.where(alpha0=alpha, sigma_w2=PEAKED)
    top = int(np.argmax(arrays["dispersion"]))
    peak, first, last = (at(arrays, index, params["precise"]) for index in (top, 0, -1))
    depths = params["depths"]
    where = f"σ_w² = {PEAKED:g}, α₀ = {alpha:g}, M = {params['width']}, peak at L = {depths[top]}"
    return [
        Claim("section 3.2", f"dispersion at its peak, less that at L = {depths[0]}; {where}", 0.0, less(peak, first), relation="at least"),
        Claim("section 3.2", f"dispersion at its peak, less that at L = {depths[-1]}; {where}", 0.0, less(peak, last), relation="at least"),
    ]


EXPERIMENT = Experiment(
    key="B2",
    paper=PAPER,
    title="Dispersion near the edge of chaos",
    statement="At finite width the dispersion in the ordered phase rises towards the edge of chaos; where the input is narrower than the "
    "hidden layers, it peaks at some depth and then falls. Theorem 3.2 gives it.",
    source="theorem 3.2, figures 2 and 10",
    figures=("Figure 2", "Figure 10"),
    cells=cells,
    run=run,
    claims=claims,
    seconds=seconds,
    choices=(
        "σ_w² from 1.5 to 2.2 in steps of 0.1",
        "draws by the exact law of Θ on one input (theory.sample_ntk), weighted where the mean is claimed (theory.simulated_dispersion)",
        "of weighted draws E Θ and the mean squares of its terms are taken from their formulas, products over layers: measured is how the "
        "terms go together; B1 measures these, of plain draws, too",
        "the terms O(M^{-3/2}) that theorem 3.2 leaves out are allowed for as a relative L·M^{-3/2}",
    ),
)
