"""Which targets are classes, and how classes are coded as numbers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from kernelregime._checks import array, counted, fail, integer, one_of
from kernelregime.data.scaling import deviations

MOST_CLASSES = 20  # whole numbers with more values than this are regression, unless a class coding is asked for
REGRESSION, STANDARDIZED_REGRESSION = REGRESSIONS = ("regression", "standardized-regression")
STANDARDIZED = "standardized"  # the coding of mean 0 and variance 1, of classes or numbers


def _one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    return np.eye(classes)[labels]


def _centred_one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    return np.eye(classes)[labels] - 1 / classes


def _standardized_one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    return _centred_one_hot(labels, classes) * (classes / np.sqrt(classes - 1))


def _plus_minus_one(labels: np.ndarray, classes: int) -> np.ndarray:
    if classes == 2:
        return 2.0 * labels[:, None] - 1.0
    return 2 * np.eye(classes)[labels] - 1


CLASS_CODINGS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "centred-one-hot": _centred_one_hot,
    "one-hot": _one_hot,
    "standardized-one-hot": _standardized_one_hot,
    "plus-minus-one": _plus_minus_one,
}
CODINGS = (*CLASS_CODINGS, *REGRESSIONS, STANDARDIZED)


class Coded(NamedTuple):
    """Targets (·, O) of train and test as numbers, and the mean and deviation of each output where these were taken out."""

    train: np.ndarray
    test: np.ndarray
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()


@dataclass(frozen=True)
class Targets:
    """Targets understood: `labels` (N,), positions in `classes`; or `values` (N, O) for regression, with `labels` None and no classes."""

    coding: str
    classes: tuple[int | str, ...]
    labels: np.ndarray | None
    values: np.ndarray | None
    notes: tuple[str, ...] = ()

    def coded(self, train: np.ndarray, test: np.ndarray) -> Coded:
        """The targets of these rows as numbers."""
        if self.labels is not None:
            code, number = CLASS_CODINGS[self.coding], len(self.classes)
            return Coded(code(self.labels[train], number), code(self.labels[test], number))
        assert self.values is not None
        found = Coded(self.values[train], self.values[test])
        if self.coding == REGRESSION:
            return found
        mean, deviation = deviations(found.train)
        if not deviation.any():
            raise fail(
                "targets that differ between train points", "the same target for all", "give other data, or target_coding='regression'"
            )
        scale = np.where(deviation > 0, deviation, 1.0)
        return Coded((found.train - mean) / scale, (found.test - mean) / scale, tuple(mean.tolist()), tuple(scale.tolist()))


def understand(targets: np.ndarray, coding: str | None) -> Targets:
    """Classes or regression, by `coding` or (None) by the rule in `load`."""
    if coding is not None:
        one_of("target_coding", coding, CODINGS)
    flat = targets[:, 0] if targets.ndim == 2 and targets.shape[1] == 1 else targets
    if flat.ndim not in (1, 2):
        raise fail("targets of shape (N,) or (N, O)", f"shape {targets.shape}", "reshape them")
    if flat.dtype.kind in "USO":
        flat = np.asarray([str(value).strip() for value in flat.ravel()]).reshape(flat.shape)
        if flat.ndim == 2 or (flat == "").any():
            raise fail("one class name for every point", f"names of shape {flat.shape}, some empty", "fill in or drop the missing labels")
    else:
        array("targets", flat)
    if coding not in REGRESSIONS:
        names = _class_values(flat, some=coding in CLASS_CODINGS)
        if names is not None:
            classes, labels = np.unique(names, return_inverse=True)
            chosen = {None: "centred-one-hot", STANDARDIZED: "standardized-one-hot"}.get(coding, coding)
            notes = () if coding in CLASS_CODINGS or flat.ndim == 2 else _not_counted(classes)
            return Targets(str(chosen), tuple(classes.tolist()), labels.astype(np.int64), None, notes)
        if coding in CLASS_CODINGS:
            got = f"real-valued targets of shape {flat.shape}"
            raise fail(f"labels or one-hot rows, for target_coding={coding!r}", got, "use target_coding='regression'")
    if flat.dtype.kind == "U":
        raise fail(f"numbers as targets, for target_coding={coding!r}", f"names such as {str(flat[0])!r}", "use a coding for classes")
    values = flat.astype(np.float64).reshape(len(flat), -1)
    notes = () if coding in REGRESSIONS else _unasked(flat)
    return Targets(REGRESSION if coding in (None, REGRESSION) else STANDARDIZED_REGRESSION, (), None, values, notes)


def _unasked(flat: np.ndarray) -> tuple[str, ...]:
    """What to say of targets that could be classes and were taken for numbers without being asked."""
    if flat.ndim == 2 or (flat != np.floor(flat)).any():
        return ()
    what = f"the targets are whole numbers of {np.unique(flat).size} different values (more than {MOST_CLASSES})"
    return (f"{what} and were taken as regression; the target coding one-hot, or another for classes, makes each value a class",)


def _not_counted(classes: np.ndarray) -> tuple[str, ...]:
    """What to say of whole numbers that were taken as classes without being asked and do not count from 0 or 1, as classes do."""
    if classes.dtype.kind == "U" or (classes[0] in (0, 1) and classes[-1] - classes[0] == len(classes) - 1):
        return ()
    what = f"the targets are whole numbers of {counted(len(classes), 'value')} ({', '.join(map(str, classes))})"
    return (f"{what} and were taken as classes; the target coding regression, or standardized-regression, takes them as numbers",)


def _class_values(flat: np.ndarray, *, some: bool) -> np.ndarray | None:
    """One name or whole number for each point, or None if the targets are not classes (`some`: classes are asked for, however many)."""
    if flat.dtype.kind == "U":
        return flat
    if flat.ndim == 2:
        hot = ((flat == 0) | (flat == 1)).all() and (flat.sum(1) == 1).all()
        return np.argmax(flat, axis=1) if hot else None
    if (flat != np.floor(flat)).any() if flat.dtype.kind == "f" else False:
        return None
    whole = flat.astype(np.int64)
    return whole if some or np.unique(whole).size <= MOST_CLASSES else None


def chosen(targets: Targets, classes: int | Sequence[Any] | None) -> tuple[Targets, np.ndarray]:
    """Targets with the chosen classes only (others get the label -1), and the rows that remain."""
    if targets.labels is None:
        if classes is not None:
            raise fail("classes=None for regression", repr(classes), "drop classes=, or choose a coding for classes")
        assert targets.values is not None
        return targets, np.arange(len(targets.values))
    known = {str(name): position for position, name in enumerate(targets.classes)}
    if classes is None:
        kept = sorted(known.values())
    elif isinstance(classes, (int, np.integer)):
        kept = list(range(integer("classes", classes, least=2)))
        if len(kept) > len(known):
            raise fail(f"at most {len(known)} classes", repr(classes), "ask for fewer")
    else:
        listed = [classes] if isinstance(classes, str) else list(classes)
        kept = sorted({known[one_of("classes", str(name), known)] for name in listed})
    if len(kept) < 2:
        got = f"{len(kept)} ({', '.join(str(targets.classes[k]) for k in kept)})"
        raise fail("at least two classes", got, "choose more classes, or target_coding='regression'")
    renumber = np.full(len(known), -1)
    renumber[kept] = np.arange(len(kept))
    labels = renumber[targets.labels]
    names, notes = tuple(targets.classes[k] for k in kept), targets.notes if classes is None else ()
    return replace(targets, classes=names, labels=labels, notes=notes), np.flatnonzero(labels >= 0)
