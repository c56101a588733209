"""Advice in two parts: what is to be done, and what is already so."""

import re
from collections.abc import Callable, Iterable

Numbers = tuple[float, ...]
_NUMBER = r"(\d[\d.]*(?:e[+-]?\d+)?)"
# sentences of the diagnosis that hold a goal and what this network has, and when the goal is met
_GOALS: tuple[tuple[str, Callable[[Numbers], bool]], ...] = (
    (r"is at the edge of chaos", lambda numbers: True),
    (rf"^width for .*: (?:about )?{_NUMBER} \(.*this network has {_NUMBER}\)", lambda numbers: numbers[0] <= numbers[1]),
    (rf"^largest stable learning rate .*: {_NUMBER} \(.*\); used: {_NUMBER}$", lambda numbers: numbers[0] >= numbers[1]),
    (rf"^steps in which .*: {_NUMBER} at learning rate .* \(used: {_NUMBER}\)$", lambda numbers: numbers[0] <= numbers[1]),
)


def met(sentence: str) -> bool:
    """Whether the sentence says a goal that this network has reached."""
    for pattern, test in _GOALS:
        found = re.search(pattern, sentence)
        if found is not None:
            return test(tuple(float(number) for number in found.groups()))
    return False


def parted(advice: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What is to be done, and what is already so."""
    sentences = tuple(advice)
    return tuple(s for s in sentences if not met(s)), tuple(s for s in sentences if met(s))
