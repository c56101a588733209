"""`kernelregime phase`: where an initialization lies on the phase diagram."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from kernelregime._checks import fail, real
from kernelregime.cli import commands, options

SUMMARY = "Phase, edge of chaos and depth scales of an initialization."
EXAMPLES = (
    "Examples:  kernelregime phase --activation relu --sigma-w2 2   |   "
    "kernelregime phase --activation tanh --sigma-w2 2 --sigma-b2 0.05 --figure phase.svg"
)
GRID = 120  # values a side of the figure's heat map
WORDS = {
    "phase": "phase",
    "chi1": "χ₁",
    "q_star": "q* (variance)",
    "c_star": "c* (correlation)",
    "xi_q": "ξ_q (layers)",
    "xi_c": "ξ_c (layers)",
    "edge_of_chaos_sigma_w2": "edge of chaos, σ_w²",
    "status": "in words",
}


@dataclass(frozen=True)
class Initialization:
    """Where to look."""

    activation: options.Activation = "tanh"
    sigma_w2: options.SigmaW2 = 2.0
    sigma_b2: options.SigmaB2 = None
    q1: Annotated[float, typer.Option(help="Variance of the first layer's pre-activations.")] = 1.0

    def __post_init__(self) -> None:
        options.variances(sigma_w2=self.sigma_w2, sigma_b2=self.sigma_b2)
        real("--q1", self.q1, above=0.0, most=options.LARGEST)


@dataclass(frozen=True)
class Shown:
    """How to show it."""

    figure: Annotated[str | None, typer.Option(help="Draw the phase diagram into this .svg or .png file.")] = None
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file of --figure.")] = False
    json: options.Json = False

    def __post_init__(self) -> None:
        if self.figure is not None:
            _check_place(Path(self.figure), self.overwrite)


def phase(start: Initialization, shown: Shown) -> None:
    """Phase, χ₁, fixed point, depth scales and the edge of chaos of a fully-connected initialization."""
    from kernelregime import activations, theory

    phi = activations.get(start.activation)
    found = theory.phase(phi, sigma_w2=start.sigma_w2, sigma_b2=start.sigma_b2, q1=start.q1)
    edges = theory.edge_of_chaos(phi, sigma_b2=start.sigma_b2)
    rows: dict[str, Any] = {"phase": found.name, "chi1": found.chi1, "q_star": found.q_star, "c_star": found.c_star, "xi_q": found.xi_q}
    rows |= {"xi_c": found.xi_c, "edge_of_chaos_sigma_w2": list(edges), "status": found.status}
    if shown.figure is not None:
        _draw(phi, start, edges, shown.figure)
    if shown.json:
        from kernelregime.results import plain_json

        given = {"activation": start.activation, "sigma_w2": start.sigma_w2, "sigma_b2": start.sigma_b2}
        typer.echo(plain_json({**given, **rows, "figure": shown.figure}))
        return
    for name, value in rows.items():
        typer.echo(f"{WORDS[name]:<22}{_words(value)}")
    if shown.figure is not None:
        typer.echo(f"{'figure':<22}{shown.figure}")


def _check_place(path: Path, overwrite: bool) -> None:
    """Refuse a figure that cannot be written: unknown ending, missing folder, a file that is there."""
    if path.suffix not in (".svg", ".png"):
        raise fail("--figure to end in .svg or .png", repr(str(path)), "rename it")
    if not path.resolve().parent.is_dir():
        raise fail("--figure in an existing folder", repr(str(path)), "create the folder first")
    if path.exists() and not (overwrite and path.is_file()):
        do = "name another file or add --overwrite" if path.is_file() else "name a file"
        raise fail("--figure to be a new file", f"{path}, which exists", f"{do}; nothing was written")


def _words(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(f"{item:.7g}" for item in value) or "none"
    return f"{value:.7g}" if isinstance(value, float) else str(value)


def _draw(phi: Any, start: Initialization, edges: tuple[float, ...], path: str) -> None:
    """χ₁ over a window around the network and the edge of chaos."""
    import numpy as np

    from kernelregime import diagnosis, report, theory

    reach_w2 = 1.6 * max(start.sigma_w2, *edges, 1.0)
    reach_b2 = 2 * max(start.sigma_b2 or 0.0, 0.25)
    weights, biases = np.linspace(reach_w2 / GRID, reach_w2, GRID), np.linspace(0, reach_b2, GRID)
    chi1 = theory.phase_diagram(phi, weights, biases, q1=start.q1).chi1
    edge = diagnosis.edge_curve(phi, largest=1.05 * reach_b2)  # beyond the frame, up to which it is seen
    shown = edge[0] <= 1.05 * reach_w2
    figure = report.phase_figure(weights, biases, chi1, edge=(edge[0][shown], edge[1][shown]), point=(start.sigma_w2, start.sigma_b2))
    report.save(figure, path)


command = commands.command(phase, Initialization, Shown)
