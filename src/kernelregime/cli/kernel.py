"""`kernelregime kernel`: infinite-width Gram matrices of a network on data."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from kernelregime._checks import InputError
from kernelregime.cli import commands, options, sizes
from kernelregime.cli.progress import bars

EXAMPLES = (
    "Examples:  kernelregime kernel --depth 5 --sigma-w2 2 --data digits --out runs/kernel   |   "
    "kernelregime kernel --activation tanh --data points.npz --dtype float32 --json"
)

POINTS = 200
FILES = ("kernels.npz", "ntk.svg", "nngp.svg", "spectrum.svg")
SCHEMA = "kernelregime.kernels/1"
LARGEST_ERROR = 1e-6  # of the quadrature, relative: beyond it the kernels are not what they seem


@dataclass(frozen=True)
class Points:
    """The points, and the precision."""

    data: options.Source = "digits"
    points: Annotated[int | None, typer.Option(help="Points, balanced over classes where there are any (default: about 200).")] = None
    scaling: options.Scaling = "unit-norm"
    seed: Annotated[int, typer.Option(help="Seed of the choice of points.")] = 0
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float64"

    def __post_init__(self) -> None:
        options.seed(self.seed)

    def load(self, memory: int | None) -> tuple[Any, Any]:
        """Points (N, d), and labels (N,) by which they are sorted, or None where the targets are no classes."""
        import numpy as np

        sizes.check_points(self.points or 0, memory=memory)
        try:
            found = self._chosen(None)
        except InputError as error:
            if "two classes" not in str(error):
                raise
            found = self._chosen("regression")  # of one class: the points are points all the same
        x, labels = found.x_train, found.labels_train
        sizes.check_points(len(x), memory=memory)
        if labels is None:
            return x, None
        order = np.argsort(labels, kind="stable")
        return x[order], labels[order]

    def _chosen(self, coding: str | None) -> Any:
        from kernelregime import data

        points = self.points
        if points is None:
            whole = data.load(self.data, scaling="none", target_coding=coding, seed=self.seed)
            classes = max(1, len(whole.classes))
            points = max(classes, min(POINTS, len(whole.x_train)) // classes * classes)
        return data.load(self.data, points_train=points, points_test=1, scaling=self.scaling, target_coding=coding, seed=self.seed)


def kernel(network: options.Network, points: Points, output: options.Output) -> None:
    """NNGP and NTK of the infinitely wide network on data: kernels.npz, spectra, heat maps, and their figures."""
    from kernelregime import infinite, observables, results

    folder = results.folder_for(output.out or "runs/kernel", files=FILES, finished=FILES[0], overwrite=output.overwrite)
    x, labels = points.load(output.budget)
    spec = network.build(outputs=1)
    with bars(output.quiet) as progress:
        grams = infinite.gram(spec, x, dtype=points.dtype, memory=output.budget, progress=partial(progress, "kernels"))
    kernels = {"ntk": grams.ntk, "nngp": grams.nngp}
    spectra = {name: observables.spectrum(value) for name, value in kernels.items()}
    with results.created(folder):
        _draw(kernels, labels, spectra, folder)
        kept = {**kernels, "x": x} | ({} if labels is None else {"labels": labels})
        results.save_arrays(folder / FILES[0], kept, schema=SCHEMA)
    rows = {name: _row(found, grams.error) for name, found in spectra.items()}
    if grams.error > LARGEST_ERROR:
        typer.echo(f"warning: {_unreliable(grams.error)}; use smaller variances, or another --activation", err=True)
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


def _row(found: Any, error: float) -> dict[str, Any]:
    return {
        "lambda_max": float(found.eigenvalues[0]),
        "lambda_min": float(found.eigenvalues[-1]),
        "condition_number": float(found.condition_number),
        "effective_rank": float(found.effective_rank),
        "status": f"{_unreliable(error)}; as computed: {found.status}" if error > LARGEST_ERROR else found.status,
    }


def _unreliable(error: float) -> str:
    return f"NOT RELIABLE: the quadrature of the activation is off by {error:.1e} relative to the kernel"


def _show(rows: dict[str, dict[str, Any]], points: int, dtype: str, error: float) -> None:
    for name, row in rows.items():
        typer.echo(
            f"{name.upper():<6} {points} × {points} {dtype}: λ_max {row['lambda_max']:.6g}, λ_min {row['lambda_min']:.6g}, "
            f"condition number {row['condition_number']:.3g}, effective rank {row['effective_rank']:.3g}, {row['status']}"
        )
    if error > 0:
        typer.echo(f"quadrature error of the activation, relative: {error:.1e}")


command = commands.command(kernel, options.Network, Points, options.Output, spoken={"points_train": "--points"})
