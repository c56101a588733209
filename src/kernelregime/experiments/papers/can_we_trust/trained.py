"""T5: the variance over initializations of trained networks, and the lemmas it is made of."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from kernelregime import _precision, empirical, prediction
from kernelregime.claims import Claim, Estimate, Origin
from kernelregime.experiments.experiment import Arrays, Experiment, Measured, Params, Scale
from kernelregime.experiments.papers.can_we_trust.images import images
from kernelregime.experiments.papers.can_we_trust.kappas import PHASES
from kernelregime.experiments.papers.can_we_trust.nets import drawn, network
from kernelregime.experiments.papers.can_we_trust.paper import PAPER, difference, near_limit, ratio, substream
from kernelregime.experiments.training import train_cell
from kernelregime.prediction import Blocks
from kernelregime.theory import NtkFactors, ntk_factors, sample_ntk_matrix, trained_variance

DEPTHS, COVARIANCE = (3, 6), 0.5  # the deeper for images in the ordered phase alone
SIZES: Mapping[Scale, Mapping[str, Any]] = {
    "smoke": {"side": 7, "width": 16, "networks": 8, "train": 10, "test": 3, "steps": 5, "draws": 50, "kernels": 20},
    "laptop": {"side": 7, "width": 100, "networks": 120, "train": 10, "test": 10, "steps": 400, "draws": 12_000, "kernels": 2000},
    "paper": {"side": 28, "width": 1000, "networks": 1000, "train": 100, "test": 10, "steps": 5000, "draws": 20_000, "kernels": 4000},
}
SHARE = 0.5  # of the largest learning rate at which the mean network would be stable on its largest mode, 1/λ_max
ROUGHLY = 0.25  # how "≈" in theorem 3 is read where pairs of inputs differ
ROUNDING = 1e-6  # of theorem 3 where its formula is exact


def cells(scale: Scale) -> Mapping[str, Params]:
    """A cell for each activation, phase and kind of inputs: images, or inputs of which every pair has the same covariance.

    One more of deeper networks for images in the ordered phase. At smoke scale ReLU alone, at the edge of chaos and the two depths of the
    ordered phase: most of the time goes into compiling.
    """
    small, (shallow, deep) = scale == "smoke", DEPTHS
    return {
        f"{activation}-{phase.replace(' ', '-')}-{inputs}{'' if depth == shallow else f'-l{depth}'}": {
            "activation": activation,
            "phase": phase,
            "sigma_w2": weight,
            "sigma_b2": bias,
            "inputs": inputs,
            "depth": depth,
            **SIZES[scale],
        }
        for activation, phases in PHASES.items()
        for phase, (weight, bias) in phases.items()
        for inputs in ("images", "alike")
        for depth in ((shallow, deep) if (phase, inputs) == ("ordered", "images") else (shallow,))
        if not small or (activation == "relu" and (phase == "edge of chaos" or (phase, inputs) == ("ordered", "images")))
    }


def seconds(
    *, side: int, width: int, depth: int, networks: int, train: int, test: int, steps: int, draws: int, kernels: int, **_: Any
) -> float:
    """About how long a cell takes."""
    descent = 6e-10 * steps * networks * train * width * (side**2 + (depth - 2) * width)
    return 1.5 + descent + 7e-7 * depth * draws * width + 1.5e-7 * depth * kernels * width * (train + test)


def run(
    *,
    activation: str,
    phase: str,
    sigma_w2: float,
    sigma_b2: float,
    inputs: str,
    depth: int,
    side: int,
    width: int,
    networks: int,
    train: int,
    test: int,
    steps: int,
    draws: int,
    kernels: int,
    seed: int,
) -> Arrays:
    """Outputs of trained networks on test points and by their own Θ⁰; that by many more Θ⁰; draws at initialization; theory."""
    setting = {"sigma_w2": sigma_w2, "sigma_b2": sigma_b2}
    x, y, points = images(train, test, side=side, seed=0) if inputs == "images" else _alike(train, test, side**2)
    both = np.concatenate([x, points])
    correlations = np.clip(both @ both.T / side**2, -1, 1)
    widths = (side**2, *(width for _ in range(depth - 1)), 1)
    factors = ntk_factors(activation, correlations, widths=widths, **setting)
    ntk, nngp = (Blocks(gram[:train, :train], gram[train:, :train], gram[train:, train:]) for gram in (factors.ntk[1], factors.q_pair[-1]))
    rate = SHARE / float(np.linalg.eigvalsh(ntk.train)[-1])
    exact = prediction.ensemble(ntk, nngp, y, times=[steps, math.inf], dynamics="descent", learning_rate=rate, covariance="diagonal")
    mean = float(np.mean(correlations[np.triu_indices(len(both), 1)]))
    params = drawn(depth, width, side**2, sigma_w2=[sigma_w2] * networks, sigma_b2=sigma_b2, seed=substream(seed, 0))
    outputs, own = _trained(network(activation), params, x, y, points, steps=steps, rate=rate)
    predicted = _predicted(ntk_factors(activation, mean, widths=widths, **setting), train)
    started = _moments(widths, activation, draws=draws, seed=substream(seed, 1), **setting)
    many = sample_ntk_matrix(widths, activation, both, parameterization="standard", draws=kernels, seed=substream(seed, 2), **setting)
    by_many = _squares(_regression(many.theta, many.outputs, y[:, 0], steps=steps, rate=rate)).astype(np.float32)
    measured = {"outputs": outputs, "own": own, "own_squares": by_many, "exact": exact.variance[0], "exact_end": exact.variance[1]}
    return {**measured, **_shown(measured), **predicted, **started}


def _shown(arrays: Arrays) -> Arrays:
    """Variances, means over test points."""
    by_own, more = _parts(arrays)
    values = {"variance": by_own.mean + more.mean, "variance_sem": math.hypot(by_own.sem, more.sem), "variance_own": by_own.mean}
    return {name: np.asarray(value) for name, value in (*values.items(), ("exact_mean", arrays["exact"].mean()))}


def _predicted(factors: NtkFactors, train: int) -> Arrays:
    """Theorem 3 and the lemmas for two inputs."""
    own, pair = factors.ntk
    q, q_pair = float(factors.q[-1]), float(factors.q_pair[-1])
    theorem = trained_variance(q=q, q_pair=q_pair, kappa_ratio=own / float(pair), samples=train)
    values = {"theorem": theorem, "q": q, "q_pair": q_pair, "ntk": own, "ntk_pair": float(pair)}
    return {name: np.asarray(value) for name, value in values.items()}


def _alike(train: int, test: int, features: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points of |x|² = n_0, of which every two have the covariance 0.5, with targets 1 and -1 in turn."""
    count = train + test
    x = np.zeros((count, features))
    x[:, 0], x[np.arange(count), np.arange(1, count + 1)] = math.sqrt(COVARIANCE), math.sqrt(1 - COVARIANCE)
    x *= math.sqrt(features)
    return x[:train], np.where(np.arange(train) % 2 == 0, 1.0, -1.0)[:, None], x[train:]


def _trained(
    f: Any, params: Any, x: np.ndarray, y: np.ndarray, points: np.ndarray, *, steps: int, rate: float
) -> tuple[np.ndarray, np.ndarray]:
    """Outputs (networks, test points) after full-batch gradient descent on ½ Σ (f - y)², and by each network's own Θ⁰."""
    both = np.concatenate([x, points]).astype(np.float32)
    with _precision.enter("float32"):
        trace = train_cell(f, params, x, y, steps=steps, learning_rate=rate, probe_steps=(steps,), probes={}, dtype="float32")
        theta = np.asarray(jax.jit(jax.vmap(empirical.ntk_function(f), (0, None)))(params, both), np.float64)
        evaluate = jax.jit(jax.vmap(f, (0, None)))
        outputs, start = np.asarray(evaluate(trace.params, both[len(x) :]))[..., 0], np.asarray(evaluate(params, both), np.float64)
    own = _regression(theta, start[..., 0], y[:, 0], steps=steps, rate=rate)
    return outputs, own.astype(np.float32)


def _regression(theta: np.ndarray, start: np.ndarray, y: np.ndarray, *, steps: int, rate: float) -> np.ndarray:
    """Outputs on test points after descent with fixed kernels, (networks, points): `theta`, `start` of the train points first."""
    count = len(y)
    values, vectors = np.linalg.eigh(theta[:, :count, :count])
    gaps = np.swapaxes(vectors, 1, 2) @ (start[:, :count] - y)[..., None]
    moved = ((1 - (1 - rate * values) ** steps) / values)[..., None] * gaps
    return np.asarray(start[:, count:] - (theta[:, count:, :count] @ vectors @ moved)[..., 0])


def _moments(widths: tuple[int, ...], activation: str, *, draws: int, seed: int, **setting: float) -> Arrays:
    """Second moments of f and means of Θ for one input and for two of covariance 0.5, drawn, with their errors (mean, error)."""
    first, _, second = _alike(1, 1, widths[0])
    pair = np.concatenate([first, second])
    drawn_at = sample_ntk_matrix(widths, activation, pair, parameterization="standard", draws=draws, seed=seed, **setting)
    f, theta = drawn_at.outputs, drawn_at.theta
    values = {"f2": f[:, 0] ** 2, "ff": f[:, 0] * f[:, 1], "theta": theta[:, 0, 0], "theta_pair": theta[:, 0, 1]}
    return {f"drawn_{name}": np.array([v.mean(), v.std(ddof=1) / math.sqrt(len(v))]) for name, v in values.items()}


def claims(measured: Measured) -> Sequence[Claim]:
    """The lemmas, then theorem 3 and trained networks for inputs that are alike and for images, then what is said of the phases."""
    made = []
    for params, _ in measured.where(inputs="alike"):
        made += _lemmas(measured, params["activation"], params["phase"]) + _theorem(measured, params["activation"], params["phase"])
    return [*made, *(claim for activation in PHASES for claim in _phases(measured, activation))]


def _phases(measured: Measured, activation: str) -> list[Claim]:
    """Trained networks on images: the ordered phase has the least variance, and less with depth; the chaotic phase the most."""
    made, said = [], f"{_name(activation)}, images"
    found = {
        (params["phase"], params["depth"]): _variance(measured, activation, params["phase"], "images", params["depth"])
        for params, _ in measured.where(activation=activation, inputs="images")
    }
    shallow, deep = DEPTHS
    for less, more in (("ordered", "edge of chaos"), ("edge of chaos", "chaotic")):
        if (less, shallow) in found and (more, shallow) in found:
            words = f"variance after training: {more} less {less}, L = {shallow}; {said}"
            gap = difference(found[more, shallow], found[less, shallow])
            made.append(Claim("section 5", words, 0.0, gap, relation="at least"))
    if ("ordered", deep) in found:
        made += _depths(measured, activation, found["ordered", shallow], found["ordered", deep])
    return made


def _depths(measured: Measured, activation: str, shallow: Estimate, deep: Estimate) -> list[Claim]:
    """The variance falls with depth in the ordered phase: by the law of infinite width, of which finite width leaves little."""
    near, far = (measured.one(activation=activation, phase="ordered", inputs="images", depth=depth) for depth in DEPTHS)
    ends, after = ([float(arrays[name].mean()) for arrays in (near, far)] for name in ("exact_end", "exact"))
    ((params, _),) = measured.where(activation=activation, phase="ordered", inputs="images", depth=DEPTHS[0])
    said = f"variance at L = {DEPTHS[1]} over that at L = {DEPTHS[0]}, ordered phase"
    law = f"{said}: kernel regime at t → ∞ with the deterministic Θ of infinite width; {_name(activation)}, images"
    networks = f"{said}: trained networks, over that of infinite width; {_name(activation)}, images, M = {params['width']}"
    kept = ratio(deep, shallow)
    excess = Estimate(kept.mean * after[0] / after[1], kept.sem * after[0] / after[1], kept.n)
    return [
        Claim("section 5", law, 1.0, Estimate(ends[1] / ends[0], 0.0, 0), relation="at most"),
        Claim("section 5", networks, 1.0, excess, relation="at least", origin="ours"),
    ]


def _name(activation: str) -> str:
    return "ReLU" if activation == "relu" else activation


def _where(params: Params) -> str:
    setting = f"{_name(params['activation'])}, {params['phase']}, σ_w² = {params['sigma_w2']:g}, σ_b² = {params['sigma_b2']:g}"
    return f"{setting}, L = {params['depth']}, M = {params['width']}"


def _lemmas(measured: Measured, activation: str, phase: str) -> list[Claim]:
    ((params, arrays),) = measured.where(activation=activation, phase=phase, inputs="alike")
    where, near, n = f"{_where(params)}, x·x' = {COVARIANCE:g}", near_limit(params["width"]), params["draws"]

    def claim(source: str, words: str, predicted: str, drawn: str, origin: Origin = "printed") -> Claim:
        mean, sem = arrays[f"drawn_{drawn}"]
        return Claim(source, f"{words}; {where}", float(arrays[predicted]), Estimate(float(mean), float(sem), n), near, origin=origin)

    return [
        claim("lemma 1", "E f² at initialization is q^L", "q", "f2"),
        claim("lemma 1", "E f(x)f(x') at initialization is q^L of the pair", "q_pair", "ff"),
        claim("lemma 2", "E Θ(x, x) is αMκ₁, with the biases' term", "ntk", "theta", "corrected"),
        claim("lemma 2", "E Θ(x, x') is αMκ₂, with the biases' term", "ntk_pair", "theta_pair", "corrected"),
    ]


def _squares(outputs: np.ndarray) -> np.ndarray:
    """For each network the mean over test points of its squared deviation; their mean is the variance."""
    outputs = outputs.astype(np.float64)
    return np.mean((outputs - outputs.mean(axis=0)) ** 2, axis=1) * len(outputs) / (len(outputs) - 1)


def _parts(arrays: Arrays) -> tuple[Estimate, Estimate]:
    """The variance over networks, mean over test points, in two parts: by many random Θ⁰, and what training adds, from the same networks.

    Both are measured; their sum has a smaller error than the variance of the trained networks alone, which are fewer.
    """
    return Estimate.of(arrays["own_squares"]), Estimate.of(_squares(arrays["outputs"]) - _squares(arrays["own"]))


def _variance(measured: Measured, activation: str, phase: str, inputs: str, depth: int) -> Estimate:
    """The variance of trained networks."""
    by_own, more = _parts(measured.one(activation=activation, phase=phase, inputs=inputs, depth=depth))
    return Estimate(by_own.mean + more.mean, math.hypot(by_own.sem, more.sem), min(by_own.n, more.n))


def _theorem(measured: Measured, activation: str, phase: str) -> list[Claim]:
    made, depth = [], DEPTHS[0]
    for inputs, words in (("alike", f"all pairs at x·x' = {COVARIANCE:g}"), ("images", "images")):
        ((params, arrays),) = measured.where(activation=activation, phase=phase, inputs=inputs, depth=depth)
        near, found = near_limit(params["width"]), _variance(measured, activation, phase, inputs, depth)
        by_own, more = _parts(arrays)
        where = f"{words}; {_where(params)}, S = {params['train']}"
        exact, end = (float(arrays[name].mean()) for name in ("exact", "exact_end"))
        said = f"variance of the kernel regime at t → ∞ with the deterministic Θ of infinite width, {where}"
        law = Estimate(end, 0.0, 0)  # computed without chance
        made.append(Claim("theorem 3", said, float(arrays["theorem"]), law, ROUNDING if inputs == "alike" else ROUGHLY))
        if phase == "ordered":
            made += _excess(by_own, more, exact, where)
        else:
            kept = f"kernel regime with each network's own Θ⁰ (eq 10): variance after training, {where}"
            wide = f"kernel regime of infinite width: variance after {params['steps']} steps, {where}"
            made += [
                Claim("eq 3", kept, by_own.mean, Estimate(found.mean, more.sem, more.n), near, origin="ours"),
                Claim("eqs 3 and 4", wide, exact, found, near, origin="ours"),
            ]
    return made


def _excess(by_own: Estimate, more: Estimate, exact: float, where: str) -> list[Claim]:
    """What infinite width leaves out where its variance is small: the random Θ⁰ acts on the targets."""
    total, n = by_own.mean + more.mean, min(by_own.n, more.n)
    over = Estimate(total / exact, math.hypot(by_own.sem, more.sem) / exact, n)
    excess = total - exact
    error = math.hypot((by_own.mean - exact) * more.sem, more.mean * by_own.sem) / excess**2
    share = Estimate(more.mean / excess, error, n)
    return [
        Claim("section 5", f"variance over that of infinite width; {where}", 1.0, over, relation="at least", origin="ours"),
        Claim(
            "section 5",
            f"most of that excess is the random Θ⁰ (eq 10 with each network's own); share that is not; {where}",
            0.5,
            share,
            relation="at most",
            origin="ours",
        ),
    ]


EXPERIMENT = Experiment(
    key="T5",
    paper=PAPER,
    title="Variance of trained networks over initializations",
    statement="A network in the kernel regime trained to the end has Var f(x) ≈ (1 + A²/S)(q - q_pair) + (A - 1)² q_pair, with "
    "A = S/(κ₁/κ₂ + S - 1); it is small in the ordered phase and decreases with depth there, and is "
    "smaller at the edge of chaos than in the chaotic phase.",
    source="section 5, lemmas 1 and 2, theorem 3",
    cells=cells,
    run=run,
    claims=claims,
    seconds=seconds,
    version=2,
    choices=(
        "everything: the paper has no such experiment",
        "L = 3, and 6 in the ordered phase",
        "MNIST, pixels in means of 4 x 4 (784 features at paper scale), |x|² = n_0, targets 1 (even) and -1 (odd)",
        "full-batch gradient descent at half of 1/λ_max of the mean NTK",
        "kernel regime: within 10/M",
        "theorem 3, of a deterministic Θ, is set against the law of infinitely wide networks at t → ∞; trained networks against that law "
        "after as many steps and against eq 10 with their own Θ⁰",
        "variance of trained networks: that by eq 10 with many drawn Θ⁰, and what training adds to it in fewer networks",
        "small: less than at the edge of chaos",
        "theorem 3 with q_pair and κ₂ at the mean covariance of the points, κ₁/κ₂ with the biases' term; ≈ is read as within a quarter",
    ),
)
