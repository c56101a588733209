"""T5: the variance over initializations of trained networks, and the lemmas it is made of."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from kernelregime import _precision, empirical, prediction, training
from kernelregime.claims import Claim, Estimate, Origin
from kernelregime.experiments.experiment import Arrays, Experiment, Measured, Params, Scale
from kernelregime.experiments.papers.can_we_trust.images import images
from kernelregime.experiments.papers.can_we_trust.kappas import PHASES
from kernelregime.experiments.papers.can_we_trust.nets import drawn, network
from kernelregime.experiments.papers.can_we_trust.paper import PAPER, difference, near_limit, substream
from kernelregime.prediction import Blocks
from kernelregime.theory import NtkFactors, ntk_factors, sample_ntk_matrix, trained_variance

DEPTH, COVARIANCE = 3, 0.5
SIZES: Mapping[Scale, Mapping[str, Any]] = {
    "smoke": {"side": 7, "width": 16, "networks": 8, "train": 10, "test": 3, "steps": 5, "draws": 50},
    "laptop": {"side": 7, "width": 100, "networks": 120, "train": 10, "test": 10, "steps": 400, "draws": 3000},
    "paper": {"side": 28, "width": 1000, "networks": 1000, "train": 100, "test": 10, "steps": 5000, "draws": 20_000},
}
SHARE = 0.5  # of the largest learning rate at which the mean network would be stable on its largest mode, 1/λ_max
ROUGHLY = 0.25  # how "≈" in theorem 3 is read where pairs of inputs differ


def cells(scale: Scale) -> Mapping[str, Params]:
    """A cell for each activation, phase and kind of inputs: images, or inputs of which every pair has the same covariance.

    At smoke scale ReLU at the edge of chaos alone: most of the time goes into compiling.
    """
    small = scale == "smoke"
    return {
        f"{activation}-{phase.replace(' ', '-')}-{inputs}": {
            "activation": activation,
            "phase": phase,
            "sigma_w2": weight,
            "sigma_b2": bias,
            "inputs": inputs,
            **SIZES[scale],
        }
        for activation, phases in PHASES.items()
        for phase, (weight, bias) in phases.items()
        for inputs in ("images", "alike")
        if not small or (activation == "relu" and phase == "edge of chaos")
    }


def seconds(*, side: int, width: int, networks: int, train: int, steps: int, draws: int, **_: Any) -> float:
    """About how long a cell takes."""
    return 1.5 + 6e-10 * steps * networks * train * width * (side**2 + width) + 2e-6 * draws * width


def run(
    *,
    activation: str,
    phase: str,
    sigma_w2: float,
    sigma_b2: float,
    inputs: str,
    side: int,
    width: int,
    networks: int,
    train: int,
    test: int,
    steps: int,
    draws: int,
    seed: int,
) -> Arrays:
    """Outputs of trained networks on test points; draws at initialization; and what theory says of both."""
    setting = {"sigma_w2": sigma_w2, "sigma_b2": sigma_b2}
    x, y, points = images(train, test, side=side, seed=0) if inputs == "images" else _alike(train, test, side**2)
    both = np.concatenate([x, points])
    correlations = np.clip(both @ both.T / side**2, -1, 1)
    widths = (side**2, *(width for _ in range(DEPTH - 1)), 1)
    factors = ntk_factors(activation, correlations, widths=widths, **setting)
    ntk, nngp = (Blocks(gram[:train, :train], gram[train:, :train], gram[train:, train:]) for gram in (factors.ntk[1], factors.q_pair[-1]))
    rate = SHARE / float(np.linalg.eigvalsh(ntk.train)[-1])
    exact = prediction.ensemble(ntk, nngp, y, times=[steps], dynamics="descent", learning_rate=rate, covariance="diagonal")
    mean = float(np.mean(correlations[np.triu_indices(len(both), 1)]))
    params = drawn(DEPTH, width, side**2, sigma_w2=[sigma_w2] * networks, sigma_b2=sigma_b2, seed=substream(seed, 0))
    outputs, own = _trained(network(activation), params, x, y, points, steps=steps, rate=rate)
    predicted = _predicted(ntk_factors(activation, mean, widths=widths, **setting), train)
    started = _moments(widths, activation, draws=draws, seed=substream(seed, 1), **setting)
    measured = {"outputs": outputs, "own": own, "exact": exact.variance[0]}
    return {**measured, **_shown(**measured), **predicted, **started}


def _shown(outputs: np.ndarray, own: np.ndarray, exact: np.ndarray) -> Arrays:
    """Variances, means over test points."""
    found, by_own = (Estimate.of(_squares(values)) for values in (outputs, own))
    values = {"variance": found.mean, "variance_sem": found.sem, "variance_own": by_own.mean, "exact_mean": exact.mean()}
    return {name: np.asarray(value) for name, value in values.items()}


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
        trace = training.train(f, params, x, y, steps=steps, learning_rate=rate, probe_steps=(steps,), probes={}, dtype="float32")
        theta = np.asarray(jax.jit(jax.vmap(empirical.ntk_function(f), (0, None)))(params, both), np.float64)
        evaluate = jax.jit(jax.vmap(f, (0, None)))
        outputs, start = np.asarray(evaluate(trace.params, both[len(x) :]))[..., 0], np.asarray(evaluate(params, both), np.float64)
    values, vectors = np.linalg.eigh(theta[:, : len(x), : len(x)])
    moved = np.expand_dims((1 - (1 - rate * values) ** steps) / values, -1) * (np.swapaxes(vectors, 1, 2) @ (start[:, : len(x)] - y))
    own = start[:, len(x) :] - theta[:, len(x) :, : len(x)] @ vectors @ moved
    return outputs, own[..., 0].astype(np.float32)


def _moments(widths: tuple[int, ...], activation: str, *, draws: int, seed: int, **setting: float) -> Arrays:
    """Second moments of f and means of Θ for one input and for two of covariance 0.5, drawn, with their errors (mean, error)."""
    first, _, second = _alike(1, 1, widths[0])
    pair = np.concatenate([first, second])
    drawn_at = sample_ntk_matrix(widths, activation, pair, parameterization="standard", draws=draws, seed=seed, **setting)
    f, theta = drawn_at.outputs, drawn_at.theta
    values = {"f2": f[:, 0] ** 2, "ff": f[:, 0] * f[:, 1], "theta": theta[:, 0, 0], "theta_pair": theta[:, 0, 1]}
    return {f"drawn_{name}": np.array([v.mean(), v.std(ddof=1) / math.sqrt(len(v))]) for name, v in values.items()}


def claims(measured: Measured) -> Sequence[Claim]:
    """The lemmas, then theorem 3 for inputs that are alike and for images, then what is said of the phases."""
    made = []
    for params, _ in measured.where(inputs="alike"):
        made += _lemmas(measured, params["activation"], params["phase"]) + _theorem(measured, params["activation"], params["phase"])
    for params, _ in measured.where(inputs="images", phase="chaotic"):
        activation = params["activation"]
        chaotic, edge = (_variance(measured, activation, phase, "images") for phase in ("chaotic", "edge of chaos"))
        words = f"variance after training: that in the chaotic phase less that at the edge of chaos; {_name(activation)}, images"
        made.append(Claim("section 5", words, 0.0, difference(chaotic, edge), relation="at least"))
    return made


def _name(activation: str) -> str:
    return "ReLU" if activation == "relu" else activation


def _where(params: Params) -> str:
    setting = f"{_name(params['activation'])}, {params['phase']}, σ_w² = {params['sigma_w2']:g}, σ_b² = {params['sigma_b2']:g}, L = {DEPTH}"
    return f"{setting}, M = {params['width']}"


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


def _variance(measured: Measured, activation: str, phase: str, inputs: str) -> Estimate:
    """The variance over networks, mean over test points; its error from the networks, which are independent."""
    return Estimate.of(_squares(measured.one(activation=activation, phase=phase, inputs=inputs)["outputs"]))


def _theorem(measured: Measured, activation: str, phase: str) -> list[Claim]:
    made = []
    for inputs, words in (("alike", f"all pairs at x·x' = {COVARIANCE:g}"), ("images", "images")):
        ((params, arrays),) = measured.where(activation=activation, phase=phase, inputs=inputs)
        near, found = near_limit(params["width"]), _variance(measured, activation, phase, inputs)
        where = f"{words}; {_where(params)}, S = {params['train']}"
        each, own = _squares(arrays["outputs"]), _squares(arrays["own"])
        paired = Estimate(found.mean, Estimate.of(each - own).sem, found.n)  # of the same networks
        words = f"variance after training, {where}"
        exact = float(arrays["exact"].mean())
        made.append(Claim("theorem 3", words, float(arrays["theorem"]), found, near if inputs == "alike" else ROUGHLY))
        if phase == "ordered":
            made += _excess(found, float(own.mean()), paired, exact, where)
        else:
            kept = f"kernel regime with each network's own Θ⁰ (eq 10): variance after training, {where}"
            wide = f"kernel regime of infinite width: variance after {params['steps']} steps, {where}"
            made += [
                Claim("eq 3", kept, float(own.mean()), paired, near, origin="ours"),
                Claim("eqs 3 and 4", wide, exact, found, near, origin="ours"),
            ]
    return made


def _excess(found: Estimate, own: float, paired: Estimate, exact: float, where: str) -> list[Claim]:
    """What infinite width leaves out where its variance is small: the random Θ⁰ acts on the targets."""
    over = Estimate(found.mean / exact, found.sem / exact, found.n)
    share = Estimate((found.mean - own) / (found.mean - exact), paired.sem / abs(found.mean - exact), found.n)
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
    "A = S/(κ₁/κ₂ + S - 1); it is small in the ordered phase, and smaller at the edge of chaos than in the chaotic phase.",
    source="section 5, lemmas 1 and 2, theorem 3",
    cells=cells,
    run=run,
    claims=claims,
    seconds=seconds,
    choices=(
        "everything: the paper has no such experiment",
        "L = 3; MNIST, pixels in means of 4 x 4 (784 features at paper scale), |x|² = n_0, targets 1 (even) and -1 (odd)",
        "full-batch gradient descent at half of 1/λ_max of the mean NTK",
        "kernel regime: within 10/M",
        "theorem 3 with q_pair and κ₂ at the mean covariance of the points, κ₁/κ₂ with the biases' term; ≈ is read as within a quarter",
    ),
)
