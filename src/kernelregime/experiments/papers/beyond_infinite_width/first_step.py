"""B5: what the first step of gradient descent on one sample does to Θ(x, x), in the three phases."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kernelregime.claims import Claim, Estimate
from kernelregime.experiments.experiment import Arrays, Experiment, Measured, Params, Scale
from kernelregime.experiments.papers.beyond_infinite_width.dense import networks, passes, rate, stepped
from kernelregime.experiments.papers.beyond_infinite_width.paper import PAPER, near_limit
from kernelregime.theory import first_step, first_step_limit, ntk_moments

PHASES = {"ordered phase": 1.0, "edge of chaos": 2.0, "chaotic phase": 3.0}  # σ_w²
SIZES: Mapping[Scale, Mapping[str, Any]] = {
    "smoke": {"width": 20, "depths": (2, 4), "ratio": ((10, 2),), "draws": 2000, "deepest": 6},
    "laptop": {"width": 40, "depths": (2, 4, 6, 8, 12), "ratio": ((10, 2), (20, 4)), "draws": 12_000, "deepest": 24},
    "paper": {"width": 200, "depths": (2, 5, 10, 20, 40, 60), "ratio": ((50, 10), (100, 20)), "draws": 100_000, "deepest": 100},
}
DEEP = 0.2  # L/M up to which the mean over ten thousand draws is settled: f D has twice the logarithm of Θ
FINITE = 2000  # draws that take a finite step
GENTLE = 0.05  # η E Θ of that step
TARGETS = (0.0, 1.0)


def cells(scale: Scale) -> Mapping[str, Params]:
    """A cell for each phase and depth at one width, and for the chaotic phase smaller networks of the same L/M."""
    width, depths, smaller, draws, deepest = (SIZES[scale][name] for name in ("width", "depths", "ratio", "draws", "deepest"))
    shapes = [(weight, width, depth) for weight in PHASES.values() for depth in depths]
    shapes += [(PHASES["chaotic phase"], *shape) for shape in smaller]
    sizes = [(*shape, draws) for shape in shapes] + [(PHASES["ordered phase"], width, deepest, min(draws, FINITE))]
    return {f"w{w:g}-m{m}-l{depth}": {"sigma_w2": w, "width": m, "depth": depth, "draws": count} for w, m, depth, count in sizes}


def seconds(*, width: int, depth: int, draws: int, **_: Any) -> float:
    """About how long a cell takes."""
    return draws * depth * (width**2 * 3e-8 + 5e-6)


def run(*, sigma_w2: float, width: int, depth: int, draws: int, seed: int) -> Arrays:
    """The change of Θ by its derivative along ∇f, and that in a whole step, for each target, with what theory says of it."""
    widths = (*(width for _ in range(depth)), 1)
    setting: dict[str, Any] = {"sigma_w2": sigma_w2, "sigma_b2": 0.0, "parameterization": "standard"}
    mean = ntk_moments(widths, **setting).mean
    eta, outputs, rates, changes, left = GENTLE / mean, [], [], [], FINITE
    for net in networks(widths, sigma_w2=sigma_w2, draws=draws, rng=np.random.default_rng(seed)):
        at = passes(net)
        outputs.append(at.outputs)
        rates.append(rate(net, at))
        if left > 0:
            moved = [passes(stepped(net, at, eta * (at.outputs - target))).theta - at.theta for target in TARGETS]
            changes.append(np.stack(moved, axis=1) / mean)
            left -= len(at.theta)
    f, derivative, change = np.concatenate(outputs), np.concatenate(rates), np.concatenate(changes)
    per_eta = [-(f - target) * derivative / mean for target in TARGETS]
    a = sigma_w2 / 2
    # lower bound of the proof's first case: 4 |x|⁴/n_0 a^{2L-1} Σ_l Π_{j>l}(1 + 1/n_j) Π_{i<l}(1 + 5/n_i)
    products = sum((1 + 1 / width) ** (depth - 1 - layer) * (1 + 5 / width) ** (layer - 1) for layer in range(1, depth))
    return {
        "relative": np.array([Estimate.of(values).mean for values in per_eta]),
        "relative_sem": np.array([Estimate.of(values).sem for values in per_eta]),
        "size": np.array([Estimate.of(np.abs(per_eta[0])).mean, Estimate.of(np.abs(per_eta[0])).sem]),
        "finite": change.mean(axis=0),
        "finite_sem": change.std(axis=0, ddof=1) / math.sqrt(len(change)),
        "finite_draws": np.array(len(change)),
        "draws": per_eta[0][:400].astype(np.float32),
        "exact": np.array(first_step(widths, **setting).relative),
        "limit": np.array(first_step_limit(depth / width, sigma_w2=sigma_w2, sigma_b2=0.0)),
        "printed_bound": np.array(4 / width * a ** (2 * depth - 1) * products / mean),
        "eta": np.array(eta),
    }


def claims(measured: Measured) -> Sequence[Claim]:
    """The two limits as ratios between a deep and a shallow network, the sign, the exact mean, and which η keeps the change bounded."""
    width = max(params["width"] for params, _ in measured.where())
    made: list[Claim] = []
    for phase, weight in PHASES.items():
        found = [each for each in measured.where(sigma_w2=weight, width=width) if each[0]["depth"] <= max(2, DEEP * width)]
        made += _phase(phase, weight / 2, found)
    return [*made, *_switching(measured, width), *_scaling(measured, width)]


def _relative(params: Params, arrays: Arrays, target: int = 0) -> Estimate:
    return Estimate(float(arrays["relative"][target]), float(arrays["relative_sem"][target]), params["draws"])


def _whole(arrays: Arrays, target: int) -> Estimate:
    return Estimate(float(arrays["finite"][target]), float(arrays["finite_sem"][target]), int(arrays["finite_draws"]))


def _growth(first: Estimate, last: Estimate) -> Estimate:
    """Last over first."""
    ratio = last.mean / first.mean
    return Estimate(ratio, abs(ratio) * math.hypot(first.sem / first.mean, last.sem / last.mean), min(first.n, last.n))


def _phase(phase: str, a: float, found: Sequence[tuple[Params, Arrays]]) -> list[Claim]:
    (low, first), (high, last) = found[0], found[-1]
    depths = f"L = {low['depth']} to {high['depth']}, M = {high['width']}"
    where = f"{phase}, σ_w² = {2 * a:g}, M = n_0 = {high['width']}, L = {high['depth']}"
    growth = _growth(_relative(low, first), _relative(high, last))
    exact = float(last["exact"])
    made = [
        Claim("ours: theory.first_step", f"E ΔΘ/(η E Θ) by the derivative of Θ; {where}", exact, _relative(high, last), origin="ours"),
        Claim(
            "theorem 4.1, sign",
            f"E ΔΘ/(η E Θ) by the derivative is negative, y = 0; {where}",
            0.0,
            _relative(high, last),
            relation="at most",
            origin="ours",
        ),
        Claim(
            "theorem 4.1, sign",
            f"E ΔΘ/E Θ of a whole step, η E Θ = {GENTLE}, y = 0, is negative; {where}",
            0.0,
            _whole(last, 0),
            relation="at most",
            origin="ours",
        ),
    ]
    steps, ratio = high["depth"] - low["depth"], high["depth"] / low["depth"]
    if a > 1:
        size = Estimate(float(last["size"][0]), float(last["size"][1]), high["draws"])
        bound = f"E |ΔΘ|/(η E Θ) is at least the proof's bound; {where}"
        target = f"the target does not matter to the derivative's mean: that at y = 1; {where}"
        made += [
            Claim("ours: theory.first_step", target, exact, _relative(high, last, 1), origin="ours"),
            Claim(
                "theorem 4.1, eq. 21",
                f"at constant η the relative change grows at least like a^L; {depths}",
                a**steps,
                growth,
                relation="at least",
            ),
            Claim("theorem A.10, proof, case 1", bound, float(last["printed_bound"]), size, relation="at least"),
        ]
    if a < 1:
        order = a ** (2 * steps) * ratio**2
        said = f"ordered phase: the relative change by the derivative falls; {depths}"
        rate_said = f"ordered phase: it falls like a^(2L) L², as the proof's bound; {depths}"
        made += [
            Claim("theorem 4.1, eq. 22", said, 1.0, growth, relation="at most"),
            Claim("theorem A.10, proof, case 2", rate_said, order, growth, relation="at most"),
            Claim(
                "theorem A.10, corrected",
                f"ordered phase: it falls no faster than a^L; {depths}",
                a**steps,
                growth,
                relation="at least",
                origin="corrected",
            ),
        ]
    return made


def _switching(measured: Measured, width: int) -> list[Claim]:
    """A whole step in the ordered phase: units of the upper layers, whose activities are small, are switched by the biases' steps."""
    found = sorted(measured.where(sigma_w2=PHASES["ordered phase"], width=width), key=lambda each: each[0]["depth"])
    (low, first), (high, last) = found[0], found[-1]
    growth = _growth(_whole(first, 1), _whole(last, 1))
    said = f"ordered phase: E ΔΘ/E Θ of a whole step falls at y = 1, η E Θ = {GENTLE}; L = {low['depth']} to {high['depth']}, M = {width}"
    return [Claim("theorem 4.1, eq. 22", said, 1.0, growth, relation="at most")]


def _scaling(measured: Measured, width: int) -> list[Claim]:
    """At one L/M in the chaotic phase: with η = a^{-L} the change still grows like L."""
    weight = PHASES["chaotic phase"]
    small, small_arrays = min(measured.where(sigma_w2=weight), key=lambda found: found[0]["width"])
    ratio, a = small["depth"] / small["width"], weight / 2
    ((large, large_arrays),) = (each for each in measured.where(sigma_w2=weight, width=width) if each[0]["depth"] == round(ratio * width))
    found = []
    for params, arrays in ((small, small_arrays), (large, large_arrays)):
        value, scale = _relative(params, arrays), a ** (params["depth"] - 1)
        found.append(Estimate(value.mean / scale, value.sem / scale, value.n))
    where = f"σ_w² = {weight:g}, L/M = {ratio:.2g}"
    grown = f"{where}, M = {small['width']} to {width}"
    per_layer = Estimate(found[1].mean / large["depth"], found[1].sem / large["depth"], found[1].n)
    return [
        Claim("theorem A.10", f"η = a^(1-L) keeps the relative change from growing: {grown}", 1.0, _growth(*found), relation="at most"),
        Claim(
            "theorem A.10, corrected",
            f"with η = a^(1-L)/L it tends to a constant; {where}, at M = {width}",
            float(large_arrays["limit"]),
            per_layer,
            near_limit(width),
            origin="corrected",
        ),
    ]


EXPERIMENT = Experiment(
    key="B5",
    paper=PAPER,
    title="The first step of gradient descent",
    statement="In a step on one sample the relative change of Θ(x, x) tends to infinity in the chaotic phase, unless η = O(a^{-L}), and to "
    "zero in the ordered phase (a = σ_w²/2).",
    source="theorems 4.1 and A.10",
    cells=cells,
    run=run,
    claims=claims,
    seconds=seconds,
    choices=(
        "σ_w² = 1, 2, 3; n_0 = M; loss (f - y)²/2; networks with sampled weights, zero biases that are trained",
        "the derivative of Θ by a tangent pass through each network; whole steps, in which units switch, at η = 0.05/E Θ",
        "claims up to L/M = 0.2: beyond, rare networks decide the mean",
    ),
)
