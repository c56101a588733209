"""Train and test rows: balanced over classes, seeded, and nested (a larger train set holds the smaller ones)."""

import numpy as np

from kernelregime._checks import fail, integer

TEST_FRACTION = 0.2  # of the smallest class, where neither the source nor the user says


def split(
    groups: np.ndarray,
    rows: np.ndarray,
    *,
    classes: tuple[int | str, ...],
    train: np.ndarray | None,
    test: np.ndarray | None,
    points_train: int | None,
    points_test: int | None,
    seed: int,
    whole: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of train and of test.

    `groups` (N,): the class of every row (all zero for regression). `rows`: those that may be used. `classes`: their names (none for
    regression). `train`, `test`: the split that comes with the data, or None. `whole`: without `points_train` take all train rows, in
    order, instead of the largest balanced set.
    """
    number = max(1, len(classes))
    _check_multiple("points_train", points_train, number)
    if points_test is not None:
        integer("points_test", points_test)
    order = np.random.default_rng(seed).permutation(len(groups))
    order = order[np.isin(order, rows)]
    _present(order if train is None else order[np.isin(order, train)], groups, classes)
    if train is None or test is None:
        return _one_pool(order, groups, number, points_train, points_test)
    members = [_by_group(order[np.isin(order, part)], groups, number) for part in (train, test)]
    if whole and points_train is None:
        picked = train[np.isin(train, rows)]
    else:
        each = min(len(m) for m in members[0]) if points_train is None else points_train // number
        picked = _take(order, members[0], [each] * number, "points_train")
    if points_test is None:
        return picked, test[np.isin(test, rows)]
    return picked, _take(order, members[1], _spread(points_test, number), "points_test")


def subset(
    groups: np.ndarray, rows: np.ndarray | None, *, classes: tuple[int | str, ...], count: int | None, most: int | None, seed: int
) -> np.ndarray:
    """Row numbers of `count` points, of every class the same number: as many as there are without it, and then no more than `most`.

    `groups`, `classes`: as in `split`. `rows`: those that may be used (None: all).
    """
    number = max(1, len(classes))
    _check_multiple("count", count, number)
    order = np.random.default_rng(seed).permutation(len(groups))
    order = order if rows is None else order[np.isin(order, rows)]
    _present(order, groups, classes)
    members = _by_group(order, groups, number)
    largest = min(len(m) for m in members)
    each = count // number if count is not None else largest if most is None else max(1, min(largest, most // number))
    return _take(order, members, [each] * number, "count")


def _check_multiple(name: str, points: int | None, number: int) -> None:
    if points is None or integer(name, points) % number == 0:
        return
    below, above = points // number * number, -(-points // number) * number
    do = f"ask for {below} or {above}" if below else f"ask for {above}"
    raise fail(f"{name} to be a multiple of the {number} classes (the same number of each)", points, do)


def _one_pool(
    order: np.ndarray, groups: np.ndarray, number: int, points_train: int | None, points_test: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """A split of data that come without one: of every class train takes from the front, test from the back."""
    members = _by_group(order, groups, number)
    least = min(len(m) for m in members)
    if points_test is None:
        share = max(1, int(TEST_FRACTION * least))
        # a large train set may eat into the test set, down to one point a class
        left = share if points_train is None else max(1, min(share, least - points_train // number))
        held = [left] * number
    else:
        held = _spread(points_test, number)
    each = min(len(m) - h for m, h in zip(members, held)) if points_train is None else points_train // number
    if each < 1 or any(each + h > len(m) for m, h in zip(members, held)):
        asked = f"{'all' if points_train is None else points_train} train and {sum(held)} test points"
        limit = f"at most {least * number} points in train and test together" + f" ({least} of each class)" * (number > 1)
        raise fail(limit, asked, "ask for fewer points" + ", or target_coding='regression'" * (number > 1))
    train = _take(order, members, [each] * number, "points_train")
    return train, _take(order, [m[::-1] for m in members], held, "points_test")


def _by_group(order: np.ndarray, groups: np.ndarray, number: int) -> list[np.ndarray]:
    return [order[groups[order] == k] for k in range(number)]


def _present(order: np.ndarray, groups: np.ndarray, classes: tuple[int | str, ...]) -> None:
    missing = [str(name) for k, name in enumerate(classes) if k not in groups[order]]
    if missing:
        raise fail("train points of every class", f"none of class {missing[0]}", "add some, or leave the class out with classes=")


def _spread(points: int, number: int) -> list[int]:
    """`points` over the classes, as equal as can be."""
    return [points // number + (k < points % number) for k in range(number)]


def _take(order: np.ndarray, members: list[np.ndarray], counts: list[int], name: str) -> np.ndarray:
    """The first rows of every class, in the common random order."""
    for m, count in zip(members, counts):
        if count > len(m):
            at_most = min(len(m) for m in members) * len(members)
            raise fail(f"{name} of at most {at_most}, what the data hold", sum(counts), "ask for fewer points")
    kept = np.concatenate([m[:count] for m, count in zip(members, counts)])
    return order[np.isin(order, kept)]
