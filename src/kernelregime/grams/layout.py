"""How a store lies on the disk: arrays, chunks, checksums."""

import json
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kernelregime._checks import fail
from kernelregime.grams.tiles import Output, Place, Plan, Problem

CHECKSUM = 4  # bytes of a CRC-32C


def zarr() -> Any:
    """The package zarr; `InputError` where it, or xarray, is not installed."""
    try:
        import xarray  # noqa: F401
        import zarr
    except ImportError as error:
        raise fail("the packages of the extra `store`", f"no {error.name}", "pip install 'kernelregime[store]'") from error
    return zarr


def create(path: Path, problem: Problem, plan: Plan, attributes: Mapping[str, Any]) -> None:
    """An empty store at `path`, a folder that is empty."""
    package = zarr()
    group = package.open_group(path, mode="w", zarr_format=3, attributes=plain(attributes))
    for name, output in problem.outputs.items():
        shape, chunks = (*problem.shape, *output.tail), (plan.side, plan.side, *output.tail)
        _array(group, name, shape, chunks, np.dtype(problem.dtype).name, np.nan, ("x1", "x2", *_axes(output)))
    down, across = plan.grid
    _array(group, "done", (down, across), (1, across), "uint8", 0, ("tile1", "tile2"))
    _array(group, "error", (down, across), (1, across), "float64", 0.0, ("tile1", "tile2"))
    labels = dict(label for output in problem.outputs.values() for label in output.labels)
    sizes = {"x1": problem.shape[0], "x2": problem.shape[1]}
    for axis, values in {**{name: range(size) for name, size in sizes.items()}, **labels}.items():
        _array(group, axis, (len(values),), (len(values),), "int64", 0, (axis,))
        group[axis][:] = np.asarray(values)


def _array(group: Any, name: str, shape: Sequence[int], chunks: Sequence[int], dtype: str, fill: float, axes: Sequence[str]) -> None:
    from zarr.codecs import Crc32cCodec

    group.create_array(
        name,
        shape=tuple(shape),
        chunks=tuple(chunks),
        dtype=dtype,
        compressors=(Crc32cCodec(),),  # no compression: kernels are noise from the third digit on, and sizes stay known
        filters=(),
        fill_value=fill,
        dimension_names=tuple(axes),
        config={"write_empty_chunks": True},  # a chunk that is not there is damage, whatever its values
    )


def _axes(output: Output) -> tuple[str, ...]:
    return output.axes or tuple(f"axis{k}" for k in range(2, 2 + len(output.tail)))


def chunk(path: Path, name: str, place: Place, ndim: int) -> Path:
    """The file of a chunk."""
    return path.joinpath(name, "c", *map(str, (*place, *(0,) * (ndim - 2))))


def size(problem: Problem, plan: Plan, places: Sequence[Place]) -> int:
    """Bytes of the chunks of tiles, mirror images included."""
    files = sum(2 if plan.symmetric and i != j else 1 for i, j in places)
    return files * (plan.side**2 * problem.bytes_per_result + CHECKSUM * len(problem.outputs))


def markers(group: Any) -> tuple[np.ndarray, np.ndarray]:
    """Which tiles are done, and their errors, a row at a time: of a row that cannot be read, no tile counts as done."""
    found = {name: np.zeros(group[name].shape, group[name].dtype) for name in ("done", "error")}
    for row in range(len(found["done"])):
        try:
            done, error = (group[name][row] for name in found)
        except Exception:  # what zarr raises for a chunk that was cut off varies with where
            continue
        found["done"][row], found["error"][row] = done, error
    return found["done"], found["error"]


def damaged(path: Path, group: Any, plan: Plan, done: np.ndarray, *, read: bool = False) -> list[Place]:
    """The tiles marked done of which a chunk is missing or has the wrong size or, with `read`, does not fit its checksum."""
    arrays = [group[name] for name in group.attrs["identity"]["matrices"]]
    return [
        place
        for place in plan.places()
        if done[place] and not all(_sound(path, array, plan, at, read=read) for array in arrays for at in _filled(plan, place))
    ]


def _filled(plan: Plan, place: Place) -> set[Place]:
    return {place, (place[1], place[0])} if plan.symmetric else {place}


def _sound(path: Path, array: Any, plan: Plan, place: Place, *, read: bool) -> bool:
    file = chunk(path, array.basename, place, array.ndim)
    try:
        if file.stat().st_size != math.prod(array.chunks) * array.dtype.itemsize + CHECKSUM:
            return False
        if read:
            array[plan.block(place)]
    except FileNotFoundError:
        return False
    except ValueError:  # a checksum that does not fit
        return False
    return True


def remove(path: Path, group: Any, plan: Plan, place: Place) -> None:
    """Remove the chunks of a tile: zarr would read what it writes over in part."""
    for name in group.attrs["identity"]["matrices"]:
        for at in _filled(plan, place):
            chunk(path, name, at, group[name].ndim).unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Have the operating system write a file, and the folder it is in, to the disk now."""
    for place in (path, path.parent):
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def part(path: Path) -> str:
    """How the name of a store begins while it is made."""
    return f".{path.name}.part-"


def clean(path: Path) -> None:
    """Remove what a killed process left half written, inside the store and beside it."""
    for left in path.parent.glob(f"{part(path)}*"):
        shutil.rmtree(left, ignore_errors=True)
    for left in path.glob("**/*.partial"):
        left.unlink(missing_ok=True)


def plain(value: Any) -> Any:
    """`value` as it is when it has been JSON."""
    return json.loads(json.dumps(value))
