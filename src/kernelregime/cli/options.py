"""Options that several commands share, and what they mean."""

from dataclasses import dataclass, replace
from typing import Annotated, Any

import typer

from kernelregime._checks import fail, integer, one_of, real
from kernelregime.cli import sizes
from kernelregime.cli.wording import flag

# the names of `activations.REGISTRY` and `activations.FAMILIES` with a φ, and those without; they cannot be read without JAX
ACTIVATIONS = (
    "abrelu",
    "abs",
    "cos",
    "elu",
    "erf",
    "exp",
    "gabor",
    "gaussian",
    "gelu",
    "hard_tanh",
    "hermite",
    "identity",
    "leaky_relu",
    "monomial",
    "polynomial",
    "rbf",
    "rectified_monomial",
    "relu",
    "relu6",
    "sigmoid",
    "sigmoid_like",
    "sign",
    "silu",
    "sin",
    "softplus",
    "tanh",
)
KERNELS_ONLY = ("exp_normalized",)
# those of `data.names`
DATA = ("digits", "gaussian", "sphere", "mnist", "fashion-mnist", "cifar10")
LARGEST = 1e6  # of a variance: beyond it float32 overflows in a few layers
RATES = (1e-30, 1e6)  # learning rates whose squares, and those of 1/(rate × steps), are numbers
LARGEST_SEED = 2**31 - 2  # one more is used as well, and keys are made from 32-bit integers
DEEPEST = 10_000  # weight layers: every one is compiled

MYRTLES: dict[str, Any] = {f"myrtle-{depth}": depth for depth in (5, 7, 10)}
MYRTLE_SIZE = 32  # pixels along an axis, which is halved five times
READOUTS = ("pool", "flatten")
# what each network reads of these options, and what it takes where they are left out
READS: dict[str, dict[str, Any]] = {
    "mlp": {"depth": 5, "width": 512},
    "cnn": {"depth": 5, "width": 512, "readout": "pool"},
    **{name: {"width": 512} for name in MYRTLES},
    "resnet": {"readout": "pool"},
}

NAMED = f"Activations:  {', '.join(ACTIVATIONS)}"  # for the end of a command's help

Activation = Annotated[str, typer.Option(help="One of those below, with parameters 'leaky_relu(alpha=0.1)'.")]
SigmaW2 = Annotated[float, typer.Option(help="Variance σ_w² of the weights (times 1/fan-in).")]
SigmaB2 = Annotated[
    float | None,
    typer.Option(help="Variance σ_b² of the biases (default: none; 0: they start at zero)."),
]
Scaling = Annotated[
    str | None,
    typer.Option(help="Of inputs: unit-norm (default; .csv: standardize), unit-variance or none."),
]
Memory = Annotated[str | None, typer.Option(help="Memory budget, as 2GB or 512MiB (default: half of what is free).", metavar="BYTES")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bars.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier result, and nothing else.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")]
Source = Annotated[str, typer.Option(help=f"{', '.join(DATA)}, or a .npz or .csv file.")]


@dataclass(frozen=True)
class Network:
    """The network."""

    network: Annotated[str, typer.Option(help="mlp or, on images, cnn, myrtle-5, myrtle-7, myrtle-10, resnet.")] = "mlp"
    depth: Annotated[int | None, typer.Option(help="Weight layers of mlp and cnn (hidden + 1; default: 5).")] = None
    width: Annotated[int | None, typer.Option(help="Units or channels of hidden layers (not of resnet; default: 512).")] = None
    readout: Annotated[str | None, typer.Option(help="How cnn and resnet end: pool (global mean; default) or flatten.")] = None
    activation: Activation = "relu"
    sigma_w2: SigmaW2 = 2.0
    sigma_b2: SigmaB2 = None
    parameterization: Annotated[str, typer.Option(help="Scaling of weights: ntk, standard or (diagnose) mup.")] = "ntk"

    def __post_init__(self) -> None:
        one_of("network", self.network, READS)
        for name in ("depth", "width", "readout"):
            if getattr(self, name) is not None and name not in READS[self.network]:
                read = ", ".join(map(flag, READS[self.network]))
                raise fail(f"of these options {read} for --network {self.network}", flag(name), "leave it out, or choose another network")
        shape = self._shape
        one_of("readout", shape.get("readout", "pool"), READOUTS)
        integer("width", shape.get("width", 1))
        if integer("depth", shape.get("depth", 1)) > DEEPEST:
            raise fail(f"depth of at most {DEEPEST:,}", f"{self.depth:,}", "lower it: every layer is compiled")
        variances(sigma_w2=self.sigma_w2, sigma_b2=self.sigma_b2)

    @property
    def images(self) -> bool:
        """Whether it takes points with positions."""
        return self.network != "mlp"

    @property
    def _shape(self) -> dict[str, Any]:
        """Depth, width and readout, those of them that the network reads."""
        given = {name: getattr(self, name) for name in READS[self.network]}
        return READS[self.network] | {name: value for name, value in given.items() if value is not None}

    def build(self, outputs: int) -> Any:
        """Its spec."""
        from kernelregime import networks

        settings = {name: getattr(self, name) for name in ("activation", "sigma_w2", "sigma_b2", "parameterization")} | self._shape
        if self.network == "mlp":
            return networks.mlp(outputs=outputs, **settings)
        if "width" in settings:
            settings["channels"] = settings.pop("width")
        if self.network == "cnn":
            return networks.cnn(outputs=outputs, **settings)
        if self.network == "resnet":
            return networks.resnet(outputs=outputs, **settings)
        return networks.myrtle(outputs=outputs, depth=MYRTLES[self.network], **settings)

    def points(self, found: Any) -> Any:
        """The points (N, d) of what was loaded, or as images (N, height, width, channels) where the network takes them."""
        return self._images(found.x.reshape(len(found.x), *(found.shape or (-1,))), found.name) if self.images else found.x

    def of_images(self, dataset: Any) -> Any:
        """A data set whose points have their shapes, as images (N, height, width, channels) where the network takes them."""
        if not self.images:
            return dataset
        return replace(dataset, **{name: self._images(getattr(dataset, name), dataset.name) for name in ("x_train", "x_test")})

    def _images(self, x: Any, name: str) -> Any:
        if x.ndim not in (3, 4):
            do = "take digits, mnist, fashion-mnist, cifar10 or a .npz of images (N, height, width, ...), or --network mlp"
            raise fail(f"images for --network {self.network}", f"{name} with points of shape {x.shape[1:]}", do)
        found = images(x)
        if self.network in MYRTLES and min(found.shape[1:3]) < MYRTLE_SIZE:
            wanted = f"images of at least {MYRTLE_SIZE} x {MYRTLE_SIZE} pixels for --network {self.network}"
            raise fail(wanted, f"{name} of {found.shape[1]} x {found.shape[2]}", "take cifar10 or other images, or --network cnn or resnet")
        return found


@dataclass(frozen=True)
class Points:
    """Points without targets, and the precision."""

    data: Source = "digits"
    points: Annotated[int | None, typer.Option(help="Points, balanced over classes (default: about 200; for `gram`, all).")] = None
    unlabelled: Annotated[bool, typer.Option("--unlabelled", help="The last column of a .csv is a feature; a .npz needs no y.")] = False
    scaling: Scaling = None
    seed: Annotated[int, typer.Option(help="Seed of the choice of points.")] = 0
    folder: Annotated[str | None, typer.Option(help="Folder of data and files (default: that of KERNELREGIME_DATA).")] = None
    dtype: Annotated[str, typer.Option(help="Precision: float32 or float64.")] = "float64"

    def __post_init__(self) -> None:
        seed(self.seed)

    def load(self, *, most: int | None) -> Any:
        """The points, sorted by class where there are any; no more than `most` where no number is asked for."""
        from kernelregime import data

        settings = {name: getattr(self, name) for name in ("seed", "scaling", "folder")}
        return data.points(self.data, count=self.points, most=most, labelled=not self.unlabelled, **settings)


POINTS = {"points_train": "--points", "count": "--points"}  # names of the number of points in the library's messages


@dataclass(frozen=True)
class Storing:
    """Where matrices go, and how they are computed."""

    store: Annotated[str, typer.Option(help="Zarr store, made or resumed.")] = "runs/gram.zarr"
    memory: Memory = None
    engine: Annotated[str, typer.Option(help="Tiles in threads, processes, dask or dask:tcp://HOST:PORT.")] = "threads"
    workers: Annotated[int | None, typer.Option(help="Tiles at one time (default: one thread, or a process a core).")] = None
    json: Json = False
    quiet: Quiet = False

    def __post_init__(self) -> None:
        if not self.store.strip():
            raise fail("--store to name a store", repr(self.store), "name one, or leave it out")

    @property
    def place(self) -> dict[str, Any]:
        """What the library takes of it."""
        return {"store": self.store, "memory": sizes.parsed(self.memory), "engine": self.engine, "workers": self.workers}


def images(x: Any) -> Any:
    """Images (N, height, width) or (N, height, width, channels) with an axis of channels."""
    return x if x.ndim == 4 else x[..., None]


@dataclass(frozen=True)
class Output:
    """Where results go, and how the command speaks."""

    memory: Memory = None
    out: Annotated[str | None, typer.Option(help="Folder for the results; it must be new or empty.")] = None
    overwrite: Overwrite = False
    json: Json = False
    quiet: Quiet = False

    def __post_init__(self) -> None:
        if self.out is not None and not self.out.strip():
            raise fail("--out to name a folder", repr(self.out), "name one, or leave it out")

    @property
    def budget(self) -> int | None:
        """The memory budget in bytes, where one is given."""
        return sizes.parsed(self.memory)


def seed(value: int) -> None:
    """Refuse what no random numbers are made from."""
    if integer("seed", value, least=0) > LARGEST_SEED:
        raise fail(f"seed of at most {LARGEST_SEED}", value, "give a smaller one")


def variances(**values: float | None) -> None:
    """Refuse what is no variance, or one so large that nothing can be computed with it."""
    for name, value in values.items():
        if value is not None:
            real(flag(name), value, least=0.0, most=LARGEST)


def rates(**values: float | None) -> None:
    """Refuse learning rates with which nothing can be computed."""
    for name, value in values.items():
        if value is not None:
            real(flag(name), value, least=RATES[0], most=RATES[1])
