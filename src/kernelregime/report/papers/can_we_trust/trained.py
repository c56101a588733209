"""Theorem 3: the variance of trained networks beside its predictions."""

from kernelregime.report.canvas import legend, style
from kernelregime.report.figures.scales import log_axis
from kernelregime.report.palette import LIGHT
from kernelregime.report.papers.frames import Drawing, note, panels, points
from kernelregime.results import Reproduction

TITLES = {"erf": "erf", "relu": "ReLU"}
PHASES = {"ordered": "ordered", "edge of chaos": "edge", "chaotic": "chaotic"}
INPUTS = {"alike": "x·x' = 0.5", "images": "images"}
MARKS = (
    (-0.2, "theorem", "feature", "theorem 3"),
    (0.15, "variance_own", "near", "own Θ⁰"),
    (0.3, "exact_mean", "ntk", "infinite width"),
)


def variance(result: Reproduction) -> list[Drawing]:
    """A row for each activation: inputs that are alike on the left, images on the right; phases across."""
    params = result.cells[0].params
    depth = min(cell.params["depth"] for cell in result.cells)
    activations = [name for name in TITLES if result.select(activation=name)]
    with style():
        figure, axes = panels(2 * len(activations), columns=2, height=2.1)
        for row, activation in enumerate(activations):
            for column, (inputs, words) in enumerate(INPUTS.items()):
                place = axes[2 * row + column]
                for across, phase in enumerate(PHASES):
                    for cell in result.select(activation=activation, inputs=inputs, phase=phase, depth=depth):
                        arrays = result.arrays[cell.name]
                        first = across == 0 or len(activations) == 1
                        points(
                            place, across, arrays["variance"], arrays["variance_sem"], LIGHT["network"], label="trained" if first else ""
                        )
                        for shift, name, colour, label in MARKS:
                            mark = {"marker": "D", "linestyle": "none", "markersize": 4, "color": LIGHT[colour]}
                            place.plot(across + shift, arrays[name], label=label if first else None, **mark)
                place.set_xticks(range(len(PHASES)), list(PHASES.values()))
                place.set_xlim(-0.6, len(PHASES) - 0.4)
                log_axis(place, "y")
                note(place, f"{TITLES[activation]}, {words}")
        figure.supylabel("Var f(x) after training", fontsize=10)
        legend(figure, axes[0])
    caption = (
        f"Variance over {params['networks']} networks (L = {depth}, M = {params['width']}) trained on {params['train']} points, mean over "
        f"{params['test']} test points, one standard error; theorem 3; eq 10 with random Θ⁰; and the law of infinitely wide "
        f"networks after as many steps. Trained: eq 10 with {params['kernels']} random Θ⁰, and what training adds to it in the networks. "
        "Left: every pair of inputs has the same covariance. The paper has no such figure."
    )
    return [Drawing("Theorem 3", caption, figure)]
