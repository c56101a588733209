"""T3: how far training moves the NTK, and the loss it reaches, over (σ_w², L)."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from kernelregime import _precision, empirical, observables, training
from kernelregime.claims import Claim, Estimate, Relation
from kernelregime.experiments.experiment import Arrays, Experiment, Measured, Params, Scale
from kernelregime.experiments.papers.can_we_trust.images import images
from kernelregime.experiments.papers.can_we_trust.nets import drawn, network
from kernelregime.experiments.papers.can_we_trust.paper import PAPER, difference
from kernelregime.experiments.training import train_cell
from kernelregime.theory import edge_of_chaos

BIAS = 1.0
WEIGHTS = {"tanh": (1.0, 2.0, 3.44, 4.5, 6.0), "relu": (1.0, 1.5, 2.0, 2.5, 3.0)}  # two ordered, one near the border, two chaotic
SMALL = {"side": 14, "train": 20, "rate": 4e-3}  # flow time 1 in 250 steps
SIZES: Mapping[Scale, Mapping[str, Any]] = {
    "smoke": {**SMALL, "widths": (8,), "depths": (3, 5), "networks": 2, "steps": [1, 2], "activations": ("relu",), "at": WEIGHTS},
    "laptop": {
        **SMALL,
        "widths": (20, 40, 80),
        "depths": (3, 8, 20),
        "networks": 5,
        "steps": [1, 10, 60, 250],
        "activations": ("tanh", "relu"),
        "at": WEIGHTS,
    },
    "paper": {
        "side": 28,
        "train": 130,
        "rate": 1e-5,
        "widths": (128, 256, 512),
        "depths": (3, 5, 10, 15, 20, 25, 30),
        "networks": 2,
        "steps": [10, 100, 1000, 10_000, 100_000],
        "activations": ("tanh", "relu"),
        "at": {"tanh": (1.0, 1.5, 2.0, 2.5, 3.0, 3.44, 4.0, 4.5, 5.0, 6.0), "relu": (0.5, 1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 2.75, 3.0)},
    },
}
GAIN = 1e-4  # the paper stops where the loss falls by less than 1e-7 in 100 steps of 1e-5: this, in a unit of flow time
SHARE = 0.5  # of the largest learning rate at which gradient descent is stable at initialization, 2S/λ_max, that none exceeds
FLOOR = 1e-8  # of changes and losses, in logarithms: what single precision can tell
LOW = 0.1  # a relative change that is "small"; a loss that is "low": constants leave ½


def cells(scale: Scale) -> Mapping[str, Params]:
    """A cell for each activation, width and depth; networks of all σ_w² together."""
    size = SIZES[scale]
    return {
        f"{activation}-m{width}-l{depth}": {
            "activation": activation,
            "width": width,
            "depth": depth,
            "weights": list(size["at"][activation]),
            **{name: size[name] for name in ("networks", "train", "side", "rate", "steps")},
        }
        for activation in size["activations"]
        for width in size["widths"]
        for depth in size["depths"]
    }


def seconds(*, width: int, depth: int, weights: list[float], networks: int, train: int, side: int, steps: list[int], **_: Any) -> float:
    """About how long a cell takes."""
    numbers = width * side**2 + (depth - 2) * width**2
    return 3 + 1.5e-9 * steps[-1] * train * numbers * networks * len(weights)


def run(
    *,
    activation: str,
    width: int,
    depth: int,
    weights: list[float],
    networks: int,
    train: int,
    side: int,
    rate: float,
    steps: list[int],
    seed: int,
) -> Arrays:
    """‖Θ^t - Θ^0‖/‖Θ^0‖ and the loss (steps, σ_w², networks), the least loss, learning rates, and whether a network diverged."""
    x, y, _ = images(train, 10, side=side, seed=0)
    f, shape = network(activation), (len(weights), networks)
    with _precision.enter("float32"):
        params = drawn(depth, width, x.shape[1], sigma_w2=np.repeat(weights, networks).tolist(), sigma_b2=BIAS, seed=seed)
        kernel, points = jax.jit(jax.vmap(empirical.ntk_function(f), (0, None))), jnp.asarray(x, jnp.float32)
        start = np.asarray(kernel(params, points), np.float64)
        rates = np.minimum(rate, SHARE * 2 * train / np.linalg.eigvalsh(start)[:, -1])

        def drift(_: int, params: Any) -> Any:
            return observables.drift(np.asarray(kernel(params, points), np.float64), start)

        trace = train_cell(
            f,
            params,
            x,
            y,
            steps=steps[-1],
            learning_rate=rates,
            optimizer=_until_it_rests,
            reduction="mean",
            probes={"drift": drift},
            probe_steps=steps,
            dtype="float32",
        )
    border = np.array(edge_of_chaos(activation, sigma_b2=BIAS)[0])
    return {"border": border, "rates": np.float32(rates).reshape(shape), **_course_of(trace, steps, shape)}


def _course_of(trace: training.Trace, steps: Sequence[int], shape: tuple[int, int]) -> Arrays:
    """What is stored of a run; one that ended early, all networks having diverged, stays as it was for the steps it did not take."""
    rows = [int(np.searchsorted(trace.steps, min(step, trace.steps[-1]))) for step in steps]
    losses = np.array([trace.losses[:, min(step, trace.losses.shape[1] - 1)] for step in steps])
    return {
        "drift": np.float32(trace.records["drift"][rows]).reshape(-1, *shape),
        "loss": np.float32(losses).reshape(-1, *shape),
        "least": np.float32(trace.losses.min(axis=1)).reshape(shape),
        "diverged": np.array([word == "diverged" for word in trace.status]).reshape(shape),
    }


def _until_it_rests(rate: Any) -> optax.GradientTransformation:
    """Gradient descent that stops where |∇L|², by which the loss falls in a unit of flow time, is below `GAIN`."""

    def init(_: Any) -> tuple[()]:
        return ()

    def update(gradient: Any, state: tuple[()], _: Any = None) -> tuple[Any, tuple[()]]:
        fall = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(gradient))
        step = jnp.where(fall < GAIN, 0.0, -rate)
        return jax.tree.map(lambda leaf: (step * leaf).astype(leaf.dtype), gradient), state

    return optax.GradientTransformation(init, update)


class _Grid:
    """What the networks of one activation gave, those of a phase together, of all widths and depths or of one."""

    def __init__(self, measured: Measured, activation: str) -> None:
        self.measured, self.activation = measured, activation
        self.name = "ReLU" if activation == "relu" else activation
        found = measured.where(activation=activation)
        self.widths, self.depths = (sorted({params[key] for params, _ in found}) for key in ("width", "depth"))
        self.wide = self.widths[-2:]  # of which the claims are made, but for those that compare widths
        self.weights: list[float] = found[0][0]["weights"]
        self.border = float(found[0][1]["border"])

    def phase(self, name: str) -> list[float]:
        """The σ_w² of a phase."""
        words = {weight: "ordered" if weight < self.border else "chaotic" for weight in self.weights}
        words |= {weight: "near the border" for weight in self.weights if abs(weight / self.border - 1) < 0.01}
        return [weight for weight, word in words.items() if word == name]

    def logs(self, name: str, weights: Sequence[float], row: int | None = -1, **where: int) -> Estimate:
        """The mean of log₁₀ at a row of the steps (None: of an array without steps), σ_w², widths and depths alike in weight.

        Its error comes from networks of the same kind: these do not differ by chance.
        """
        kinds = []
        for params, arrays in self.measured.where(activation=self.activation, **where):
            if "width" in where or params["width"] in self.wide:
                at = arrays[name] if row is None else arrays[name][row]
                kinds += [at[params["weights"].index(weight)] for weight in weights]
        logs = np.log10(np.maximum(np.array(kinds, np.float64), FLOOR))
        count, each = logs.shape
        sem = math.sqrt(float(np.sum(logs.var(axis=1, ddof=1)) / each)) / count
        return Estimate(float(logs.mean()), sem, count * (each - 1) + 1)


def claims(measured: Measured) -> Sequence[Claim]:
    """The NTK's movement by phase, depth, width and step, and the loss."""
    activations = dict.fromkeys(params["activation"] for params, _ in measured.where())
    return [claim for name in activations for claim in (*_movement(_Grid(measured, name)), *_course(_Grid(measured, name)))]


def _movement(grid: _Grid) -> list[Claim]:
    shallow, deep = grid.depths[0], grid.depths[-1]
    ordered, edge, chaotic = (grid.phase(name) for name in ("ordered", "near the border", "chaotic"))
    what = f"{grid.name}, σ_b² = 1, M = {grid.wide[0]} to {grid.wide[-1]}"

    def claim(words: str, bound: float, found: Estimate, relation: Relation) -> Claim:
        return Claim(
            "section 4, figures 3 and 4", f"log₁₀ of the change of Θ by training, {words}; {what}", bound, found, relation=relation
        )

    def grown(weights: list[float]) -> Estimate:
        return difference(grid.logs("drift", weights, depth=deep), grid.logs("drift", weights, depth=shallow))

    deepest = {phase: grid.logs("drift", weights, depth=deep) for phase, weights in (("o", ordered), ("e", edge), ("c", chaotic))}
    made = [
        claim(
            f"ordered phase, small at σ_w² = {weight:g}, L = {deep}", math.log10(LOW), grid.logs("drift", [weight], depth=deep), "at most"
        )
        for weight in ordered
    ]
    return [
        *made,
        claim(f"ordered phase, L = {deep} less L = {shallow}", 0.0, grown(ordered), "at most"),
        claim(f"chaotic phase, L = {deep} less L = {shallow}", 0.0, grown(chaotic), "at least"),
        claim(f"L = {deep}, chaotic less ordered phase", 0.0, difference(deepest["c"], deepest["o"]), "at least"),
        claim(f"L = {deep}, border less ordered phase", 0.0, difference(deepest["e"], deepest["o"]), "at least"),
        claim(f"near the border, L = {deep}: below 1", 0.0, deepest["e"], "at most"),
    ]


def _course(grid: _Grid) -> list[Claim]:
    """Loss, the first steps, and width."""
    deep, narrow, wide = grid.depths[-1], grid.widths[0], grid.widths[-1]
    ordered, chaotic = grid.phase("ordered"), grid.phase("chaotic")
    early_step = grid.measured.where(activation=grid.activation)[0][0]["steps"][1]
    what = f"{grid.name}, σ_b² = 1, M = {grid.wide[0]} to {wide}"
    losses = difference(grid.logs("least", ordered, None, depth=deep), grid.logs("least", chaotic, None, depth=deep))
    early = difference(grid.logs("drift", chaotic, 1, depth=deep), grid.logs("drift", ordered, 1, depth=deep))
    made = [
        *(
            Claim(
                "section 4, figures 3b and 4b",
                f"log₁₀ of the least loss, ordered phase, not low at σ_w² = {weight:g}, L = {deep}; {what}",
                math.log10(LOW),
                grid.logs("least", [weight], None, depth=deep),
                relation="at least",
            )
            for weight in ordered
        ),
        Claim(
            "section 4, figures 3b and 4b",
            f"log₁₀ of the least loss at L = {deep}, ordered less chaotic phase; {what}",
            0.0,
            losses,
            relation="at least",
        ),
        Claim(
            "appendix D, figures 8 and 9",
            f"log₁₀ of the change of Θ after {early_step} steps, L = {deep}, chaotic less ordered phase; {what}",
            0.0,
            early,
            relation="at least",
        ),
    ]
    if wide > narrow:
        less = difference(grid.logs("drift", grid.weights, width=narrow), grid.logs("drift", grid.weights, width=wide))
        words = f"log₁₀ of the change of Θ by training, M = {narrow} less M = {wide}, all σ_w² and L; {grid.name}, σ_b² = 1"
        made.append(Claim("appendix D, figures 10 and 11", words, 0.0, less, relation="at least"))
    return made


EXPERIMENT = Experiment(
    key="T3",
    paper=PAPER,
    title="Change of the NTK during training, tanh and ReLU",
    statement="In the ordered phase ‖Θ^t - Θ^0‖/‖Θ^0‖ stays small at any depth, and deep networks do not train; in the chaotic phase it "
    "is large and grows with depth, and networks train; wider networks change less.",
    source="section 4, figures 3 and 4; appendix D, figures 8 to 11",
    figures=("Figure 3", "Figure 4", "Figure 8", "Figure 9", "Figure 10", "Figure 11"),
    cells=cells,
    run=run,
    claims=claims,
    seconds=seconds,
    choices=(
        "claims on the two larger M, but for those that compare widths",
        "one output, targets 1 (even digits) and -1 (odd); |x|² = n_0; σ_b² = 1; five networks (paper scale: two) for each σ_w², L and M",
        "laptop scale: 20 images, pixels in means of 2 x 2, M = 20, 40, 80, 250 steps of 4e-3: the paper's flow time",
        "paper scale: 130 images, as many of each digit, in place of 128",
        "the learning rate of a network is at most S/λ_max of its NTK at initialization",
        "stop where |∇L|² < 1e-4, to first order the paper's rule",
        "means are taken of logarithms; small: a change below 0.1; low: a loss below 0.1, where constants leave 0.5",
    ),
)
