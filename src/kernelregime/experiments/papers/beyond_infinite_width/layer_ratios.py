"""B11: ratios of squared norms of consecutive layers, N_x and N_δ: moments, central limit, and what ties the two passes."""

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from kernelregime.claims import Claim, Estimate
from kernelregime.experiments.experiment import Arrays, Experiment, Measured, Params, Scale
from kernelregime.experiments.papers.beyond_infinite_width.paper import PAPER
from kernelregime.theory import layer_ratio_product, layer_ratio_skewness, printed_layer_ratio_product

PRODUCTS: Mapping[Scale, Sequence[tuple[int, int, int]]] = {  # width, hidden layers, draws: L/M = 1/2
    "smoke": ((12, 4, 3000),),
    "laptop": ((12, 6, 30_000), (20, 10, 60_000), (40, 20, 220_000)),
    "paper": ((12, 6, 1_000_000), (20, 10, 1_000_000), (40, 20, 400_000), (100, 50, 100_000)),
}
WIDE: Mapping[Scale, Sequence[tuple[int, int]]] = {  # width, draws
    "smoke": ((16, 4000), (64, 4000)),
    "laptop": ((16, 60_000), (64, 60_000), (256, 30_000), (1024, 15_000)),
    "paper": ((16, 1_000_000), (64, 1_000_000), (256, 1_000_000), (1024, 1_000_000)),
}
INPUTS, NEXT = 2, 24  # units before and after a wide layer, which do not matter to it; of 24, one is active in all draws
NUMBERS = 1 << 21  # of the largest weight matrices of all draws made at one time
EDGES = np.linspace(-3, 4, 29)
SIGMA_W2 = 1.5  # only scales both ratios
SHARE = 0.3  # of layers over width up to which a few ten thousand draws settle the mean of products


def cells(scale: Scale) -> Mapping[str, Params]:
    """A cell for each width of deep networks, and for each width of one wide layer between narrow ones."""
    deep = {f"deep-m{n}": {"inputs": n, "hidden": [n] * layers, "draws": draws} for n, layers, draws in PRODUCTS[scale]}
    wide = {f"wide-m{n}": {"inputs": INPUTS, "hidden": [n, NEXT], "draws": draws} for n, draws in WIDE[scale]}
    return deep | wide


def seconds(*, inputs: int, hidden: list[int], draws: int) -> float:
    """About how long a cell takes."""
    sizes = [inputs, *hidden, 1]
    return 2e-8 * draws * sum(n * m for n, m in itertools.pairwise(sizes))


def run(*, inputs: int, hidden: list[int], draws: int, seed: int) -> Arrays:
    """Moments of the ratios by layer, of products over the first layers, and the law of the first layer's standardized ratios."""
    rng, size = np.random.default_rng(seed), max(1, NUMBERS // (max(inputs, *hidden) * max(hidden)))
    parts = [_ratios(rng, inputs, hidden, min(size, draws - start)) for start in range(0, draws, size)]
    forward, backward = (np.concatenate(kind) for kind in zip(*parts, strict=True))
    n = np.array(hidden)
    first = (np.stack([forward[:, 0], backward[:, 0]]) - 1) / math.sqrt(5 / n[0])
    below = np.cumprod(backward, axis=1)
    return {
        **_moments("forward", forward),
        **_moments("backward", backward),
        **_moments("neighbours", forward[:, :-1] * forward[:, 1:]),
        **_moments("errors", below),
        **_moments("both", below * np.cumprod(forward, axis=1)),
        "histogram": np.array([np.histogram(row, EDGES)[0] / draws / np.diff(EDGES) for row in first], np.float32),
        "distance": np.array([stats.kstest(row, "norm").statistic for row in first]),
        "cubes": np.array([Estimate.of(row**3).mean for row in first]),
        "cubes_sem": np.array([Estimate.of(row**3).sem for row in first]),
        "exact": layer_ratio_product(hidden),
        "printed": printed_layer_ratio_product(hidden),
        "squares": np.cumprod(1 + 5 / n),
        "skewness": np.array(layer_ratio_skewness(hidden[0])),
    }


def _moments(name: str, values: np.ndarray) -> Arrays:
    """Mean and mean square with their standard errors, by layer."""
    root = math.sqrt(len(values))
    return {
        name: values.mean(axis=0),
        f"{name}_sem": values.std(axis=0, ddof=1) / root,
        f"{name}_squared": (values**2).mean(axis=0),
        f"{name}_squared_sem": (values**2).std(axis=0, ddof=1) / root,
    }


def _ratios(rng: np.random.Generator, inputs: int, hidden: list[int], draws: int) -> tuple[np.ndarray, np.ndarray]:
    """N_x and N_δ over their means σ_w²/2 n_k/n_{k-1} and σ_w²/2, each (draws, layers), of networks with sampled weights."""
    units = np.zeros((draws, inputs, 1))
    units[:, 0] = 1.0
    weights, masks, norms = [], [], [np.ones(draws)]
    for n in [*hidden, 1]:
        before = units.shape[1]
        weights.append(rng.standard_normal((draws, n, before)) * math.sqrt(SIGMA_W2 / before))
        hidden_units = weights[-1] @ units
        masks.append(hidden_units > 0)
        units = np.where(masks[-1], hidden_units, 0.0)
        norms.append(np.sum(units[..., 0] ** 2, axis=1))
    delta, errors = np.ones((draws, 1, 1)), [np.ones(draws)]
    for layer in range(len(hidden), 0, -1):
        delta = masks[layer - 1] * (np.swapaxes(weights[layer], 1, 2) @ delta)
        errors.append(np.sum(delta[..., 0] ** 2, axis=1))
    forward, backward = np.stack(norms[:-1], axis=1), np.stack(errors[::-1], axis=1)
    means = SIGMA_W2 / 2 * np.array(hidden) / np.array([inputs, *hidden[:-1]])
    return _over(forward[:, 1:], forward[:, :-1]) / means, _over(backward[:, :-1], backward[:, 1:]) / (SIGMA_W2 / 2)


def _over(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """The ratio, 0 behind a layer without an active unit."""
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


def claims(measured: Measured) -> Sequence[Claim]:
    """Moments, independence and the central limit of single layers; then the products that the two passes tie."""
    deep = [found for found in measured.where() if found[0]["inputs"] != INPUTS]
    wide = sorted((found for found in measured.where() if found[0]["inputs"] == INPUTS), key=lambda found: found[0]["hidden"][0])
    params, arrays = wide[0]
    made = [*_single(params, arrays), *_independent(*deep[0])]
    for name, index, lemma in (("N_x", 0, "A.1"), ("N_δ", 1, "A.2")):
        ends = [(p["hidden"][0], p["draws"], float(a["cubes"][index]), float(a["cubes_sem"][index])) for p, a in (wide[0], wide[-1])]
        (n, draws, less, less_sem), (most, _, more, more_sem) = ends
        fall = Estimate(more - less, math.hypot(less_sem, more_sem), draws)
        limit = f"skewness of {name}, which a central limit takes to 0: of {most} units less that of {n}"
        made.append(Claim(f"lemma {lemma}", limit, 0.0, fall, relation="at most"))
        said, exact = f"skewness of {name} is 3.94/√n; n = {n}", float(wide[0][1]["skewness"])
        made.append(Claim("ours: third cumulant", said, exact, Estimate(less, less_sem, draws), origin="ours"))
    for params, arrays in deep:
        made += _products(params, arrays)
    return made


def _at(params: Params, arrays: Arrays, name: str, layer: int) -> Estimate:
    return Estimate(float(arrays[name][layer]), float(arrays[f"{name}_sem"][layer]), params["draws"])


def _single(params: Params, arrays: Arrays) -> list[Claim]:
    n = params["hidden"][0]
    found = []
    for name, ratio, lemma, numbers in (("forward", "N_x", "A.1", "24"), ("backward", "N_δ", "A.2", "26")):
        where = f"of a layer of {n} units"
        mean, square = _at(params, arrays, name, 0), _at(params, arrays, f"{name}_squared", 0)
        found += [
            Claim(f"lemma {lemma}, eq. {numbers}", f"mean of {ratio} over the stated one; {where}", 1.0, mean),
            Claim(f"lemma {lemma}, eq. {numbers}", f"E {ratio}²/(E {ratio})² = 1 + 5/n; {where}", 1 + 5 / n, square),
        ]
    return found


def _independent(params: Params, arrays: Arrays) -> list[Claim]:
    said = f"N_x of layers 1 and 2 are independent: E of their product over the product of means; n = {params['inputs']}"
    return [Claim("lemma A.1", said, 1.0, _at(params, arrays, "neighbours", 0))]


def _products(params: Params, arrays: Arrays) -> list[Claim]:
    """At the number of layers where the means are still settled."""
    n = params["inputs"]
    layers = max(1, round(SHARE * n))
    layer, where = layers - 1, f"{layers} layers of {n} units"
    both, squares = _at(params, arrays, "both", layer), _at(params, arrays, "errors_squared", layer // 2)
    printed, exact = float(arrays["printed"][layer]), float(arrays["exact"][layer])
    left = n**-1.5  # the printed factors' own O(M^{-3/2}), a layer
    return [
        Claim("lemma A.4, eq. 28", f"E Π N_δ over Π E N_δ; {where}", 1.0, _at(params, arrays, "errors", layer)),
        Claim("lemma A.4, eq. 29", f"E Π N_δ N_x over Π E N_δ E N_x, as printed; {where}", printed, both, layers * left),
        Claim("lemma A.4, corrected", f"E Π N_δ N_x over Π E N_δ E N_x, exact; {where}", exact, both, origin="corrected"),
        Claim(
            "lemma A.4, eq. 29",
            f"the passes are not independent: E Π N_δ N_x is above Π E N_δ E N_x; {where}",
            1.0,
            both,
            relation="at least",
        ),
        Claim(
            "lemma A.4, eq. 30",
            f"E Π N_δ² over (Π E N_δ)² = Π(1 + 5/n); {layer // 2 + 1} layers of {n} units",
            float(arrays["squares"][layer // 2]),
            squares,
            (layer // 2 + 1) * left,
        ),
    ]


EXPERIMENT = Experiment(
    key="B11",
    paper=PAPER,
    title="Ratios of norms of consecutive layers",
    statement="N_x = |x^k|²/|x^{k-1}|² and N_δ = |δ^k|²/|δ^{k+1}|² have E N²/(E N)² = 1 + 5/n and are asymptotically normal; over layers "
    "E Π N_δ N_x exceeds the product of means by Π(1 + 1/n).",
    source="lemmas A.1, A.2 and A.4",
    cells=cells,
    run=run,
    claims=claims,
    seconds=seconds,
    choices=(
        "networks with sampled weights; σ_w² = 1.5, which only scales the ratios",
        "central limits: one wide layer between 2 inputs and a layer of 24 units",
    ),
)
