"""The check that the test suite puts on every function of the library: array annotations only, with the shapes they name.

Other annotations are left to mypy: tests hand wrong types to public functions on purpose, to see them refused in our own words.
"""

import typing
from collections.abc import Callable
from typing import Any

import jaxtyping
from beartype import beartype


def _names_an_array(annotation: Any) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, jaxtyping.AbstractArray):
        return True
    return any(_names_an_array(part) for part in typing.get_args(annotation))


def arrays(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` with its array annotations checked on every call."""
    named = {name: annotation for name, annotation in function.__annotations__.items() if _names_an_array(annotation)}
    function.__annotations__ = named
    return beartype(function) if named else function
