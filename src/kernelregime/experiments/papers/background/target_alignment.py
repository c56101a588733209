"""G4: the alignment of a kernel with the targets, against the test error: by label noise, by digits, by kernel; and in training."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kernelregime import infinite, networks
from kernelregime.claims import Claim, Estimate
from kernelregime.experiments.experiment import Arrays, Experiment, Measured, Params, Scale
from kernelregime.experiments.papers.background import learned
from kernelregime.experiments.papers.background.error_bound import RANDOM, noisy
from kernelregime.experiments.papers.background.paper import PAPER, part
from kernelregime.experiments.papers.background.trained import errors
from kernelregime.observables import alignment
from kernelregime.prediction import Blocks, posterior

DEPTH = 3
PAIRS = tuple(itertools.combinations(range(10), 2))
# σ_w² and σ_b² of the kernels compared on one target
PHASES = ((2.0, 0.0), (1.0, 0.1), (1.5, 0.1), (2.0, 0.1), (2.5, 0.1), (3.0, 0.1))
SIZES: Mapping[Scale, Mapping[str, Any]] = {
    "smoke": {"data": "digits", "parts": 3, "points": 50, "pairs": 50, "depths": (2, 8), "taken": 6},
    "laptop": {"data": "mnist", "parts": 8, "points": 250, "pairs": 80, "depths": (2, 3, 5, 10, 20, 40), "taken": 45},
    "paper": {"data": "mnist", "parts": 10, "points": 2000, "pairs": 500, "depths": (2, 3, 5, 10, 20, 40), "taken": 45},
}
NETWORKS: Mapping[Scale, Mapping[str, int]] = {
    "smoke": {"networks": 2, "width": 16, "steps": 30},
    "laptop": {"networks": 15, "width": 64, "steps": 200},
    "paper": {"networks": 45, "width": 512, "steps": 3000},
}


def cells(scale: Scale) -> Mapping[str, Params]:
    """A cell for each part of the data and each thing that varies, and one for each trained network."""
    size = SIZES[scale]
    found: dict[str, Params] = {}
    for number in range(size["parts"]):
        common = {"data": size["data"], "number": number}
        found[f"labels-{number}"] = {"varied": "labels", "points": size["points"], **common}
        found[f"kernels-{number}"] = {"varied": "kernels", "points": size["points"], "depths": list(size["depths"]), **common}
        found[f"pairs-{number}"] = {"varied": "pairs", "points": size["pairs"], "taken": size["taken"], **common}
    trained = NETWORKS[scale]
    every = len(PAIRS) // trained["networks"]
    for index in range(trained["networks"]):
        settings = {"points": size["pairs"], "width": trained["width"], "steps": trained["steps"], "pair": list(PAIRS[index * every])}
        found[f"network-{index}"] = {"varied": "training", "data": size["data"], "number": 0, **settings}
    return found


def seconds(*, varied: str, points: int, taken: int = 0, depths: Sequence[int] = (), width: int = 0, steps: int = 0, **_: Any) -> float:
    """About how long a cell takes."""
    kernels = {"labels": 1, "pairs": taken, "kernels": len(PHASES) * len(depths), "training": 2}[varied]
    return 1.0 + kernels * (1e-6 * points**2 + 3e-9 * points**3) + 3e-7 * steps * points * width


def run(
    *,
    varied: str,
    data: str,
    number: int,
    points: int,
    seed: int,
    taken: int = 0,
    depths: Sequence[int] = (),
    pair: tuple[int, int] = (0, 1),
    width: int = 0,
    steps: int = 0,
) -> Arrays:
    """`alignment` on the train points, plain and `centred`, and `error` and `loss` on as many test points, for each of what is varied."""
    if varied == "training":
        x, y = part(data, number, 2 * points, classes=(pair[0], pair[1]))
        return learned.run(x[:points], y[:points], x[points:], y[points:], width=width, steps=steps, seed=seed)
    if varied == "pairs":
        return _stacked([_pair(data, number, points, chosen) for chosen in PAIRS[:: len(PAIRS) // taken][:taken]])
    x, y = part(data, number, 2 * points)
    if varied == "labels":
        rng, gram = np.random.default_rng(seed), _gram(x)
        return _stacked([of_kernel(gram, noisy(y, fraction, rng), points) for fraction in RANDOM])
    found = []
    for weight, bias in PHASES:
        network = networks.mlp(depth=depths[-1], width=1, sigma_w2=weight, sigma_b2=bias)
        grams = infinite.gram(network, x, kind="ntk", depths=list(depths), dtype="float64").ntk
        assert grams is not None
        found += [of_kernel(gram, y, points) for gram in grams]
    return _stacked(found)


def _pair(data: str, number: int, points: int, classes: tuple[int, int]) -> dict[str, np.ndarray]:
    x, y = part(data, number, 2 * points, classes=classes)
    return of_kernel(_gram(x), y, points)


def _gram(x: np.ndarray) -> np.ndarray:
    found = infinite.gram(networks.mlp(depth=DEPTH, width=1, sigma_w2=2.0), x, kind="ntk", dtype="float64").ntk
    assert found is not None
    return np.asarray(found)


def of_kernel(gram: np.ndarray, labels: np.ndarray, points: int) -> dict[str, np.ndarray]:
    """Alignment with the labels on the first `points`, and the errors of kernel regression on the others."""
    train = gram[:points, :points]
    found = posterior(Blocks(train, gram[points:, :points], gram[points:, points:]), labels[:points], covariance="diagonal")
    return {
        "alignment": alignment(train, labels[:points]),
        "centred": alignment(train, labels[:points], centred=True),
        **errors(found.mean[:, 0], labels[points:]),
    }


def _stacked(found: Sequence[Mapping[str, np.ndarray]]) -> Arrays:
    return {name: np.array([item[name] for item in found]) for name in found[0]}


def correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's: the correlation of the ranks; 0 where one of them does not vary."""
    from scipy import stats

    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return 0.0
    return float(stats.spearmanr(x, y).statistic)


def _correlations(measured: Measured, varied: str, name: str, error: str) -> Estimate:
    """Of an alignment with an error, by parts of the data; where every part gives the same, its standard error is not known."""
    found = Estimate.of([correlation(arrays[name], arrays[error]) for _, arrays in measured.where(varied=varied)])
    return found if found.sem > 0 else Estimate(found.mean, math.nan, found.n)


def _across_phases(measured: Measured) -> list[Claim]:
    """Of the deepest kernels with biases, chosen by us: loss against alignment, from the ordered to the chaotic phase."""
    found = measured.where(varied="kernels")
    depths = found[0][0]["depths"]
    chosen = np.arange(len(PHASES))[1:] * len(depths) + len(depths) - 1  # rows of σ_w², columns of depth

    def slope(name: str) -> Estimate:
        return Estimate.of([np.polyfit(arrays[name][chosen], arrays["loss"][chosen], 1)[0] for _, arrays in found])

    told = f"over σ_w² = 1 to 3 at L = {depths[-1]}, σ_b² = 0.1: slope of the loss by"
    plain = f"{told} A(Θ, YYᵀ) is above 0: there it misleads"
    return [
        Claim("eq. 2.63, ours", plain, 0.0, slope("alignment"), relation="at least", origin="ours"),
        Claim("eq. 2.63, centred", f"{told} the centred alignment is below 0", 0.0, slope("centred"), relation="at most", origin="ours"),
    ]


def claims(measured: Measured) -> Sequence[Claim]:
    """Rank correlations, and what training does to alignment and error."""
    made = []
    told = {
        "labels": "by fraction of random labels, from 0 to 1",
        "pairs": "by pair of digits",
        "kernels": "by kernel, over σ_w², σ_b² and depth, for one target",
    }
    for varied, words in told.items():
        for error, what in (("error", "fraction of wrong signs"), ("loss", "loss min(|f - y|, 1)")):
            statement = f"rank correlation of A(Θ, YYᵀ) with the {what} of kernel regression on test points, {words}"
            made.append(Claim("eq. 2.63", statement, 0.0, _correlations(measured, varied, "alignment", error), relation="at most"))
        statement = f"rank correlation of the centred alignment with the loss on test points, {words}"
        centred = _correlations(measured, varied, "centred", "loss")
        made.append(Claim("eq. 2.63, centred", statement, 0.0, centred, relation="at most", origin="ours"))
    trained = [arrays for _, arrays in measured.where(varied="training")]
    made += _across_phases(measured)
    gain = Estimate.of([arrays["alignment"][-1] - arrays["alignment"][0] for arrays in trained])
    better = Estimate.of([arrays["loss_network"] - arrays["loss_kernel"] for arrays in trained])
    return [
        *made,
        Claim("section 2.4.4", "alignment of the empirical NTK after training less before, above 0; pairs of digits", 0.0, gain,
              relation="at least"),
        Claim("section 2.4.4", "test loss of the trained network less that of its NTK at the start; pairs of digits", 0.0, better,
              relation="at most"),
    ]  # fmt: skip


EXPERIMENT = Experiment(
    key="G4",
    paper=PAPER,
    title="Alignment of kernel and targets, against the test error",
    statement="Kernels of higher alignment with the targets generalize better; the NTK of a network aligns with the targets in training.",
    source="eq. 2.63, section 2.4.4",
    cells=cells,
    run=run,
    claims=claims,
    seconds=seconds,
    choices=(
        "MNIST in 8 separate parts: odd against even digits, 250 train and 250 test points; the 45 pairs of digits, 80 and 80",
        "ReLU, σ_w² = 2, L = 3, no biases, kernel regression without ridge",
        "by kernel: σ_w² from 1 to 3, σ_b² = 0.1 or 0, L from 2 to 40",
        "rank correlations (Spearman), by parts; from the ordered to the chaotic phase at one depth, a subset of ours, slopes",
        "labels are random with the same probability on train and test points",
        "networks on 15 of the pairs: width 64, L = 3, Adam at 0.01, 200 steps",
    ),
)
