"""B7: the dispersion of Θ(x, x) of networks whose layers grow, stay, or shrink from one to the next."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kernelregime.claims import Claim, Estimate
from kernelregime.experiments.experiment import Arrays, Experiment, Measured, Params, Scale
from kernelregime.experiments.papers.beyond_infinite_width.course import at, course, least_step, left_out, less
from kernelregime.experiments.papers.beyond_infinite_width.paper import PAPER

SHAPES = ("growing", "constant", "shrinking")
WEIGHTS = (1.0, 1.5, 1.8, 1.9, 2.0, 2.2)  # σ_w²
DEPTHS = (3, 6, 15, 30, 45, 75, 105, 150)
ORDERED, EDGE = 1.8, 2.0  # σ_w² at which the shapes are compared
SIZES: Mapping[Scale, Mapping[str, Any]] = {
    "smoke": {"weights": (ORDERED, EDGE), "narrow": 20, "wide": 100, "depths": (3, 6, 9, 12, 15, 20), "precise": 200},
    "laptop": {"weights": WEIGHTS, "narrow": 100, "wide": 500, "depths": DEPTHS, "precise": 20_000},
    "paper": {"weights": WEIGHTS, "narrow": 100, "wide": 500, "depths": DEPTHS, "precise": 1_000_000},
}


def layers(shape: str, *, narrow: int, wide: int, depth: int) -> tuple[int, ...]:
    """The widths (n_0, …, n_L) of a shape as the paper gives them; n_L = 1."""
    first, last = {"growing": (narrow, wide), "shrinking": (wide, narrow)}.get(shape, (0, 0))
    if shape == "constant":
        return (*(math.ceil((narrow + wide) / 2) for _ in range(depth)), 1)
    return (*(first + math.ceil(layer * (last - first) / depth) for layer in range(depth)), 1)


def cells(scale: Scale) -> Mapping[str, Params]:
    """A cell for each σ_w² and shape."""
    sizes = dict(SIZES[scale])
    weights, depths = sizes.pop("weights"), list(sizes.pop("depths"))
    return {
        f"w{weight:g}-{shape}": {"sigma_w2": weight, "shape": shape, "depths": depths, **sizes}
        for weight, shape in itertools.product(weights, SHAPES)
    }


def seconds(*, depths: list[int], precise: int, **_: Any) -> float:
    """About how long a cell takes."""
    return sum(depths) * 2.3e-7 * precise


def run(*, sigma_w2: float, shape: str, narrow: int, wide: int, depths: list[int], precise: int, seed: int) -> Arrays:
    """The dispersion by depth, and the widths of the deepest network."""
    networks = [layers(shape, narrow=narrow, wide=wide, depth=depth) for depth in depths]
    return {**course(networks, sigma_w2=sigma_w2, precise=precise, seed=seed), "widths": np.array(networks[-1])}


def claims(measured: Measured) -> Sequence[Claim]:
    """The shapes compared in the ordered phase and at the edge of chaos, their course with depth, and theorem 3.2."""
    return [*_order(measured), *_courses(measured), *_formulas(measured)]


def _order(measured: Measured) -> list[Claim]:
    """Growing widths against the others: as the paper says, in the ordered phase; the other way round, at the edge of chaos."""
    made, depths = [], measured.where()[0][0]["depths"]
    for index, other in itertools.product((3, len(depths) // 2 + 1, len(depths) - 1), ("constant", "shrinking")):
        gap = less(_at(measured, ORDERED, other, index), _at(measured, ORDERED, "growing", index))
        statement = f"dispersion of {other} widths less that of growing ones; ordered phase, σ_w² = {ORDERED:g}, L = {depths[index]}"
        made.append(Claim("appendix B.2", statement, 0.0, gap, relation="at least"))
    for other in ("constant", "shrinking"):
        gap = less(_at(measured, EDGE, "growing", -1), _at(measured, EDGE, other, -1))
        statement = f"dispersion of growing widths less that of {other} ones: the order is reversed; edge of chaos, L = {depths[-1]}"
        made.append(Claim("appendix B.2, corrected", statement, 0.0, gap, relation="at least", origin="ours"))
        lower = less(_at(measured, EDGE, other, -1), _at(measured, EDGE, "growing", -1))
        statement = f"dispersion of {other} widths less that of growing ones; edge of chaos, σ_w² = {EDGE:g}, L = {depths[-1]}"
        made.append(Claim("appendix B.2", statement, 0.0, lower, relation="at least"))
    return made


def _at(measured: Measured, weight: float, shape: str, index: int) -> Estimate:
    ((params, arrays),) = measured.where(sigma_w2=weight, shape=shape)
    return at(arrays, index, params["precise"])


def _courses(measured: Measured) -> list[Claim]:
    """Growing widths: a peak, then a fall; shrinking ones: a rise at every depth."""
    ((params, arrays),) = measured.where(sigma_w2=ORDERED, shape="growing")
    top, depths = int(np.argmax(arrays["dispersion"])), params["depths"]
    fall = less(at(arrays, top, params["precise"]), at(arrays, -1, params["precise"]))
    rise = least_step([_at(measured, ORDERED, "shrinking", index) for index in range(len(depths))])
    where = f"σ_w² = {ORDERED:g}"
    peak = f"growing widths: dispersion at its peak (L = {depths[top]}) less that at L = {depths[-1]}; {where}"
    least = f"shrinking widths: smallest increase of the dispersion between neighbours L = {', '.join(map(str, depths))}; {where}"
    return [
        Claim("appendix B.2", peak, 0.0, fall, relation="at least"),
        Claim("appendix B.2", least, 0.0, rise, relation="at least"),
    ]


def _formulas(measured: Measured) -> list[Claim]:
    """Theorem 3.2 at the edge of chaos, for each shape, in the middle of the depths."""
    made = []
    for shape in SHAPES:
        ((params, arrays),) = measured.where(sigma_w2=EDGE, shape=shape)
        index = len(params["depths"]) // 2
        found, depth = at(arrays, index, params["precise"]), params["depths"][index]
        theorem, lemma, exact = (float(arrays[name][index]) for name in ("theorem", "lemma", "exact"))
        where, tolerance = f"{shape} widths, σ_w² = {EDGE:g}, L = {depth}", left_out(depth, params["narrow"])
        made += [
            Claim("theorem 3.2, eqs 11 to 15", f"dispersion as printed in the theorem; {where}", theorem, found, tolerance),
            Claim("lemmas A.5 to A.7", f"dispersion as printed in the proof; {where}", lemma, found, tolerance),
            Claim("theorem 3.2, corrected", f"exact dispersion; {where}", exact, found, origin="corrected"),
        ]
    return made


EXPERIMENT = Experiment(
    key="B7",
    paper=PAPER,
    title="Dispersion of growing, constant and shrinking networks",
    statement="The dispersion is lower where widths grow from layer to layer, and peaks there in shallow networks; where they shrink it "
    "only rises with depth.",
    source="appendix B.2, figure 6",
    figures=("Figure 6",),
    cells=cells,
    run=run,
    claims=claims,
    seconds=seconds,
    choices=(
        "σ_w² = 1, 1.5, 1.8, 1.9, 2, 2.2; depths to L = 150; what the paper says of the shapes, of no one phase, is looked at for "
        "σ_w² = 1.8 and, of their order, 2",
        "n_L = 1: the paper's formula for the widths is taken for l < L",
        "the paper draws its theorem 3.2 alone: here networks are measured too",
        "of weighted draws E Θ and the mean squares of its terms are taken from their formulas, products over layers: measured is how the "
        "terms go together; B1 measures these, of plain draws, too",
        "the terms O(M^{-3/2}) that theorem 3.2 leaves out are allowed for as a relative L·M₁^{-3/2}, with the narrowest width M₁",
    ),
)
