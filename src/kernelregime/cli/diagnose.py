"""`kernelregime diagnose`: the main job."""

import shlex
import sys
from dataclasses import replace
from typing import Annotated, Any, cast

import typer

from kernelregime._checks import fail
from kernelregime.cli import options
from kernelregime.cli.progress import bars

EXAMPLES = (
    "Examples:  kernelregime diagnose --depth 5 --width 512 --activation relu --sigma-w2 2 --data digits --out runs/digits   |   "
    "kernelregime diagnose --activation tanh --sigma-w2 1.76 --sigma-b2 0.05 --data mine.npz --seeds 10 --json"
)


def command(
    network: options.Network = "mlp",
    depth: options.Depth = 5,
    width: options.Width = 512,
    activation: options.Activation = "relu",
    sigma_w2: options.SigmaW2 = 2.0,
    sigma_b2: options.SigmaB2 = None,
    parameterization: options.Parameterization = "ntk",
    data: options.Data = "digits",
    points_train: options.PointsTrain = None,
    points_test: options.PointsTest = None,
    scaling: options.Scaling = "unit-norm",
    target_coding: options.TargetCoding = None,
    seeds: Annotated[int, typer.Option(help="Independent initializations.")] = 5,
    steps: Annotated[int, typer.Option(help="Training steps at the most.")] = 2000,
    stop_fraction: Annotated[
        float, typer.Option(help="Stop at this fraction of the initial train loss (of the best constant predictor's, if less).")
    ] = 0.1,
    learning_rate: Annotated[float | None, typer.Option(help="Learning rate; default: a fraction of the largest stable one.")] = None,
    learning_rate_fraction: Annotated[float, typer.Option(help="That fraction.")] = 0.5,
    optimizer: Annotated[str, typer.Option(help="gd, momentum, or adam (adam needs --learning-rate).")] = "gd",
    loss: Annotated[str, typer.Option(help="mse or cross_entropy.")] = "mse",
    reduction: Annotated[str, typer.Option(help="sum (½ Σ (f-y)²) or mean (the same over N·O).")] = "sum",
    batch_size: Annotated[int | None, typer.Option(help="Points a step; default: all.")] = None,
    dtype: Annotated[str, typer.Option(help="Precision of training: float32 or float64.")] = "float32",
    draws: Annotated[int, typer.Option(help="Initializations for the randomness of the NTK.")] = 200,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    threshold: Annotated[list[str] | None, typer.Option(help="Set a threshold of the verdict, as name=value; may be repeated.")] = None,
    memory: options.Memory = None,
    out: options.Out = None,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars.")] = False,
) -> None:
    """Is the network in the kernel regime, is it trainable, and why? Trains it from several seeds and writes a report."""
    chosen = _thresholds(threshold or [])
    options.finite(sigma_w2=sigma_w2, sigma_b2=sigma_b2)
    from kernelregime import diagnosis, report, results, training

    settings = diagnosis.Settings(
        seeds=seeds,
        steps=steps,
        stop_fraction=stop_fraction,
        learning_rate=learning_rate,
        learning_rate_fraction=learning_rate_fraction,
        optimizer=optimizer,
        loss=loss,
        reduction=cast(Any, reduction),
        batch_size=batch_size,
        dtype=dtype,
        draws=draws,
        seed=seed,
        memory=memory,
        thresholds=diagnosis.Thresholds(**chosen),
    )
    folder = results.folder_for(out or f"runs/{_slug(data)}", overwrite=overwrite)
    coding = target_coding or ("one-hot" if loss == "cross_entropy" else None)
    dataset = diagnosis.load(data, points_train=points_train, points_test=points_test, scaling=scaling, target_coding=coding, seed=seed)
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
    checkpoint = folder / results.CHECKPOINT
    results.create(folder)

    def run() -> Any:
        with bars(quiet) as progress:
            return diagnosis.diagnose(spec, dataset, settings=settings, checkpoint=checkpoint, progress=progress)

    try:
        result = run()
    except training.ForeignCheckpointError:
        if not overwrite:
            raise fail(
                "an output folder without another run's checkpoint", str(checkpoint), "name another --out, or add --overwrite"
            ) from None
        checkpoint.unlink()
        result = run()
    except KeyboardInterrupt:
        kept = (
            f"training is kept in {checkpoint}; the same command goes on from there" if checkpoint.exists() else "nothing was trained yet"
        )
        typer.echo(f"interrupted: {kept}", err=True)
        raise typer.Exit(130) from None
    result = replace(result, config={**result.config, "command": f"kernelregime {shlex.join(sys.argv[1:])}"})
    report.write(result, folder, overwrite=overwrite)
    checkpoint.unlink(missing_ok=True)
    if json:
        typer.echo(results.plain_json(result.to_json()))
        return
    from rich.console import Console

    console = Console()
    console.print(report.summary(result))
    console.print(f"report: {folder / results.REPORT}", soft_wrap=True)


def _thresholds(items: list[str]) -> dict[str, float]:
    chosen = {}
    for item in items:
        name, equals, value = item.partition("=")
        try:
            chosen[name] = float(value)
        except ValueError:
            equals = ""
        if not equals:
            raise fail("--threshold name=value with a number", repr(item), "for example --threshold kernel_drift=0.1")
    from kernelregime._checks import one_of
    from kernelregime.diagnosis.settings import Thresholds

    for name in chosen:
        one_of("threshold", name, Thresholds.__dataclass_fields__)
    return chosen


def _slug(data: str) -> str:
    """A folder name from the name of the data."""
    stem = data.replace("\\", "/").rsplit("/", 1)[-1].rsplit(".", 1)[0]
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in stem) or "result"
