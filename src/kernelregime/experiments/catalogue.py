"""All experiments, by paper and by key."""

from importlib import import_module

from kernelregime._checks import fail
from kernelregime.experiments.experiment import Experiment

PAPERS = ("can_we_trust", "beyond_infinite_width", "background")


def experiments(paper: str | None = None) -> tuple[Experiment, ...]:
    """Those of a paper, or all, in the order of the papers."""
    names = PAPERS if paper is None else (paper,)
    return tuple(item for name in names for item in import_module(f"kernelregime.experiments.papers.{name}").EXPERIMENTS)


def find(name: str) -> tuple[Experiment, ...]:
    """Those that a paper's name, a key in any case ("B1"), or "all" stands for. Raises: `InputError` for any other name."""
    if name == "all":
        return experiments()
    if name in PAPERS:
        return experiments(name)
    found = tuple(item for item in experiments() if item.key.lower() == name.lower())
    if not found:
        known = ", ".join([*PAPERS, *(item.key for item in experiments()), "all"])
        raise fail(f"a paper or a claim ({known})", repr(name), "see kernelregime reproduce --list")
    return found
