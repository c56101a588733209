"""T4: κ₂ and κ₁/κ₂ against depth, for erf and ReLU in three phases."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kernelregime.claims import Claim, Estimate
from kernelregime.experiments.experiment import Arrays, Experiment, Measured, Params, Scale
from kernelregime.experiments.papers.can_we_trust.paper import PAPER, near_limit, ratio, substream
from kernelregime.theory import NtkFactors, ntk_factors, printed_ntk_factors, sample_ntk_matrix

# (σ_w², σ_b²); the edge of chaos of erf at σ_b² = 0.05
PHASES = {
    "erf": {"ordered": (0.7, 0.05), "edge of chaos": (1.375839, 0.05), "chaotic": (2.0, 0.05)},
    "relu": {"ordered": (1.0, 1.0), "edge of chaos": (2.0, 0.0), "chaotic": (3.0, 1.0)},
}
COVARIANCES = (0.1, 0.3, 0.5, 0.7, 0.9)  # of inputs: the middles of equal shares of [0, 1]
SIZES: Mapping[Scale, Mapping[str, Any]] = {
    "smoke": {"width": 30, "draws": 40, "precise": 40, "depths": [2, 3, 5, 10]},
    "laptop": {"width": 200, "draws": 400, "precise": 1600, "depths": [2, 3, 5, 10, 20]},
    "paper": {"width": 1000, "draws": 1000, "precise": 4000, "depths": [2, 3, 5, 10, 20, 30]},
}
TESTED, LOW = 10, 3  # depths: where κ₂ is set against the formulas (there are more draws up to here); and a shallow one
SMALL = 0.5  # of a change "small" beside a mean: less than half of it
CLOSE = 0.1  # of a ratio that "approaches one"


def cells(scale: Scale) -> Mapping[str, Params]:
    """A cell for each activation and phase."""
    size = SIZES[scale]
    draws = [size["precise"] if depth <= TESTED else size["draws"] for depth in size["depths"]]
    return {
        f"{activation}-{name.replace(' ', '-')}": {
            "activation": activation,
            "phase": name,
            "sigma_w2": weight,
            "sigma_b2": bias,
            "width": size["width"],
            "depths": size["depths"],
            "draws": draws,
        }
        for activation, phases in PHASES.items()
        for name, (weight, bias) in phases.items()
    }


def seconds(*, width: int, draws: list[int], depths: list[int], **_: Any) -> float:
    """About how long a cell takes."""
    return 0.5 + 5e-7 * width * float(np.dot(draws, depths))


def run(
    *, activation: str, sigma_w2: float, sigma_b2: float, width: int, draws: list[int], depths: list[int], seed: int, phase: str
) -> Arrays:
    """Measured κ₂ and κ₁/κ₂ (depths, covariances) with their errors; the curves of depth 2 …, of the theory and as printed."""
    found: dict[str, list[Any]] = {"kappa2": [], "kappa2_sem": [], "ratio": [], "ratio_sem": []}
    for depth, count in zip(depths, draws, strict=True):
        theta = sample_ntk_matrix(
            (*(width for _ in range(depth)), 1),
            activation,
            _inputs(width),
            sigma_w2=sigma_w2,
            sigma_b2=sigma_b2,
            parameterization="standard",
            draws=count,
            seed=substream(seed, depth),
        ).theta / ((depth - 1) * width)
        own, pairs = theta[:, :1, 0], theta[:, 0, 1:]
        quotient = own.mean(axis=0) / pairs.mean(axis=0)
        found["kappa2"].append(pairs.mean(axis=0))
        found["kappa2_sem"].append(_error(pairs))
        found["ratio"].append(quotient)
        found["ratio_sem"].append(_error(own - quotient * pairs) / np.abs(pairs.mean(axis=0)))
    drawn = np.arange(2, max(depths) + 1)
    curves = _curves(activation, drawn, width, sigma_w2=sigma_w2, sigma_b2=sigma_b2)
    return {"curve_depths": drawn, **{name: np.array(values) for name, values in found.items()}, **curves}


def _inputs(width: int) -> np.ndarray:
    """One input and one more for each covariance with it, all of |x|² = n_0."""
    x = np.zeros((1 + len(COVARIANCES), width))
    x[0, 0] = 1.0
    for row, covariance in enumerate(COVARIANCES, start=1):
        x[row, 0], x[row, row] = covariance, math.sqrt(1 - covariance**2)
    return math.sqrt(width) * x


def _error(values: np.ndarray) -> np.ndarray:
    return np.asarray(values.std(axis=0, ddof=1) / math.sqrt(len(values)))


def _curves(activation: str, depths: np.ndarray, width: int, **setting: float) -> Arrays:
    """κ₂ and κ₁/κ₂ by depth and covariance: lemma 2, the same with its term of the biases, and by appendix E as printed."""
    made: dict[str, list[Any]] = {name: [] for name in ("lemma_kappa2", "lemma_ratio", "full_kappa2", "full_ratio", "printed_kappa2")}
    made["printed_ratio"] = []
    for depth in depths.tolist():
        widths = (*(width for _ in range(depth)), 1)
        factors: NtkFactors = ntk_factors(activation, COVARIANCES, widths=widths, **setting)
        printed = printed_ntk_factors(activation, COVARIANCES, widths=widths, **setting)
        own, pairs = factors.ntk
        made["lemma_kappa2"].append(factors.kappa2)
        made["lemma_ratio"].append(factors.kappa1 / factors.kappa2)
        made["full_kappa2"].append(pairs / ((depth - 1) * width))
        made["full_ratio"].append(own / pairs)
        made["printed_kappa2"].append(printed.kappa2)
        made["printed_ratio"].append(printed.kappa1 / printed.kappa2)
    return {name: np.array(values) for name, values in made.items()}


def claims(measured: Measured) -> Sequence[Claim]:
    """κ₂ as printed and corrected in every phase; what is said of κ₂ and of κ₁/κ₂."""
    return [claim for activation in PHASES for claim in (*_values(measured, activation), *_trends(measured, activation))]


class _Cell:
    """The measured numbers of an activation in a phase, at the covariance 0.5 of the inputs."""

    def __init__(self, measured: Measured, activation: str, phase: str) -> None:
        ((self.params, self.arrays),) = measured.where(activation=activation, phase=phase)
        name = "ReLU" if activation == "relu" else activation
        self.setting = f"{name}, {phase}, σ_w² = {self.params['sigma_w2']:g}, σ_b² = {self.params['sigma_b2']:g}"
        self.middle = COVARIANCES.index(0.5)

    def at(self, name: str, depth: int, column: int | None = None) -> Estimate:
        """Measured `name`, at another covariance than 0.5 where a column is given."""
        place = self.params["depths"].index(depth), self.middle if column is None else column
        value, sem = (float(self.arrays[key][place]) for key in (name, f"{name}_sem"))
        return Estimate(value, sem, self.params["draws"][place[0]])

    def curve(self, name: str, depth: int) -> float:
        """A formula's value."""
        return float(self.arrays[name][depth - 2, self.middle])


def _values(measured: Measured, activation: str) -> list[Claim]:
    made = []
    for phase in PHASES[activation]:
        cell = _Cell(measured, activation, phase)
        width, depth = cell.params["width"], TESTED
        where = f"{cell.setting}, x·x' = 0.5, M = {width}, L = {depth}"
        found, near = cell.at("kappa2", depth), near_limit(width)  # lemma 2 holds but for terms of order 1/M
        made += [
            Claim("lemma 2, appendix E", f"κ₂ by the closed forms as printed; {where}", cell.curve("printed_kappa2", depth), found, near),
            Claim(
                "lemma 2, eqs 5 to 9",
                f"κ₂ by the integrals, with the biases' term; {where}",
                cell.curve("full_kappa2", depth),
                found,
                near,
                origin="corrected",
            ),
        ]
    return made


def _trends(measured: Measured, activation: str) -> list[Claim]:
    made = []
    for phase in PHASES[activation]:
        cell = _Cell(measured, activation, phase)
        shallow, deep = min(cell.params["depths"]), max(cell.params["depths"])
        where = f"{cell.setting}, M = {cell.params['width']}"
        made += [
            Claim(
                "section 5, figure 5",
                f"κ₂ changes little with x·x': largest deviation over the mean; {where}, L = {depth}, x·x' from 0.1 to 0.9",
                SMALL,
                _spread(cell, depth),
                relation="at most",
            )
            for depth in (LOW, deep)
        ]
        if phase == "ordered":
            words = f"ill-conditioned: κ₁/κ₂ → 1; {where}, x·x' = 0.5, L = {deep}"
            made.append(Claim("section 5, figure 6", words, 1.0, cell.at("ratio", deep), CLOSE))
            continue
        words = f"κ₁/κ₂ grows with depth: that at L = {deep} over that at L = {shallow}; {where}, x·x' = 0.5"
        grown = ratio(cell.at("ratio", deep), cell.at("ratio", shallow))
        made.append(Claim("section 5, figure 6", words, 1.0, grown, relation="at least"))
        if phase == "edge of chaos":
            words = f"but it falls where inputs are far apart: the same at x·x' = {COVARIANCES[0]:g}; {where}"
            fallen = ratio(cell.at("ratio", deep, 0), cell.at("ratio", shallow, 0))
            made.append(Claim("section 5, figure 6", words, 1.0, fallen, relation="at most", origin="ours"))
    return made


def _spread(cell: _Cell, depth: int) -> Estimate:
    """The largest |κ₂ - mean|/mean over the covariances; its error is that of the covariance at which it is reached."""
    row = cell.params["depths"].index(depth)
    values, sems = cell.arrays["kappa2"][row], cell.arrays["kappa2_sem"][row]
    mean = values.mean()
    place = int(np.argmax(np.abs(values - mean)))
    return Estimate(float(abs(values[place] - mean) / mean), float(sems[place] / mean), cell.params["draws"][row])


EXPERIMENT = Experiment(
    key="T4",
    paper=PAPER,
    title="The NTK's diagonal and off-diagonal against depth",
    statement="κ₂, the NTK's mean for two inputs, depends little on their covariance; κ₁/κ₂ tends to 1 with depth in the ordered phase and "
    "grows with it at the edge of chaos and in the chaotic phase.",
    source="section 5, lemma 2, figures 5 and 6, appendix E",
    figures=("Figure 5", "Figure 6"),
    cells=cells,
    run=run,
    claims=claims,
    seconds=seconds,
    version=2,
    choices=(
        "(σ_w², σ_b²) of the phases, depths, covariances",
        "n_0 = M and |x|² = n_0",
        "networks take x itself; in the printed recursion q⁰ = 1 passes through φ",
        "small: less than half of the mean",
    ),
)
