"""Compiled programs, kept for as long as the function they belong to."""

import types
import weakref
from collections.abc import Callable
from typing import Any


class Kept:
    """Values by owner and key; an owner's values go when it goes.

    A bound method counts as one owner for as long as its object lives, although Python makes a new one at every access.
    """

    def __init__(self) -> None:
        self._by_owner: dict[tuple[int, int], tuple[Any, dict[Any, Any]]] = {}

    def get(self, owner: Any, key: Any, build: Callable[[Callable[[], Any]], Any]) -> Any:
        """The value kept for `owner` under `key`, or `build(reference)`, which must hold `owner` by `reference` only.

        An owner that cannot be referred to weakly is served, and nothing is kept.
        """
        anchor, method = (owner.__self__, owner.__func__) if isinstance(owner, types.MethodType) else (owner, None)
        name = (id(anchor), id(method))
        try:
            reference = _reference(owner, lambda _: self._forget(name))
        except TypeError:
            return build(lambda: owner)
        kept, values = self._by_owner.setdefault(name, (reference, {}))
        if key not in values:
            values[key] = build(kept)
        return values[key]

    def _forget(self, name: tuple[int, int]) -> None:
        self._by_owner.pop(name, None)

    def __len__(self) -> int:
        return len(self._by_owner)


def _reference(owner: Any, forget: Callable[[Any], None]) -> Any:
    return weakref.WeakMethod(owner, forget) if isinstance(owner, types.MethodType) else weakref.ref(owner, forget)


PROGRAMS = Kept()
