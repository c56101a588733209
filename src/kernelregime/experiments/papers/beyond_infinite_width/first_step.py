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
SIZES: Mapping[Scale, Mapping[str, Any]] = {  # `alike`: width, depth and draws at one L/M
    "smoke": {"width": 20, "depths": (2, 4), "alike": ((10, 2, 2000), (40, 8, 500)), "draws": 2000, "deepest": 6},
    "laptop": {"width": 40, "depths": (2, 4, 6, 8, 12), "alike": ((20, 4, 12_000), (80, 16, 8000)), "draws": 12_000, "deepest": 24},
    "paper": {
        "width": 200,
        "depths": (2, 5, 10, 20, 40, 60),
        "alike": ((50, 10, 100_000), (100, 20, 100_000), (400, 80, 50_000)),
        "draws": 100_000,
        "deepest": 100,
    },
}
DEEP = 0.2  # L/M up to which the mean over ten thousand draws is settled: f D has twice the logarithm of Θ
FINITE = 2000  # draws that take a finite step
GENTLE = 0.05  # η E Θ of that step
FAR = 100  # times
TARGETS = (0.0, 1.0)


def cells(scale: Scale) -> Mapping[str, Params]:
    """A cell for each phase and depth at one width, and for two phases networks of other widths at one L/M."""
    width, depths, alike, draws, deepest = (SIZES[scale][name] for name in ("width", "depths", "alike", "draws", "deepest"))
    sizes = [(weight, width, depth, draws) for weight in PHASES.values() for depth in depths]
    sizes += [(PHASES["chaotic phase"], *shape) for shape in alike]
    # an ordered network's mean is settled by fewer
    sizes += [(PHASES["ordered phase"], wide, deep, count // 2) for wide, deep, count in alike[-1:]]
    sizes.append((PHASES["ordered phase"], width, deepest, min(draws, FINITE)))
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
    """Mean and sign of every phase at one width; then the limits, as ratios between two deep networks of one L/M."""
    width = sorted({params["width"] for params, _ in measured.where()})[-2]
    made: list[Claim] = []
    for phase, weight in PHASES.items():
        found = [each for each in measured.where(sigma_w2=weight, width=width) if each[0]["depth"] <= max(2, DEEP * width)]
        made += _phase(phase, weight / 2, *found[-1])
    return [*made, *_chaotic(_alike(measured, "chaotic phase")), *_ordered(_alike(measured, "ordered phase"))]


def _alike(measured: Measured, phase: str) -> list[tuple[Params, Arrays]]:
    """The widest network of a phase, after that of the next width which has the same L/M."""
    found = measured.where(sigma_w2=PHASES[phase])
    widest = max((params for params, _ in found), key=lambda params: params["width"])
    alike = [each for each in found if each[0]["depth"] * widest["width"] == widest["depth"] * each[0]["width"]]
    return sorted(alike, key=lambda each: each[0]["width"])[-2:]


def _relative(params: Params, arrays: Arrays, target: int = 0) -> Estimate:
    return Estimate(float(arrays["relative"][target]), float(arrays["relative_sem"][target]), params["draws"])


def _whole(arrays: Arrays, target: int) -> Estimate:
    return Estimate(float(arrays["finite"][target]), float(arrays["finite_sem"][target]), int(arrays["finite_draws"]))


def _growth(first: Estimate, last: Estimate) -> Estimate:
    """Last over first."""
    ratio = last.mean / first.mean
    return Estimate(ratio, abs(ratio) * math.hypot(first.sem / first.mean, last.sem / last.mean), min(first.n, last.n))


def _between(pair: Sequence[tuple[Params, Arrays]]) -> str:
    (low, _), (high, _) = pair
    ratio = high["depth"] / high["width"]
    return f"σ_w² = {high['sigma_w2']:g}, L/M = {ratio:.2g}, L = {low['depth']} to {high['depth']}, M = {low['width']} to {high['width']}"


def _phase(phase: str, a: float, params: Params, arrays: Arrays) -> list[Claim]:
    where = f"{phase}, σ_w² = {2 * a:g}, M = n_0 = {params['width']}, L = {params['depth']}"
    exact, relative, whole = float(arrays["exact"]), _relative(params, arrays), _whole(arrays, 0)
    signs = (
        (f"E ΔΘ/(η E Θ) by the derivative is negative, y = 0; {where}", relative),
        (f"E ΔΘ/E Θ of a whole step, η E Θ = {GENTLE}, y = 0, is negative; {where}", whole),
    )
    made = [
        Claim("ours: theory.first_step", f"E ΔΘ/(η E Θ) by the derivative of Θ; {where}", exact, relative, origin="ours"),
        *(Claim("theorem 4.1, sign", said, 0.0, found, relation="at most", origin="ours") for said, found in signs),
    ]
    if a > 1:
        size = Estimate(float(arrays["size"][0]), float(arrays["size"][1]), params["draws"])
        bound = f"E |ΔΘ|/(η E Θ) is at least the proof's bound; {where}"
        target = f"the target does not matter to the derivative's mean: that at y = 1; {where}"
        sign = f"E ΔΘ/E Θ tends to +∞: by the derivative it is above 0; {where}"
        made += [
            Claim("ours: theory.first_step", target, exact, _relative(params, arrays, 1), origin="ours"),
            Claim("theorem 4.1, eq. 21", sign, 0.0, relative, relation="at least"),
            Claim("theorem A.10, proof, case 1", bound, float(arrays["printed_bound"]), size, relation="at least"),
        ]
    return made


def _ordered(pair: Sequence[tuple[Params, Arrays]]) -> list[Claim]:
    """At one L/M: by the derivative, and of a whole step, in which units that switch are the most of it."""
    (low, first), (high, last) = pair
    where, a = f"ordered phase, {_between(pair)}", high["sigma_w2"] / 2
    steps, ratio, narrow = high["depth"] - low["depth"], high["depth"] / low["depth"], low["width"] / high["width"]
    growth = _growth(_relative(low, first), _relative(high, last))
    exact = float(last["exact"]) / float(first["exact"])
    step, at = _whole(last, 1), f"y = 1, η E Θ = {GENTLE}"
    by_derivative = float(last["exact"]) * float(last["eta"])
    near = near_limit(low["width"], low["depth"] / low["width"])
    larger = f"E ΔΘ/E Θ of a whole step, {at}, is over {FAR} times that by the derivative; ordered phase, M = {high['width']}"
    return [
        Claim("theorem 4.1, eq. 22", f"the relative change by the derivative falls; {where}", 1.0, growth, relation="at most"),
        Claim("theorem 4.1, eq. 22", f"|E ΔΘ|/E Θ of a whole step falls, {at}; {where}", 1.0, _growth(_whole(first, 1), step),
              relation="at most"),
        Claim("theorem A.10, proof, case 2", f"by the derivative it falls like a^(2L) L², as the proof's bound; {where}",
              a ** (2 * steps) * ratio**2, growth, relation="at most"),
        Claim("theorem A.10, corrected", f"by the derivative it falls like a^L/M; {where}", a**steps * narrow, growth, near,
              origin="corrected"),
        Claim("ours: theory.first_step", f"by the derivative it falls as the exact mean does; {where}", exact, growth, origin="ours"),
        Claim("theorem 4.1, ours", f"{larger}, L = {high['depth']}", FAR * by_derivative, step, relation="at most", origin="ours"),
    ]  # fmt: skip


def _chaotic(pair: Sequence[tuple[Params, Arrays]]) -> list[Claim]:
    """At one L/M: what a constant η does, and which η keeps the change bounded: with η = a^{-L} it still grows like L."""
    (low, first), (high, last) = pair
    a, narrow, ratio = high["sigma_w2"] / 2, low["width"], low["depth"] / low["width"]
    where, steps = f"chaotic phase, {_between(pair)}", high["depth"] - low["depth"]
    growth = _growth(_relative(low, first), _relative(high, last))
    scaled = Estimate(growth.mean / a**steps, growth.sem / a**steps, growth.n)
    before, scale = _relative(low, first), a ** (low["depth"] - 1) * low["depth"]
    constant = Estimate(before.mean / scale, before.sem / scale, before.n)
    at = f"σ_w² = {high['sigma_w2']:g}, L/M = {ratio:.2g}, M = {narrow}"
    return [
        Claim("theorem 4.1, eq. 21", f"at constant η the size |E ΔΘ|/E Θ grows at least like a^L; {where}", a**steps, growth,
              relation="at least"),
        # of a bounded sequence that tends to a limit, but for terms of order 1/M
        Claim("theorem A.10", f"η = a^(1-L) keeps the size of the change from growing; {where}", 1.0, scaled, near_limit(narrow, ratio),
              "at most"),
        Claim("theorem A.10, corrected", f"with η = a^(1-L) it grows like L; {where}", high["depth"] / low["depth"], scaled,
              near_limit(narrow, ratio), origin="corrected"),
        Claim("theorem A.10, corrected", f"with η = a^(1-L)/L it tends to a constant; {at}", float(first["limit"]), constant,
              near_limit(narrow, ratio), origin="corrected"),
    ]  # fmt: skip


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
    version=2,
    choices=(
        "σ_w² = 1, 2, 3; n_0 = M; loss (f - y)²/2; networks with sampled weights, zero biases that are trained",
        "the derivative of Θ by a tangent pass through each network; whole steps, in which units switch, at η = 0.05/E Θ",
        "claims up to L/M = 0.2: beyond, rare networks decide the mean; limits as ratios between two deep networks at L/M = 0.2",
    ),
)
