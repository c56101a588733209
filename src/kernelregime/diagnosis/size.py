"""What a diagnosis will need, before it allocates any: refused where it does not fit into the memory budget."""

import math

import jax

from kernelregime._checks import fail
from kernelregime.data import Dataset
from kernelregime.diagnosis.settings import Settings
from kernelregime.diagnosis.subject import Subject
from kernelregime.grams import memory_budget

COPIES = {"gd": 5, "momentum": 7, "adam": 9}  # of the parameters while they train: start, now, next, two gradients, and moments twice
KERNELS = 6  # matrices over all points: two kernels, their eigenvectors and what the decomposition works on


def check(subject: Subject, dataset: Dataset, settings: Settings) -> None:
    """Raises `InputError` for a network whose training, or for points whose kernels, do not fit into the memory budget."""
    if subject.network is not None:
        check_points(len(dataset.x_train) + len(dataset.x_test), settings.memory)
    count = _parameters(subject, dataset.x_train.shape[-1])
    if count is None:
        return
    copies = COPIES.get(settings.optimizer, COPIES["adam"]) if isinstance(settings.optimizer, str) else COPIES["adam"]
    need = count * settings.seeds * copies * (8 if settings.dtype == "float64" else 4)
    seeds = "one seed" if settings.seeds == 1 else f"{_count(settings.seeds)} seeds"
    what = f"{_count(count)} parameters × {seeds}, with copies for training"
    _within(need, settings.memory, what, "lower width=, depth= or seeds=" if subject.spec else "give a smaller model, or lower seeds=")


def check_points(count: int, memory: float | None) -> None:
    """Raises `InputError` for more points than whose kernels fit into the budget of `memory` bytes (None: half of what is free)."""
    _within(KERNELS * 8 * count**2, memory, f"kernels of {_count(count)} × {_count(count)} points", "ask for fewer points")


def shown(size: float) -> str:
    """`size` bytes to three digits with the largest decimal unit that fits."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}" if size < 1e15 else f"{size / scale:.2e} {unit}"
    return f"{size:.0f} bytes"


def _parameters(subject: Subject, inputs: int) -> int | None:
    """How many numbers one seed trains; None where that is known only once they are drawn."""
    if subject.spec is not None:  # of any size: nothing is traced
        return subject.spec.parameters(inputs)
    if not subject.traceable:
        return None
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(jax.eval_shape(subject.init, jax.random.PRNGKey(0))))


def _count(number: int) -> str:
    return f"{number:,}" if number < 10**12 else f"{number:.2e}"


def _within(need: int, memory: float | None, what: str, do: str) -> None:
    budget = memory_budget(memory)
    if need > budget:
        whose = "half of what is free" if memory is None else "the budget of memory="
        raise fail(f"a run that fits into {shown(budget)} ({whose})", f"{shown(need)} for {what}", f"{do}, or raise memory=")
