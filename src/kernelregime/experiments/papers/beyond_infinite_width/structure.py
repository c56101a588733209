"""B4: the block structure of the NTK that emerges in training, in the three phases."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kernelregime import observables
from kernelregime.claims import Claim, Estimate
from kernelregime.data import Dataset, load
from kernelregime.empirical import ntk_function
from kernelregime.experiments.experiment import Arrays, Experiment, Measured, Params, Scale
from kernelregime.experiments.papers.beyond_infinite_width.course import less
from kernelregime.experiments.papers.beyond_infinite_width.paper import PAPER
from kernelregime.experiments.training import train_cell
from kernelregime.networks import mlp

WEIGHTS = (1.0, 2.0, 2.2)  # σ_w²
PER_CLASS = 10  # points of each class that the kernel is computed on
AUTHORS = (0, 1, 10, 20, 50, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1000, 1200, 1500, 1700, 2000, 2500, 3000)
TENTH = (0, 1, 2, 5, 10, 20, 30, 40, 50, 60, 80, 100, 120, 150, 200, 250, 300)
SIZES: Mapping[Scale, Mapping[str, Any]] = {
    "smoke": {"data": "digits", "points": 100, "width": 16, "depth": 3, "networks": 2, "rate": 1e-2, "times": [0, 3, 10, 30]},
    "laptop": {"data": "mnist", "points": 500, "width": 64, "depth": 10, "networks": 6, "rate": 1e-3, "times": list(TENTH)},
    "paper": {"data": "mnist", "points": None, "width": 300, "depth": 20, "networks": 6, "rate": 1e-4, "times": list(AUTHORS)},
}
SHOWN: Mapping[Scale, list[int]] = {"smoke": [0, 3, 10, 30], "laptop": [0, 10, 50, 300], "paper": [0, 100, 500, 3000]}


def cells(scale: Scale) -> Mapping[str, Params]:
    """A cell for each σ_w², of all its networks; one for all where compiling takes longer than training."""
    groups = [list(WEIGHTS)] if scale == "smoke" else [[weight] for weight in WEIGHTS]
    return {
        "w" + "-".join(f"{weight:g}" for weight in group): {"weights": group, **SIZES[scale], "shown": SHOWN[scale]} for group in groups
    }


def seconds(*, weights: list[float], points: int | None, width: int, depth: int, networks: int, times: list[int], **_: Any) -> float:
    """About how long a cell takes: compiling, and six operations for each weight, point, step and network."""
    size = 784 * width + depth * width**2
    return 5.0 + 6e-11 * size * (points or 50_000) * times[-1] * networks * len(weights)


def run(
    *,
    weights: list[float],
    data: str,
    points: int | None,
    width: int,
    depth: int,
    networks: int,
    rate: float,
    times: list[int],
    shown: list[int],
    seed: int,
) -> Arrays:
    """Block means and alignment of the NTK, test and train loss, (σ_w², times, networks); `maps`, kernels of the first of the networks.

    `points`: as many to train on, and to test on; None: all.
    """
    given = load(data, points_train=points, points_test=points, scaling="none", target_coding="one-hot", seed=0)
    f, params = _networks(weights, width, depth, networks, given, seed)
    trace = train_cell(
        f,
        params,
        np.float32(given.x_train),
        np.float32(given.y_train),
        steps=times[-1],
        learning_rate=rate,
        optimizer="adam",
        reduction="mean",
        probes={"kernel": _probe(f, given, networks)},
        probe_steps=times,
    )
    records = {name: np.asarray(values, np.float32) for name, values in trace.records["kernel"].items()}
    maps = np.moveaxis(records.pop("kernel")[[times.index(time) for time in shown]], 1, 0)
    largest = np.abs(maps).max(axis=(2, 3))
    losses = given.y_train.shape[1] * trace.losses[:, times]  # of a point: half the squared distance
    by_weight = {name: np.moveaxis(values.reshape(len(times), len(weights), networks), 1, 0) for name, values in records.items()}
    return {
        **by_weight,
        "train": np.moveaxis(losses.reshape(len(weights), networks, len(times)), 2, 1).astype(np.float32),
        "maps": (maps / largest[:, :, None, None]).astype(np.float16),
        "largest": largest,
    }


def _networks(weights: list[float], width: int, depth: int, networks: int, given: Dataset, seed: int) -> tuple[Callable[..., Any], Any]:
    """The function of all networks, and their params, stacked: those of the first σ_w² first.

    W_ij ~ N(0, σ_w²/n) and zero biases are drawn here: compiling the network's own `init` takes longer than to train a small one.
    """
    network = mlp(depth=depth, width=width, outputs=10, sigma_w2=1.0, sigma_b2=0.0, parameterization="standard")
    shapes = jax.eval_shape(lambda: network.init(jax.random.key(0), given.x_train.shape[1:], "float32"))
    rng = np.random.default_rng(seed)

    def drawn(leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        if leaf.ndim == 1:
            return np.zeros((len(weights) * networks, *leaf.shape), np.float32)
        deviations = np.sqrt(np.repeat(weights, networks) / leaf.shape[0])
        return (deviations[:, None, None] * rng.standard_normal((deviations.size, *leaf.shape))).astype(np.float32)

    return network.apply, jax.tree.map(drawn, shapes)  # in this parameterization σ_w² is in the params alone


def _probe(f: Callable[..., Any], given: Dataset, networks: int) -> Callable[[int, Any], dict[str, np.ndarray]]:
    """What is looked at on the way, a number for each network; `kernel`, of the first of each σ_w², the points by class."""
    assert given.labels_train is not None
    chosen = np.concatenate([np.flatnonzero(given.labels_train == label)[:PER_CLASS] for label in range(len(given.classes))])
    x, x_test = jnp.asarray(given.x_train[chosen], jnp.float32), jnp.asarray(given.x_test, jnp.float32)
    labels, targets = given.labels_train[chosen], given.y_train[chosen]
    kernels = jax.jit(jax.vmap(lambda params: ntk_function(f)(params, x)))
    outputs = jax.jit(jax.vmap(lambda params: f(params, x_test)))

    def probe(step: int, params: Any) -> dict[str, np.ndarray]:
        theta = np.asarray(kernels(params), np.float64)
        means = observables.block_means(theta, labels)
        error = np.asarray(outputs(params), np.float64) - given.y_test
        return {
            "theta_d": means.theta_d,
            "theta_c": means.theta_c,
            "theta_n": means.theta_n,
            "alignment": np.asarray(observables.alignment(theta, targets)),
            "test": np.sum(error**2, axis=-1).mean(-1) / 2,
            "kernel": theta[::networks],
        }

    return probe


def claims(measured: Measured) -> Sequence[Claim]:
    """The gap between Θ̄_c and Θ̄_n opens, fast at first; what it and Θ̄_c/Θ̄_d say of losses, from one phase to another."""
    made, found = [], _by_weight(measured)
    params = measured.where()[0][0]
    times, where = params["times"], f"M = {params['width']}, L = {params['depth']}, {params['data']}"
    third = times.index(times[-1] // 3)
    for weight, arrays in found.items():
        gap = (arrays["theta_c"] - arrays["theta_n"]) / arrays["theta_d"]
        early, late = np.abs(gap[third] - gap[0]), np.abs(gap[-1] - gap[third])
        opened = f"(Θ̄_c - Θ̄_n)/Θ̄_d after {times[-1]} epochs, less that at initialization; σ_w² = {weight:g}, {where}"
        faster = f"change of (Θ̄_c - Θ̄_n)/Θ̄_d in the first {times[third]} of {times[-1]} epochs, less that after; σ_w² = {weight:g}, {where}"
        aligned = f"alignment of the NTK with the labels after {times[-1]} epochs, less that at first; σ_w² = {weight:g}, {where}"
        made += [
            Claim("section 4.2", opened, 0.0, Estimate.of(gap[-1] - gap[0]), relation="at least"),
            Claim("section 4.2", faster, 0.0, Estimate.of(early - late), relation="at least"),
            Claim(
                "thesis, section 2.4.4", aligned, 0.0, Estimate.of(arrays["alignment"][-1] - arrays["alignment"][0]), relation="at least"
            ),
        ]
    return [*made, *_phases(found)]


def _by_weight(measured: Measured) -> dict[float, dict[str, np.ndarray]]:
    """The arrays (times, networks) of each σ_w²."""
    found = {}
    for params, arrays in measured.where():
        for index, weight in enumerate(params["weights"]):
            found[weight] = {name: np.asarray(values[index], np.float64) for name, values in arrays.items() if name != "maps"}
    return found


def _phases(found: Mapping[float, Mapping[str, np.ndarray]]) -> list[Claim]:
    """Phases in the order of their test loss: the better has the larger gap; the one that overfits more is further below Θ̄_c/Θ̄_d = 1."""
    ends: list[dict[str, Estimate]] = []
    for arrays in found.values():
        final = {name: arrays[name][-1] for name in ("theta_c", "theta_d", "theta_n", "test", "train")}
        own = final["theta_c"] / final["theta_d"]
        apart, excess = own - final["theta_n"] / final["theta_d"], final["test"] - final["train"]
        measured = {"test": final["test"], "apart": apart, "excess": excess, "below": 1 - own}
        ends.append({name: Estimate.of(values) for name, values in measured.items()})
    weights = list(found)
    best, worst = (choose(range(len(ends)), key=lambda i: ends[i]["test"].mean) for choose in (min, max))
    least, most = (choose(range(len(ends)), key=lambda i: ends[i]["excess"].mean) for choose in (min, max))
    ordered = f"the test loss is least (σ_w² = {weights[best]:g}), less that where it is largest ({weights[worst]:g})"
    fitted = f"test less train loss is largest (σ_w² = {weights[most]:g}), less that where it is least ({weights[least]:g})"
    gap, own = f"(Θ̄_c - Θ̄_n)/Θ̄_d at the end where {ordered}", f"1 - Θ̄_c/Θ̄_d at the end where {fitted}"
    return [
        Claim("section 4.2", gap, 0.0, less(ends[best]["apart"], ends[worst]["apart"]), relation="at least"),
        Claim("section 4.2", own, 0.0, less(ends[most]["below"], ends[least]["below"]), relation="at least"),
    ]


EXPERIMENT = Experiment(
    key="B4",
    paper=PAPER,
    title="Block structure of the NTK in training",
    statement="In training the NTK grows larger on pairs of one class than on pairs of two, mostly in the first epochs; a larger gap goes "
    "with a lower test loss, and a Θ̄_c further below Θ̄_d with overfitting.",
    source="section 4.2, figure 4; thesis, figure 2.5",
    figures=("Figure 4", "thesis, Figure 2.5"),
    cells=cells,
    run=run,
    claims=claims,
    seconds=seconds,
    choices=(
        "as in the authors' code: full batches (an epoch is a step), Adam at 1e-4 (the paper: 1e-5), half the squared distance as loss, "
        "pixels in [0, 1], zero biases that are trained, the kernel summed over outputs, on train points",
        "on a laptop: L = 10, M = 64, 500 train points, 300 epochs at ten times the rate; times shown are a tenth of the paper's",
        "six networks for each σ_w²; the paper has one",
        "train and test points are the same for all networks, with as many of every class",
        "the first epochs are a third of all",
    ),
)
