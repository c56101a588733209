"""T1: the dispersion of Θ(x, x) at initialization over (σ_w², L), for tanh and ReLU."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kernelregime.claims import Claim, Estimate, Origin
from kernelregime.experiments.experiment import Arrays, Experiment, Measured, Params, Scale
from kernelregime.experiments.papers.can_we_trust.paper import PAPER, difference, ratio, spreads
from kernelregime.theory import edge_of_chaos

WEIGHTS = {
    "tanh": (1.0, 1.5, 2.0, 2.5, 3.0, 3.44, 4.0, 4.5, 5.0, 5.5),
    "relu": (1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 2.75, 3.0),
}
# σ_w² well inside the ordered phase, one step below the border, on it, one step above it, in the chaotic phase; at σ_b² = 1
PLACES = {"tanh": (1.0, 3.0, 3.44, 4.0, 4.5), "relu": (1.0, 1.75, 2.0, 2.25, 2.75)}
DEPTHS = (2, 5, 10, 20, 30, 50)
SHALLOW, LOW, MIDDLE, DEEP = 2, 5, 20, 30  # of claims
SIZES: Mapping[Scale, Mapping[str, Any]] = {
    "smoke": {"widths": (20, 40), "biases": (0.05,), "depths": (2, 5, 20, 30), "draws": 10, "precise": 20, "at": PLACES},
    "laptop": {"widths": (50, 100, 200), "biases": (0.05, 4.0), "depths": DEPTHS, "draws": 200, "precise": 4000, "at": WEIGHTS},
    "paper": {"widths": (50, 100, 200, 500), "biases": (0.05, 0.25, 4.0), "depths": DEPTHS, "draws": 200, "precise": 10_000, "at": WEIGHTS},
}
CLOSE = 0.1  # a dispersion "close to one": the kernel deviates by less than a third of its mean


def cells(scale: Scale) -> Mapping[str, Params]:
    """A cell for each activation, σ_w², and width at σ_b² = 1 (figure 1), or σ_b² at M = 100 (figure 7)."""
    size = SIZES[scale]
    base = size["widths"][1]
    settings = [(width, 1.0) for width in size["widths"]] + [(base, bias) for bias in size["biases"]]
    planned = {}
    for activation, weights in size["at"].items():
        for width, bias in settings:
            depths = sorted({*size["depths"], width // 10})
            for weight in weights:
                setting = {"activation": activation, "sigma_w2": weight, "sigma_b2": bias, "width": width}
                many = _tested(activation, weight, width, bias, size)
                planned[f"{activation}-w{weight:g}-m{width}-b{bias:g}"] = {
                    **setting,
                    "depths": depths,
                    "draws": [many.get(depth, size["draws"]) for depth in depths],
                }
    return planned


def _tested(activation: str, weight: float, width: int, bias: float, size: Mapping[str, Any]) -> dict[int, int]:
    """Draws, by depth, where claims need more of them than a map does."""
    _, below, edge, above, chaotic = PLACES[activation]
    narrow, base, wide = size["widths"][0], size["widths"][1], size["widths"][-1]
    many, found = size["precise"], {}
    tail = 5 if activation == "tanh" else 1  # the heavier one
    if bias == 1 and width in (narrow, wide) and weight in (below, above):
        found[width // 10] = many // 2
    if bias == 1 and width == narrow:
        found |= ({DEEP: many} if weight == edge else {}) | ({LOW: many, MIDDLE: tail * many} if weight == chaotic else {})
    if bias == 1 and width == wide and weight in (edge, chaotic):
        found[DEEP if weight == edge else MIDDLE] = many // 2
    if width == base and activation == "tanh" and weight == below and bias in (1.0, min(size["biases"])):
        found[MIDDLE] = many // 2
    if width == base and activation == "relu" and weight in (below, edge) and bias in (min(size["biases"]), max(1.0, *size["biases"])):
        found[DEEP] = many
    return found


def seconds(*, width: int, depths: list[int], draws: list[int], **_: Any) -> float:
    """About how long a cell takes."""
    return 2e-7 * width * float(np.dot(depths, draws))


def run(*, activation: str, sigma_w2: float, sigma_b2: float, width: int, depths: list[int], draws: list[int], seed: int) -> Arrays:
    """The dispersion by depth, and the σ_w² of the border at this σ_b²."""
    found = spreads(width, depths, activation=activation, sigma_w2=sigma_w2, sigma_b2=sigma_b2, draws=draws, seed=seed)
    return {**found, "border": np.array(edge_of_chaos(activation, sigma_b2=sigma_b2)[0])}


class _Map:
    """Measured dispersions of one activation."""

    def __init__(self, measured: Measured, activation: str) -> None:
        self.measured, self.activation = measured, activation
        self.name = "ReLU" if activation == "relu" else activation
        self.widths = sorted({params["width"] for params, _ in measured.where(sigma_b2=1.0)})
        self.biases = sorted({params["sigma_b2"] for params, _ in measured.where()})

    def at(self, weight: float, width: int, depth: int, bias: float = 1.0) -> Estimate:
        """The dispersion; its error is unknown where the draws there are do not tell E Θ²."""
        found = self._found("dispersion", "sem", weight, width, depth, bias)
        return found if self._found("reliable", "sem", weight, width, depth, bias).mean else Estimate(found.mean, math.nan, found.n)

    def told(self, *places: tuple[float, ...]) -> tuple[str, Origin, list[Estimate]]:
        """At all places (arguments of `at`) the dispersion, or, where draws do not tell it at one of them, exp Var log Θ: that of a
        log-normal Θ, near the true one and on either side of it.
        """
        found = [self.at(weight, int(width), int(depth), *bias) for weight, width, depth, *bias in places]
        if all(math.isfinite(each.sem) for each in found):
            return "dispersion", "printed", found
        return "log-normal dispersion", "ours", [self._log_normal(*place) for place in places]

    def _log_normal(self, weight: float, width: float, depth: float, bias: float = 1.0) -> Estimate:
        found = self._found("log_variance", "log_variance_sem", weight, width, depth, bias)
        mean = math.exp(found.mean)
        return Estimate(mean, mean * found.sem, found.n)

    def _found(self, name: str, error: str, weight: float, width: float, depth: float, bias: float) -> Estimate:
        ((params, arrays),) = self.measured.where(activation=self.activation, sigma_w2=weight, width=width, sigma_b2=bias)
        row = params["depths"].index(depth)
        return Estimate(float(arrays[name][row]), float(arrays[error][row]), params["draws"][row])

    def step(self, width: int, depth: int, bias: float = 1.0) -> Estimate:
        """By how much it grows from the σ_w² below the border to that above."""
        _, below, _, above, _ = PLACES[self.activation]
        return difference(self.at(above, width, depth, bias), self.at(below, width, depth, bias))


def claims(measured: Measured) -> Sequence[Claim]:
    """The zones of figure 1, how they move with depth and width, and the biases of figure 7."""
    maps = [_Map(measured, activation) for activation in PLACES]
    return [claim for found in maps for claim in (*_zones(found), *_edge(found), *_moves(found))]


def _zones(found: _Map) -> list[Claim]:
    """Black, red and blue."""
    ordered, *_, chaotic = PLACES[found.activation]
    narrow, base, wide = found.widths[0], found.widths[1], found.widths[-1]
    deepest = max(found.measured.where(width=base)[0][0]["depths"])
    what = f"{found.name}, σ_b² = 1, σ_w² = "
    number, origin, (large,) = found.told((chaotic, narrow, MIDDLE))
    return [
        Claim(
            "section 3, figure 1",
            f"ordered phase: dispersion close to 1 in a deep net; {what}{ordered:g}, M = {base}, L = {deepest}",
            1.0,
            found.at(ordered, base, deepest),
            CLOSE,
        ),
        Claim(
            "section 3",
            f"ordered phase: no growth with depth, dispersion at L = {deepest} over L = {MIDDLE}; {what}{ordered:g}, M = {base}",
            1.0,
            ratio(found.at(ordered, base, deepest), found.at(ordered, base, MIDDLE)),
            CLOSE,
        ),
        Claim(
            "section 3, figure 1",
            f"chaotic phase: deviation above the mean ({number} ≥ 2); {what}{chaotic:g}, M = {narrow}, L = {MIDDLE}",
            2.0,
            large,
            relation="at least",
            origin=origin,
        ),
        Claim(
            "section 3",
            f"shallow nets: dispersion close to 1 in the chaotic phase too; {what}{chaotic:g}, M = {wide}, L = {SHALLOW}",
            1.0,
            found.at(chaotic, wide, SHALLOW),
            CLOSE,
        ),
    ]


def _edge(found: _Map) -> list[Claim]:
    """The edge of chaos, in a wide and in a narrow net."""
    edge, made = PLACES[found.activation][2], []
    for width in (found.widths[-1], found.widths[0]):
        number, origin, (here,) = found.told((edge, width, DEEP))
        words = f"edge of chaos: deviation below the mean ({number} ≤ 2); {found.name}, σ_b² = 1, σ_w² = {edge:g}, M = {width}, L = {DEEP}"
        made.append(Claim("section 3", words, 2.0, here, relation="at most", origin=origin))
    return made


def _moves(found: _Map) -> list[Claim]:
    """How dispersion changes with depth, width and σ_b²."""
    _, below, _, above, chaotic = PLACES[found.activation]
    narrow, base, wide = found.widths[0], found.widths[1], found.widths[-1]
    sharper = difference(found.step(wide, wide // 10), found.step(narrow, narrow // 10))
    what = f"{found.name}, σ_w² = {chaotic:g}"
    number, origin, grown = found.told((chaotic, narrow, MIDDLE), (chaotic, narrow, LOW))
    words = f"chaotic phase: growth with depth, {number} at L = {MIDDLE} over L = {LOW}; {what}, M = {narrow}"
    growth = Claim("section 3", words, 1.0, ratio(*grown), relation="at least", origin=origin)
    number, origin, fallen = found.told((chaotic, narrow, MIDDLE), (chaotic, wide, MIDDLE))
    words = f"chaotic phase: less in wider nets, {number}, M = {narrow} over M = {wide}; {what}, L = {MIDDLE}"
    made = [
        growth,
        Claim("section 3", words, 1.0, ratio(*fallen), relation="at least", origin=origin),
        Claim(
            "section 3",
            f"sharper transition in wider nets: growth of dispersion from σ_w² = {below:g} to {above:g} at L/M = 0.1, that of M = {wide} "
            f"less that of M = {narrow}; {found.name}",
            0.0,
            sharper,
            relation="at least",
        ),
    ]
    return [*made, _biases(found, base)]


def _biases(found: _Map, width: int) -> Claim:
    """Figure 7."""
    _, below, edge, _, _ = PLACES[found.activation]
    low, high = min(found.biases), max(found.biases)
    if found.activation == "relu":
        depth = DEEP
        number, origin, values = found.told(*((weight, width, depth, bias) for bias in (low, high) for weight in (edge, below)))
        change = difference(difference(*values[:2]), difference(*values[2:]))
        words = f"narrower boundary at low σ_b²: growth of {number} from σ_w² = {below:g} to {edge:g}, "
        words += f"σ_b² = {low:g} less σ_b² = {high:g}"
    else:  # between the borders of both σ_b² one is chaotic, the other ordered
        depth, origin = MIDDLE, "printed"
        change = difference(found.at(below, width, depth, low), found.at(below, width, depth))
        words = f"the border moves with σ_b²: dispersion at σ_w² = {below:g}, that of σ_b² = {low:g} less that of 1"
    said = f"{words}; {found.name}, M = {width}, L = {depth}"
    return Claim("appendix C, figure 7", said, 0.0, change, relation="at least", origin=origin)


EXPERIMENT = Experiment(
    key="T1",
    paper=PAPER,
    title="Randomness of the NTK at initialization, tanh and ReLU",
    statement="In the ordered phase E Θ²(x, x)/(E Θ(x, x))² is close to 1 at any depth; in the chaotic phase it grows with depth and "
    "falls with width; the border χ₁ = 1 of infinitely wide networks parts them, more sharply in wider ones.",
    source="section 3, figures 1 and 7",
    figures=("Figure 1", "Figure 7"),
    cells=cells,
    run=run,
    claims=claims,
    seconds=seconds,
    choices=(
        "grids of σ_w² and L; values of σ_b² in figure 7",
        "n_0 = M and |x|² = n_0",
        "draws by the exact law of Θ (theory.sample_ntk_matrix): 200, as in the paper, more where a claim needs them",
        "log-normal dispersion: exp Var log Θ, where thousands of draws do not tell E Θ²; the true one may be larger or smaller",
        "close to 1: within 0.1",
    ),
)
