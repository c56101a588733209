"""B9: the dispersion of Θ(x, x̃) for different inputs, and its bounds."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from kernelregime.claims import Claim, Estimate
from kernelregime.experiments.experiment import Arrays, Experiment, Measured, Params, Scale
from kernelregime.experiments.papers.beyond_infinite_width.paper import PAPER
from kernelregime.theory import (
    dispersion_estimate,
    dispersion_limit,
    ntk_moments,
    off_diagonal_dispersion_bound,
    off_diagonal_ratio,
    sample_ntk_matrix,
)

PRODUCTS = (0.1, 0.5, 0.9)  # x·x̃
ALPHAS = (2.0, 0.5, 0.1)  # n_0/M
PHASES = (1.0, 1.5, 2.0, 2.5)  # σ_w² of figure 7
NEAR = (1.8, 1.9, 2.0, 2.1)  # and of figure 8: near the edge of chaos
MORE = 4
PRECISE = 0.05  # the largest relative standard error of estimates of which something is claimed
SLIGHTLY = 1.5  # times: "only slightly higher"
RATIOS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)  # L/M
SIZES: Mapping[Scale, Mapping[str, Any]] = {
    "smoke": {"weights": (1.0, 2.0, 2.5), "alphas": (0.5,), "width": 10, "draws": 150},
    "laptop": {"weights": (*PHASES, 1.8, 1.9, 2.1), "alphas": ALPHAS, "width": 60, "draws": 1000},
    "paper": {"weights": (*PHASES, 1.2, 3.0, 1.8, 1.9, 1.95, 2.05, 2.1), "alphas": ALPHAS, "width": 200, "draws": 10_000},
}


def cells(scale: Scale) -> Mapping[str, Params]:
    """A cell for each σ_w² and n_0/M; more draws for that whose angles are compared and whose tails are the heaviest."""
    weights, alphas, width, draws = (SIZES[scale][name] for name in ("weights", "alphas", "width", "draws"))
    return {
        f"w{weight:g}-a{alpha:g}": {
            "sigma_w2": weight,
            "alpha0": alpha,
            "width": width,
            "depths": sorted({max(2, round(ratio * width)) for ratio in RATIOS}),
            "draws": draws * (MORE if (weight, alpha) == (2.0, min(alphas)) and scale != "smoke" else 1),
        }
        for weight, alpha in itertools.product(weights, alphas)
    }


def seconds(*, width: int, depths: list[int], draws: int, **_: Any) -> float:
    """About how long a cell takes."""
    return draws * sum(depths) * (2e-5 + 5e-7 * width)


def run(*, sigma_w2: float, alpha0: float, width: int, depths: list[int], draws: int, seed: int) -> Arrays:
    """For each depth: the estimated dispersion of Θ(x, x) and of Θ(x, x̃) for each product x·x̃, with the exact one on the diagonal."""
    inputs = max(len(PRODUCTS) + 1, round(alpha0 * width))
    points = np.eye(len(PRODUCTS) + 1, inputs)
    for row, product in zip(points[1:], PRODUCTS, strict=True):
        row *= np.sqrt(1 - product**2)
        row[0] = product
    setting: dict[str, Any] = {"sigma_w2": sigma_w2, "sigma_b2": 0.0, "parameterization": "standard"}
    found: dict[str, list[Any]] = {
        name: [] for name in ("dispersion", "sem", "reliable", "squares", "squares_sem", "exact", "ratio", "angle_sem")
    }
    for depth in depths:
        widths = (inputs, *(width for _ in range(depth - 1)), 1)
        theta = sample_ntk_matrix(widths, "relu", points, draws=draws, seed=seed, **setting).theta[:, 0]
        estimates = [dispersion_estimate(row, error="bootstrap", seed=seed) for row in theta.T]
        found["dispersion"].append([each.mean for each in estimates])
        found["sem"].append([each.sem for each in estimates])
        found["reliable"].append([each.reliable for each in estimates])
        # of the same networks: E Θ(x, x̃)² over E Θ(x, x)²
        excess = (theta[:, 1:] ** 2 - theta[:, :1] ** 2) / np.mean(theta[:, :1] ** 2)
        found["squares"].append(1 + excess.mean(axis=0))
        found["squares_sem"].append(excess.std(axis=0, ddof=1) / np.sqrt(draws))
        # of the same networks, to first order: the logarithm of the dispersion for the first product over that for the last
        gap = _influence(theta[:, 1]) - _influence(theta[:, -1])
        found["angle_sem"].append(gap.std(ddof=1) / np.sqrt(draws))
        found["exact"].append(ntk_moments(widths, **setting).dispersion)
        found["ratio"].append(theta.mean(axis=0)[1:] / theta[:, 0].mean())
    return {name: np.array(values) for name, values in found.items()} | {
        "limit": dispersion_limit(np.array(depths) / width, alpha0=inputs / width, **setting),
        "estimated_ratio": np.array([[_estimate(product, depth, sigma_w2) for product in PRODUCTS] for depth in depths]),
    }


def _influence(theta: np.ndarray) -> np.ndarray:
    """What each draw adds to the logarithm of mean(θ²)/mean(θ)², times their number."""
    return np.asarray(theta**2 / np.mean(theta**2) - 2 * theta / np.mean(theta))


def _estimate(product: float, depth: int, sigma_w2: float) -> float:
    """The ordered phase's estimate (18) of E Θ(x, x̃)/E Θ(x, x), nan outside of it."""
    return off_diagonal_ratio(product, depth=depth, sigma_w2=sigma_w2) if sigma_w2 < 2 else np.nan


def claims(measured: Measured) -> Sequence[Claim]:
    """Bound (17) where it is nearest, its sharpening, and that the dispersion depends on phases but little on the angle."""
    alpha = min(params["alpha0"] for params, _ in measured.where())
    return list(itertools.chain(*(_phase(*found) for found in measured.where() if found[0]["alpha0"] == alpha)))


def _phase(params: Params, arrays: Arrays) -> Iterable[Claim]:
    last, width = len(params["depths"]) - 1, params["width"]
    if params["sigma_w2"] not in PHASES:
        return
    # the deepest networks whose estimates can be believed and tell something; no standard error where there are none
    good = np.all(arrays["reliable"] & (arrays["sem"] <= PRECISE * arrays["dispersion"]), axis=1)
    while last and not good[last]:
        last -= 1
    told = bool(good[last])
    where = f"σ_w² = {params['sigma_w2']:g}, M = {width}, α₀ = {params['alpha0']:g}, L = {params['depths'][last]}"
    exact = float(arrays["exact"][last])
    for product, mean, sem, less, less_sem, c in zip(
        PRODUCTS,
        arrays["dispersion"][last][1:],
        arrays["sem"][last][1:],
        arrays["squares"][last],
        arrays["squares_sem"][last],
        arrays["estimated_ratio"][last],
        strict=True,
    ):
        found, pair = Estimate(float(mean), float(sem) if told else math.nan, params["draws"]), f"x·x̃ = {product:g}, {where}"
        bound = off_diagonal_dispersion_bound(exact)
        yield Claim(
            "theorem 3.3, eq. 17", f"off-diagonal dispersion, 16 times the diagonal one at most; {pair}", bound, found, relation="at most"
        )
        if product == max(PRODUCTS):
            squares = Estimate(float(less), float(less_sem), params["draws"])
            yield Claim("appendix A.2", f"E Θ(x, x̃)² over E Θ(x, x)², at most 1; {pair}", 1.0, squares, relation="at most")
        if np.isfinite(c):
            sharper = off_diagonal_dispersion_bound(exact, ratio=float(c))
            said = f"off-diagonal dispersion, the diagonal one over c² at most, c = {c:.3f} by (18); {pair}"
            yield Claim("remark after eq. 18", said, sharper, found, relation="at most")
        said = f"off-diagonal dispersion, slightly above the diagonal one; {pair}"
        yield Claim("appendix C.1", said, SLIGHTLY * exact, found, relation="at most")
    quotient = float(arrays["dispersion"][last][1] / arrays["dispersion"][last][3])
    angle = Estimate(quotient, quotient * float(arrays["angle_sem"][last]) if told else math.nan, params["draws"])
    said = f"no significant dependence on the angle (within 10 %): dispersion at x·x̃ = 0.1 over that at 0.9; {where}"
    yield Claim("appendix C.1", said, 1.0, angle, 0.1)


EXPERIMENT = Experiment(
    key="B9",
    paper=PAPER,
    title="Dispersion of the NTK off the diagonal",
    statement="The dispersion of Θ(x, x̃) is at most 16 times that of Θ(x, x), in the ordered phase 1/c² times; it is only slightly higher "
    "and hardly depends on the angle.",
    source="theorem 3.3, eq. 17, appendix C.1, figures 7 and 8",
    figures=("Figure 7", "Figure 8"),
    cells=cells,
    run=run,
    claims=claims,
    seconds=seconds,
    version=2,
    choices=(
        "draws by the exact law of Θ on several inputs (theory.sample_ntk_matrix); the same networks for all angles",
        "jackknife estimate and bootstrap errors; claims at the deepest networks whose estimates are reliable, within 5 %",
        f"slightly above the diagonal one is one of at most {SLIGHTLY:g} times; no significant dependence one within 10 %",
        "figure 7 at σ_w² = 1, 1.5, 2, 2.5, figure 8 at 1.8, 1.9, 2, 2.1",
        "laptop: M = 60 in place of 200, at the same L/M",
    ),
)
