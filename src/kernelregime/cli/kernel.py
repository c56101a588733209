"""`kernelregime kernel`: infinite-width Gram matrices of a network on data."""

from typing import Annotated

import typer

from kernelregime.cli import options
from kernelregime.cli.progress import bars

EXAMPLES = (
    "Examples:  kernelregime kernel --depth 5 --sigma-w2 2 --data digits --out runs/kernel   |   "
    "kernelregime kernel --activation tanh --data points.npz --dtype float32 --json"
)

POINTS = 200


def command(
    network: options.Network = "mlp",
    depth: options.Depth = 5,
    width: options.Width = 512,
    activation: options.Activation = "relu",
    sigma_w2: options.SigmaW2 = 2.0,
    sigma_b2: options.SigmaB2 = None,
    parameterization: options.Parameterization = "ntk",
    data: options.Data = "digits",
    points: Annotated[int | None, typer.Option(help="Points, balanced over classes (default: about 200).")] = None,
    scaling: options.Scaling = "unit-norm",
    seed: Annotated[int, typer.Option(help="Seed of the choice of points.")] = 0,
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float64",
    memory: options.Memory = None,
    out: options.Out = None,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars.")] = False,
) -> None:
    """NNGP and NTK of the infinitely wide network on data: kernels.npz, spectra, heat maps, and their figures."""
    options.finite(sigma_w2=sigma_w2, sigma_b2=sigma_b2)
    import numpy as np

    from kernelregime import data as datasets
    from kernelregime import infinite, observables, report, results
    from kernelregime.results import folder_for, plain_json

    files = ("kernels.npz", "ntk.svg", "nngp.svg", "spectrum.svg")
    folder = folder_for(out or "runs/kernel", files=files, finished=files[0], overwrite=overwrite)
    if points is None:
        whole = datasets.load(data, scaling="none", seed=seed)
        classes = max(1, len(whole.classes))
        points = max(classes, min(POINTS, len(whole.x_train)) // classes * classes)
    dataset = datasets.load(data, points_train=points, points_test=1, scaling=scaling, seed=seed)
    spec = options.build(
        network,
        depth=depth,
        width=width,
        outputs=dataset.y_train.shape[1],
        activation=activation,
        sigma_w2=sigma_w2,
        sigma_b2=sigma_b2,
        parameterization=parameterization,
    )
    x, labels = dataset.x_train, dataset.labels_train
    if labels is not None:
        order = np.argsort(labels, kind="stable")
        x, labels = x[order], labels[order]
    with bars(quiet) as progress:
        grams = infinite.gram(spec, x, dtype=dtype, memory=memory, progress=lambda done, total: progress("kernels", done, total))
    assert grams.ntk is not None  # both kinds were asked for
    assert grams.nngp is not None
    spectra = {name: observables.spectrum(value) for name, value in (("ntk", grams.ntk), ("nngp", grams.nngp))}
    kept = {"nngp": grams.nngp, "ntk": grams.ntk, "x": x} | ({} if labels is None else {"labels": labels})
    results.create(folder)
    with (folder / files[0]).open("wb") as file:
        np.savez_compressed(file, **kept)  # type: ignore[arg-type]
    report.save(report.heat_map(grams.ntk, labels, title="NTK Θ"), folder / files[1])
    report.save(report.heat_map(grams.nngp, labels, title="NNGP kernel Σ"), folder / files[2])
    report.save(report.spectrum_figure({name: found.eigenvalues for name, found in spectra.items()}), folder / files[3])
    rows = {
        name: {
            "lambda_max": float(found.eigenvalues[0]),
            "lambda_min": float(found.eigenvalues[-1]),
            "condition_number": float(found.condition_number),
            "effective_rank": float(found.effective_rank),
            "status": found.status,
        }
        for name, found in spectra.items()
    }
    if json:
        typer.echo(plain_json({"points": len(x), "dtype": dtype, "quadrature_error": grams.error, **rows, "folder": str(folder)}))
        return
    for name, row in rows.items():
        typer.echo(
            f"{name.upper():<6} {len(x)} × {len(x)} {dtype}: λ_max {row['lambda_max']:.6g}, λ_min {row['lambda_min']:.6g}, "
            f"condition number {row['condition_number']:.3g}, effective rank {row['effective_rank']:.3g}, {row['status']}"
        )
    if grams.error > 0:
        typer.echo(f"quadrature error of the activation, relative: {grams.error:.1e}")
    typer.echo(f"kept in {folder}: {', '.join(files)}")
