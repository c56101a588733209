"""`kernelregime kernel`: infinite-width Gram matrices of a network on data."""

from functools import partial
from pathlib import Path
from typing import Any

import typer

from kernelregime.cli import commands, options
from kernelregime.cli.progress import bars

SUMMARY = "NNGP and NTK of the infinitely wide network, with figures."
EXAMPLES = (
    "Examples:  kernelregime kernel --depth 5 --sigma-w2 2 --data digits --out runs/kernel   |   "
    "kernelregime kernel --activation tanh --data points.csv --unlabelled --dtype float32 --json"
)

POINTS = 200
FILES = ("kernels.npz", "ntk.svg", "nngp.svg", "spectrum.svg")
SCHEMA = "kernelregime.kernels/1"


def _load(points: options.Points, memory: int | None) -> Any:
    """The points, whose kernels fit into the memory."""
    from kernelregime import diagnosis

    diagnosis.size.check_points(points.points or 0, memory)
    found = points.load(most=POINTS)
    diagnosis.size.check_points(len(found.x), memory)
    return found


def kernel(network: options.Network, points: options.Points, output: options.Output) -> None:
    """NNGP and NTK of the infinitely wide network on data: kernels.npz, spectra, heat maps, and their figures."""
    from kernelregime import infinite, observables, results

    folder = results.folder_for(output.out or "runs/kernel", files=FILES, finished=FILES[0], overwrite=output.overwrite)
    found = _load(points, output.budget)
    x, labels, shaped = found.x, found.labels, network.points(found)
    spec = network.build(outputs=1)
    with bars(output.quiet) as progress:
        grams = infinite.gram(spec, shaped, dtype=points.dtype, memory=output.budget, progress=partial(progress, "kernels"))
    kernels = {"ntk": grams.ntk, "nngp": grams.nngp}
    spectra = {name: observables.spectrum(value) for name, value in kernels.items()}
    with results.created(folder):
        _draw(kernels, labels, spectra, folder)
        kept = {**kernels, "x": x} | ({} if labels is None else {"labels": labels})
        results.save_arrays(folder / FILES[0], kept, schema=SCHEMA)
    rows = {name: _row(spectrum, grams.status) for name, spectrum in spectra.items()}
    commands.doubt(grams.status)
    if output.json:
        shown = {"points": len(x), "dtype": points.dtype, "quadrature_error": grams.error, **rows, "folder": str(folder)}
        typer.echo(results.plain_json(shown))
        return
    _show(rows, len(x), points.dtype, grams.error)
    typer.echo(f"kept in {folder}: {', '.join(FILES)}")


def _draw(kernels: dict[str, Any], labels: Any, spectra: dict[str, Any], folder: Path) -> None:
    from kernelregime import report

    report.save(report.heat_map(kernels["ntk"], labels, title="NTK Θ"), folder / FILES[1])
    report.save(report.heat_map(kernels["nngp"], labels, title="NNGP kernel Σ"), folder / FILES[2])
    report.save(report.spectrum_figure({name: found.eigenvalues for name, found in spectra.items()}), folder / FILES[3])


def _row(found: Any, status: str) -> dict[str, Any]:
    return {
        "lambda_max": float(found.eigenvalues[0]),
        "lambda_min": float(found.eigenvalues[-1]),
        "condition_number": float(found.condition_number),
        "effective_rank": float(found.effective_rank),
        "status": found.status if status == "reliable" else f"{status}; as computed: {found.status}",
    }


def _show(rows: dict[str, dict[str, Any]], points: int, dtype: str, error: float) -> None:
    for name, row in rows.items():
        typer.echo(
            f"{name.upper():<6} {points} × {points} {dtype}: λ_max {row['lambda_max']:.6g}, λ_min {row['lambda_min']:.6g}, "
            f"condition number {row['condition_number']:.3g}, effective rank {row['effective_rank']:.3g}, {row['status']}"
        )
    if error > 0:
        typer.echo(f"quadrature error of the activation, relative: {error:.1e}")


command = commands.command(kernel, options.Network, options.Points, options.Output, spoken=options.POINTS)
