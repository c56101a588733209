"""Optimizers by name, one learning rate for each seed."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
import optax

from kernelregime._checks import fail, from_registry

MOMENTUM = 0.9
Factory = Callable[[Any], Any]
OPTIMIZERS: dict[str, Factory] = {"gd": optax.sgd, "momentum": partial(optax.sgd, momentum=MOMENTUM), "adam": optax.adam}


def factory(optimizer: Any) -> Factory:
    """The function from a learning rate to a gradient transformation."""
    if isinstance(optimizer, str):
        return from_registry("optimizer", optimizer, OPTIMIZERS)
    if callable(optimizer):
        return optimizer
    got = f"a {type(optimizer).__name__}"
    raise fail("optimizer to be a name or a function of the learning rate", got, "give 'gd', or for example optax.adamw")


def holding(optimizer: Any, labels: Any) -> Factory:
    """`optimizer` for the params labelled "train"; those labelled "hold" stay where they are, whatever it does without a gradient.

    `labels`: a pytree of the two words, with the structure of the params or of their upper levels.
    """
    make = factory(optimizer)
    return lambda rate: optax.partition({"train": _checked(make(rate)), "hold": optax.set_to_zero()}, labels)


def transformations(make: Factory, rates: np.ndarray) -> Factory:
    """`make`, called once on the host where all seeds have one rate (a schedule may then branch on it), else with each traced rate."""
    if (rates == rates[0]).all():
        common = _checked(make(float(rates[0])))
        return lambda rate: common

    def each(rate: Any) -> Any:
        try:
            return _checked(make(rate))
        except jax.errors.ConcretizationTypeError:
            got = "one that branches on its value"
            raise fail("an optimizer that takes a traced learning rate", got, "give all seeds one learning rate") from None

    return each


def _checked(made: Any) -> Any:
    if not (hasattr(made, "init") and hasattr(made, "update")):
        got = f"a {type(made).__name__}"
        raise fail("the optimizer function to return an optax GradientTransformation", got, "give a function of the learning rate")
    return made
