"""A pair function on its way to another process, and what to say where it does not get there."""

import pickle
from pathlib import Path
from typing import Any

from kernelregime._checks import InputError, RunError, fail
from kernelregime.grams.tiles import Block, Tile

HOW = "use functions defined at the top of a module that can be imported, or engine='threads'"


def save(tile: Tile, path: Path) -> None:
    """Write `tile` to a file; `InputError` where it holds what cannot be sent."""
    with path.open("wb") as file:
        try:
            pickle.dump(tile, file, protocol=pickle.HIGHEST_PROTOCOL)
        except InputError:
            raise
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise fail("a pair function that can be sent to another process", line(error), HOW) from error


def load(path: Path) -> Tile:
    """The pair function in a file; `InputError` where this process cannot import what it is made of."""
    with path.open("rb") as file:
        try:
            return pickle.load(file)
        except (AttributeError, ImportError) as error:
            raise fail("a pair function that another process can import", line(error), HOW) from error


def lost(engine: str, tries: int, done: str, cause: str) -> RunError:
    """What to say when workers keep dying."""
    return RunError(
        f"expected workers of engine={engine!r} that stay alive; got {tries} failures in a row with no tile done ({cause}), {done}; "
        "give a smaller memory= or fewer workers=, and call it below `if __name__ == '__main__':` in a script; "
        "a store keeps what is done, and the same call resumes"
    )


def compute(tile: Tile, rows: slice, columns: slice) -> Block:
    """A block, in the worker."""
    return tile(rows, columns)


def line(error: Any) -> str:
    """What an error says, in one line of moderate length."""
    return " ".join(str(error).split())[:200]
