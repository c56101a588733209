"""Options that several commands share, and what they mean."""

from typing import Annotated, Any

import typer

from kernelregime._checks import fail

Network = Annotated[str, typer.Option("--network", help="Kind of network: mlp.")]
Depth = Annotated[int, typer.Option("--depth", help="Weight layers (hidden layers + 1).")]
Width = Annotated[int, typer.Option("--width", help="Units of every hidden layer.")]
Activation = Annotated[str, typer.Option("--activation", help="relu, erf, tanh, identity.")]
SigmaW2 = Annotated[float, typer.Option("--sigma-w2", help="Variance σ_w² of the weights (times 1/fan-in).")]
SigmaB2 = Annotated[
    float | None,
    typer.Option(
        "--sigma-b2",
        help="Variance σ_b² of the biases; without it no biases; 0: biases that start at zero, trained in `standard`.",
    ),
]
Parameterization = Annotated[str, typer.Option("--parameterization", help="ntk or standard.")]
Data = Annotated[str, typer.Option("--data", help="digits, gaussian, sphere, or a .npz or .csv file.")]
PointsTrain = Annotated[int | None, typer.Option("--points-train", help="Train points, balanced over classes (default: about 120).")]
PointsTest = Annotated[int | None, typer.Option("--points-test", help="Test points (default: about 120).")]
Scaling = Annotated[
    str, typer.Option("--scaling", help="standardize, unit-norm, unit-variance, or none: sets the variance that enters the first layer.")
]
TargetCoding = Annotated[
    str | None,
    typer.Option(
        "--target-coding", help="standardized-one-hot (default for classes), centred-one-hot, one-hot, plus-minus-one, regression."
    ),
]
Out = Annotated[str | None, typer.Option("--out", help="Folder for the results; it must be new or empty.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier result in the folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output, and nothing else there.")]
Memory = Annotated[int | None, typer.Option("--memory", help="Memory budget in bytes (default: half of what is free).")]


def build(kind: str, **settings: Any) -> Any:
    """The network of this kind."""
    from kernelregime import networks
    from kernelregime._checks import one_of

    one_of("--network", kind, ("mlp",))
    return networks.mlp(**settings)


def finite(**values: float | None) -> None:
    """Refuse nan and infinity, which the parser lets through."""
    for name, value in values.items():
        if value is not None and not abs(value) < float("inf"):
            raise fail(f"--{name.replace('_', '-')} to be a finite number", f"{value}", "change it")


def writable(path: str) -> None:
    """Refuse a figure that cannot be written: unknown ending, missing folder."""
    from pathlib import Path

    if Path(path).suffix not in (".svg", ".png"):
        raise fail("--figure to end in .svg or .png", repr(path), "rename it")
    if not Path(path).resolve().parent.is_dir():
        raise fail("--figure in an existing folder", repr(path), "create the folder first")
