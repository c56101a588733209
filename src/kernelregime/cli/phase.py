"""`kernelregime phase`: where an initialization lies on the phase diagram."""

from typing import Annotated, Any

import typer

from kernelregime.cli import options

EXAMPLES = (
    "Examples:  kernelregime phase --activation relu --sigma-w2 2   |   "
    "kernelregime phase --activation tanh --sigma-w2 2 --sigma-b2 0.05 --figure phase.svg"
)
GRID = 120  # values a side of the figure's heat map


def command(
    activation: options.Activation = "tanh",
    sigma_w2: options.SigmaW2 = 2.0,
    sigma_b2: options.SigmaB2 = None,
    q1: Annotated[float, typer.Option(help="Variance of the first layer's pre-activations.")] = 1.0,
    figure: Annotated[str | None, typer.Option(help="Draw the phase diagram into this file (.svg or .png).")] = None,
    json: options.Json = False,
) -> None:
    """Phase, χ₁, fixed point, depth scales and the edge of chaos of a fully-connected initialization."""
    options.finite(sigma_w2=sigma_w2, sigma_b2=sigma_b2, q1=q1)
    from kernelregime import activations, theory

    phi = activations.get(activation)
    found = theory.phase(phi, sigma_w2=sigma_w2, sigma_b2=sigma_b2, q1=q1)
    edges = theory.edge_of_chaos(phi, sigma_b2=sigma_b2)
    rows = {
        "phase": found.name,
        "chi1": found.chi1,
        "q_star": found.q_star,
        "c_star": found.c_star,
        "xi_q": found.xi_q,
        "xi_c": found.xi_c,
        "edge_of_chaos_sigma_w2": list(edges),
        "status": found.status,
    }
    if figure is not None:
        options.writable(figure)
        _draw(phi, sigma_w2, sigma_b2, q1, edges, figure)
    if json:
        from kernelregime.results import plain_json

        typer.echo(plain_json({"activation": activation, "sigma_w2": sigma_w2, "sigma_b2": sigma_b2, **rows, "figure": figure}))
        return
    words = {
        "phase": "phase",
        "chi1": "χ₁",
        "q_star": "q* (variance)",
        "c_star": "c* (correlation)",
        "xi_q": "ξ_q (layers)",
        "xi_c": "ξ_c (layers)",
        "edge_of_chaos_sigma_w2": "edge of chaos, σ_w²",
        "status": "in words",
    }
    for name, value in rows.items():
        typer.echo(f"{words[name]:<22}{_shown(value)}")
    if figure is not None:
        typer.echo(f"{'figure':<22}{figure}")


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(f"{item:.7g}" for item in value) or "none"
    return f"{value:.7g}" if isinstance(value, float) else str(value)


def _draw(phi: Any, sigma_w2: float, sigma_b2: float | None, q1: float, edges: tuple[float, ...], path: str) -> None:
    """χ₁ over a window around the network and the edge of chaos."""
    import numpy as np

    from kernelregime import diagnosis, report, theory

    reach_w2 = 1.6 * max(sigma_w2, *edges, 1.0)
    reach_b2 = 2 * max(sigma_b2 or 0.0, 0.25)
    weights, biases = np.linspace(reach_w2 / GRID, reach_w2, GRID), np.linspace(0, reach_b2, GRID)
    chi1 = theory.phase_diagram(phi, weights, biases, q1=q1).chi1
    edge = diagnosis.edge_curve(phi, largest=reach_b2)
    shown = edge[0] <= reach_w2
    figure = report.phase_figure(weights, biases, chi1, edge=(edge[0][shown], edge[1][shown]), point=(sigma_w2, sigma_b2))
    report.save(figure, path)
