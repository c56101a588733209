"""Bytes: as a user writes them, as a message shows them, and what a command will need before it allocates any."""

import re

from kernelregime._checks import fail

UNITS = {"": 1, "b": 1} | {
    f"{letter}{middle}b": base**k for k, letter in enumerate("kmgt", 1) for middle, base in (("", 1000), ("i", 1024))
}
COPIES = {"gd": 5, "momentum": 7, "adam": 9}  # of the parameters while they train: start, now, next, two gradients, and moments twice
KERNELS = 6  # matrices over all points: two kernels, their eigenvectors and what the decomposition works on


def parsed(text: str | None) -> int | None:
    """A number of bytes written as 2000000000, 2GB or 512MiB; None stays None."""
    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*([a-z]*)\s*", text, re.IGNORECASE)
    size = None if match is None or match[2].lower() not in UNITS else float(match[1]) * UNITS[match[2].lower()]
    if size is None or not 1 <= size < 2**63:
        raise fail("--memory as a number of bytes, at least 1", repr(text), "write it as 2000000000, 2GB or 512MiB")
    return int(size)


def shown(size: float) -> str:
    """`size` bytes to three digits with the largest decimal unit that fits."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}" if size < 1e15 else f"{size / scale:.2e} {unit}"
    return f"{size:.0f} bytes"


def parameters(depth: int, width: int, inputs: int, outputs: int, *, bias: bool) -> int:
    """Parameters of a fully-connected network with `depth` weight layers."""
    if depth == 1:
        return outputs * (inputs + bias)
    return width * (inputs + bias) + (depth - 2) * width * (width + bias) + outputs * (width + bias)


def check_parameters(count: int, *, seeds: int, dtype: str, optimizer: str, memory: int | None) -> None:
    """Refuse networks whose training does not fit into the memory budget."""
    need = count * seeds * COPIES.get(optimizer, COPIES["adam"]) * (8 if dtype == "float64" else 4)
    what = f"{_count(count)} parameters × {_count(seeds)} seeds, with copies for training"
    _within(need, memory, what, "lower --width, --depth or --seeds")


def check_points(count: int, *, memory: int | None) -> None:
    """Refuse more points than whose kernels fit into the memory budget."""
    _within(KERNELS * 8 * count**2, memory, f"kernels of {_count(count)} × {_count(count)} points", "ask for fewer points")


def _count(number: int) -> str:
    return f"{number:,}" if number < 10**12 else f"{number:.2e}"


def _within(need: int, memory: int | None, what: str, do: str) -> None:
    from kernelregime.grams import memory_budget

    budget = memory_budget(memory)
    if need > budget:
        whose = "half of what is free" if memory is None else "the budget of --memory"
        raise fail(f"a run that fits into {shown(budget)} ({whose})", f"{shown(need)} for {what}", f"{do}, or raise --memory")
