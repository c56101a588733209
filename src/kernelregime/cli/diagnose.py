"""`kernelregime diagnose`: the main job."""

import shlex
import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from kernelregime._checks import InputError, fail, one_of
from kernelregime.cli import commands, interrupts, options
from kernelregime.cli.progress import bars

SUMMARY = "Train a network from several seeds: is it in the kernel regime?"
CODED = "Targets:  names, one-hot rows and whole numbers of at most 20 values are classes, unless --target-coding says otherwise"
EXAMPLES = (
    "Examples:  kernelregime diagnose --depth 5 --width 512 --activation relu --sigma-w2 2 --data digits --out runs/digits   |   "
    "kernelregime diagnose --activation tanh --sigma-w2 1.76 --sigma-b2 0.05 --data mine.npz --seeds 10 --json"
)


@dataclass(frozen=True)
class Data:
    """The data."""

    data: options.Source = "digits"
    points_train: Annotated[int | None, typer.Option(help="Train points, balanced over classes (default: about 120).")] = None
    points_test: Annotated[int | None, typer.Option(help="Test points (default: about 120).")] = None
    scaling: options.Scaling = None
    target_coding: Annotated[
        str | None,
        typer.Option(
            help="For classes standardized-one-hot (default), centred-one-hot, one-hot, plus-minus-one; "
            "for numbers standardized-regression (default), regression."
        ),
    ] = None
    folder: Annotated[str | None, typer.Option(help="Folder of data and files (default: that of KERNELREGIME_DATA).")] = None

    def load(self, *, loss: str, seed: int, memory: int | None, flat: bool) -> Any:
        """The data set; with `flat=False` its points in the shape they have in their file."""
        from kernelregime import diagnosis

        # toys of any size would be drawn
        diagnosis.size.check_points((self.points_train or 0) + (self.points_test or 0), memory)
        return diagnosis.load(
            self.data,
            points_train=self.points_train,
            points_test=self.points_test,
            scaling=self.scaling,
            target_coding=self.target_coding or ("one-hot" if loss == "cross_entropy" else None),
            seed=seed,
            folder=self.folder,
            flat=flat,
        )

    @property
    def slug(self) -> str:
        """A folder name from the name of the data."""
        stem = self.data.replace("\\", "/").rsplit("/", 1)[-1].rsplit(".", 1)[0]
        return "".join(c if c.isalnum() or c in "-_" else "-" for c in stem) or "result"


@dataclass(frozen=True)
class Training:
    """How the network is trained and judged."""

    seeds: Annotated[int, typer.Option(help="Independent initializations.")] = 5
    steps: Annotated[int, typer.Option(help="Training steps at the most.")] = 2000
    stop_fraction: Annotated[float, typer.Option(help="Stop at this fraction of the initial train loss (or a constant's).")] = 0.1
    learning_rate: Annotated[float | None, typer.Option(help="Learning rate (default: by --learning-rate-fraction).")] = None
    learning_rate_fraction: Annotated[float, typer.Option(help="Learning rate over the largest stable one.")] = 0.5
    optimizer: Annotated[str, typer.Option(help="gd, momentum, or adam, which needs --learning-rate.")] = "gd"
    loss: Annotated[str, typer.Option(help="Loss: mse or cross_entropy.")] = "mse"
    reduction: Annotated[str, typer.Option(help="Of the loss: sum, ½ Σ (f-y)², or mean, the same over N·O.")] = "sum"
    batch_size: Annotated[int | None, typer.Option(help="Points a step (default: all).")] = None
    dtype: Annotated[str, typer.Option(help="Precision of training: float32 or float64.")] = "float32"
    draws: Annotated[int, typer.Option(help="Initializations for the randomness of the NTK.")] = 200
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0
    threshold: Annotated[list[str] | None, typer.Option(help="Set a threshold of the verdict; may be repeated.", metavar="NAME=VALUE")] = (
        None
    )

    def __post_init__(self) -> None:
        options.seed(self.seed)
        options.rates(learning_rate=self.learning_rate, learning_rate_fraction=self.learning_rate_fraction)

    def settings(self, memory: int | None) -> Any:
        """The settings of the diagnosis."""
        from kernelregime import diagnosis

        chosen = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "threshold"}
        return diagnosis.Settings(**chosen, memory=memory, thresholds=diagnosis.Thresholds(**_thresholds(self.threshold or [])))


def diagnose(network: options.Network, data: Data, training: Training, output: options.Output) -> None:
    """Is the network in the kernel regime, is it trainable, and why? Trains it from several seeds and writes a report."""
    from kernelregime import report, results

    memory = output.budget
    settings = training.settings(memory)
    folder = results.folder_for(output.out or f"runs/{data.slug}", overwrite=output.overwrite)
    dataset = data.load(loss=training.loss, seed=training.seed, memory=memory, flat=not network.images)
    dataset = network.of_images(dataset)
    spec = network.build(dataset.y_train.shape[1])
    _check_finite(spec)
    checkpoint = folder / results.CHECKPOINT
    with results.created(folder):
        result = _measured(spec, dataset, settings, checkpoint, output)
        result = replace(result, config={**result.config, "command": f"kernelregime {shlex.join(sys.argv[1:])}"})
        report.write(result, folder, overwrite=output.overwrite)
        checkpoint.unlink(missing_ok=True)
    if output.json:
        typer.echo(results.plain_json(result.to_json()))
        return
    from rich.console import Console

    console = Console()
    console.print(report.summary(result))
    console.print(f"report: {folder / results.REPORT}", soft_wrap=True)


def _measured(spec: Any, dataset: Any, settings: Any, checkpoint: Path, output: options.Output) -> Any:
    """The diagnosis; a checkpoint of other settings is dropped where that is asked for."""
    from kernelregime import diagnosis, training

    resumed = checkpoint.exists()
    try:
        with bars(output.quiet) as progress:
            return diagnosis.diagnose(spec, dataset, settings=settings, checkpoint=checkpoint, progress=progress)
    except training.ForeignCheckpointError:
        if not output.overwrite:
            do = "name another --out, or add --overwrite"
            raise fail("an output folder without another run's checkpoint", str(checkpoint), do) from None
        checkpoint.unlink()
        return _measured(spec, dataset, settings, checkpoint, output)
    except InputError:
        if not resumed:
            checkpoint.unlink(missing_ok=True)
        raise
    except KeyboardInterrupt:
        kept = f"training is kept in {checkpoint}; the same command goes on from there"
        raise interrupts.Interrupted(kept if checkpoint.exists() else "nothing was trained yet") from None


def _check_finite(spec: Any) -> None:
    """Refuse a network that has a kernel at infinite width only."""
    for layer in spec.layers:
        phi = getattr(layer, "nonlinearity", None)
        if phi is not None and not phi.kind.finite:
            raise fail(
                "an activation with values, to be trained",
                f"{phi.kind.name}, which is a kernel only",
                "use `kernelregime kernel`, or another --activation",
            )


def _thresholds(items: list[str]) -> dict[str, float]:
    from kernelregime.diagnosis import Thresholds

    chosen = {}
    for item in items:
        name, equals, value = item.partition("=")
        try:
            chosen[name] = float(value)
        except ValueError:
            equals = ""
        if not equals:
            raise fail("--threshold name=value with a number", repr(item), "for example --threshold kernel_drift=0.1")
        one_of("threshold", name, Thresholds.__dataclass_fields__)
    return chosen


command = commands.command(diagnose, options.Network, Data, Training, options.Output)
