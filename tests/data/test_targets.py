"""Which targets are classes, and their codings."""

import numpy as np
import pytest

from kernelregime import data
from kernelregime._checks import InputError

RNG = np.random.default_rng(0)


def dataset(y, **options):
    x = RNG.standard_normal((len(y), 2))
    return data.from_arrays(x, y, x, y, scaling="none", **options)


LABELS = np.array([0, 2, 1, 1, 0, 2])


@pytest.mark.parametrize(
    "y",
    [
        LABELS,
        LABELS.astype(np.uint8),
        LABELS.astype(float),
        LABELS[:, None],
        np.eye(3)[LABELS],
        np.eye(3)[LABELS].astype(bool),
        np.array(["ant", "bee", "cow"])[LABELS],
        ["ant" if k == 0 else "bee " if k == 1 else "cow" for k in LABELS],
    ],
)
def test_labels_in_every_form_are_the_same_classes(y):
    found = dataset(y)
    np.testing.assert_array_equal(found.labels_train, LABELS)
    assert found.target_coding == "centred-one-hot"
    assert len(found.classes) == 3


def test_classes_are_named_as_in_the_data():
    assert dataset(np.array([4.0, 9.0, 4.0, 9.0])).classes == (4, 9)
    assert dataset(["no", "yes", "no", "yes"]).classes == ("no", "yes")
    assert dataset(np.array([True, False, True])).classes == (0, 1)


def test_codings_are_as_documented():
    hot = np.eye(3)[LABELS]
    np.testing.assert_array_equal(dataset(LABELS, target_coding="one-hot").y_train, hot)
    np.testing.assert_allclose(dataset(LABELS, target_coding="centred-one-hot").y_train, hot - 1 / 3, rtol=1e-15)
    np.testing.assert_array_equal(dataset(LABELS, target_coding="plus-minus-one").y_train, np.where(hot == 1, 1.0, -1.0))
    np.testing.assert_array_equal(dataset([5, 8, 8], target_coding="plus-minus-one").y_train, [[-1.0], [1.0], [1.0]])
    np.testing.assert_array_equal(dataset(LABELS, target_coding="regression").y_train, LABELS[:, None].astype(float))


def test_centred_one_hot_targets_of_balanced_classes_have_mean_zero():
    y = dataset(LABELS).y_train
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-15)
    np.testing.assert_allclose(y.sum(1), 0, atol=1e-15)


@pytest.mark.parametrize("y", [RNG.standard_normal(8), RNG.standard_normal((8, 2)), np.arange(25), np.array([[1, 1], [0, 1]])])
def test_real_numbers_and_many_whole_numbers_are_regression(y):
    found = dataset(y)
    assert found.target_coding == "regression"
    assert found.labels_train is None
    np.testing.assert_array_equal(found.y_train, np.reshape(y, (len(y), -1)))


def test_many_whole_numbers_are_classes_when_a_class_coding_is_asked_for():
    assert len(dataset(np.arange(25), target_coding="one-hot").classes) == 25


def test_many_whole_numbers_that_nobody_called_regression_are_said():
    [words] = dataset(np.arange(25)).notes
    assert "25 different values (more than 20) and were taken as regression" in words
    for y, coding in ((np.arange(25), "regression"), (np.arange(25), "one-hot"), (np.arange(20), None), (np.arange(25) + 0.5, None)):
        assert dataset(y, target_coding=coding).notes == ()


@pytest.mark.parametrize("y", [[-1, 1, 1, -1], [-1.0, 1.0, 1.0, -1.0]])
@pytest.mark.parametrize("coding", [None, "standardized"])
def test_whole_numbers_that_nobody_called_classes_and_are_not_counted_are_said(y, coding):
    found = dataset(y, target_coding=coding)
    assert found.classes == (-1, 1)
    [words] = found.notes
    assert "whole numbers of 2 values (-1, 1) and were taken as classes; the target coding regression" in words


@pytest.mark.parametrize(
    ("y", "options"),
    [
        ([0, 1, 1], {}),
        ([1.0, 2.0, 3.0], {}),
        (["no", "yes", "no"], {}),
        (np.eye(4)[[0, 2, 3, 0]], {}),
        ([-1, 1, 1], {"target_coding": "plus-minus-one"}),
        ([-1, 1, 1], {"target_coding": "regression"}),
        ([-1, 0, 1], {"classes": [-1, 1]}),
    ],
)
def test_nothing_is_said_of_classes_that_are_counted_named_or_asked_for(y, options):
    assert dataset(y, **options).notes == ()


def test_standardized_regression_has_mean_zero_and_variance_one_on_train_whatever_the_unit():
    x, y = RNG.standard_normal((12, 2)), np.stack([RNG.standard_normal(12), np.full(12, 0.1)], axis=1)
    found = data.from_arrays(x[:8], y[:8], x[8:], y[8:], target_coding="standardized-regression")
    np.testing.assert_allclose(found.y_train[:, 0].mean(), 0, atol=1e-15)
    np.testing.assert_allclose(found.y_train[:, 0].std(), 1, rtol=1e-14)
    np.testing.assert_allclose(found.y_train[:, 1], 0, atol=1e-15)
    for coded, given in ((found.y_train, y[:8]), (found.y_test, y[8:])):
        np.testing.assert_allclose(coded * found.target_deviation + found.target_mean, given, rtol=1e-14)
    other = data.from_arrays(x[:8], 1000 * y[:8] + 7, x[8:], 1000 * y[8:] + 7, target_coding="standardized-regression")
    np.testing.assert_allclose(other.y_test, found.y_test, rtol=1e-10, atol=1e-12)


def test_standardized_is_the_coding_of_that_kind_that_fits_the_targets():
    assert dataset(LABELS, target_coding="standardized").target_coding == "standardized-one-hot"
    assert dataset(RNG.standard_normal(6), target_coding="standardized").target_coding == "standardized-regression"


@pytest.mark.parametrize(
    ("y", "coding", "message"),
    [
        ([0.5, 1.0, 0.25], "one-hot", "use target_coding='regression'"),
        (["a", "b", "a"], "regression", "numbers as targets"),
        (["a", "", "b"], None, "class name for every point"),
        (np.zeros((3, 2, 2)), None, "shape \\(N,\\) or \\(N, O\\)"),
        ([1, 1, 1], None, "at least two classes"),
        ([1.5, 1.5, 1.5], "standardized", "targets that differ between train points"),
    ],
)
def test_targets_that_contradict_the_coding_are_refused(y, coding, message):
    with pytest.raises(InputError, match=message):
        dataset(y, target_coding=coding)


def test_standardized_one_hot_has_mean_zero_and_variance_one_on_balanced_classes():
    y = dataset(LABELS, target_coding="standardized-one-hot").y_train
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-15)
    np.testing.assert_allclose((y**2).mean(axis=0), 1, rtol=1e-14)
