"""Data sets by name and from arrays."""

import os
from pathlib import Path

import numpy as np
import pytest

from kernelregime import data
from kernelregime._checks import InputError

SHARED = os.environ.get("KERNELREGIME_DATA", "")
shared = pytest.mark.skipif(not Path(SHARED or "/nowhere").is_dir(), reason="KERNELREGIME_DATA names no folder with the image data sets")


def test_digits_come_balanced_with_every_default():
    digits = data.load("digits")
    counts = np.bincount(digits.labels_train)
    assert (counts == counts[0]).all()
    assert digits.classes == tuple(range(10))
    assert digits.x_train.shape == (counts.sum(), 64)
    assert digits.y_test.shape == (len(digits.x_test), 10)
    assert (digits.scaling, digits.target_coding) == ("standardize", "centred-one-hot")


@pytest.mark.parametrize(("points", "each"), [(20, 2), (300, 30), (1500, 150)])
def test_a_subset_has_the_same_number_of_every_class(points, each):
    digits = data.load("digits", points_train=points, points_test=55)
    np.testing.assert_array_equal(np.bincount(digits.labels_train), np.full(10, each))
    assert set(np.bincount(digits.labels_test)) == {5, 6}


def rows(x):
    return {row.tobytes() for row in x}


def test_train_and_test_share_no_point_and_a_larger_train_set_holds_the_smaller():
    small = data.load("digits", points_train=50, points_test=100, scaling="none")
    large = data.load("digits", points_train=400, points_test=100, scaling="none")
    assert not rows(small.x_train) & rows(small.x_test)
    assert rows(small.x_train) < rows(large.x_train)
    np.testing.assert_array_equal(small.x_test, large.x_test)


def test_labels_belong_to_their_points():
    # every chosen row is looked up among all digits
    from sklearn.datasets import load_digits

    x, labels = load_digits(return_X_y=True)
    known = {(row / 16).tobytes(): label for row, label in zip(x, labels)}
    digits = data.load("digits", points_train=60, points_test=40, scaling="none", target_coding="one-hot")
    for part, classes, y in ((digits.x_train, digits.labels_train, digits.y_train), (digits.x_test, digits.labels_test, digits.y_test)):
        np.testing.assert_array_equal([known[row.tobytes()] for row in part], classes)
        np.testing.assert_array_equal(np.argmax(y, axis=1), classes)


def test_the_seed_decides_and_the_fingerprint_tells():
    one, again, other = (data.load("digits", points_train=50, seed=seed) for seed in (1, 1, 2))
    assert one.fingerprint == again.fingerprint != other.fingerprint
    np.testing.assert_array_equal(one.x_train, again.x_train)
    assert one.fingerprint != data.load("digits", points_train=50, seed=1, target_coding="one-hot").fingerprint


@pytest.mark.parametrize(("classes", "names"), [(3, (0, 1, 2)), ([7, 3], (3, 7)), (["7", "3", "3"], (3, 7))])
def test_chosen_classes_are_numbered_from_zero(classes, names):
    digits = data.load("digits", classes=classes, points_train=6 * len(names), points_test=10)
    assert digits.classes == names
    assert set(digits.labels_train) == set(range(len(names)))
    assert digits.y_train.shape[1] == len(names)


def test_regression_on_digits_targets_the_digit_itself():
    digits = data.load("digits", target_coding="regression", points_train=37, points_test=11)
    assert digits.y_train.shape == (37, 1)
    assert digits.labels_train is None
    assert digits.classes == ()
    assert set(np.unique(digits.y_train)) <= set(range(10))


@pytest.mark.parametrize("name", ["gaussian", "sphere"])
def test_the_toys_have_balanced_classes_that_are_the_sign_of_their_teacher(name):
    settings = {"points_train": 200, "points_test": 51, "scaling": "none", "seed": 4}
    classes = data.load(name, **settings)
    values = data.load(name, target_coding="regression", **settings)
    assert classes.classes == (-1, 1)
    np.testing.assert_array_equal(np.bincount(classes.labels_train), [100, 100])
    sign = {row.tobytes(): np.sign(t) for row, t in zip(values.x_train, values.y_train[:, 0])}
    np.testing.assert_array_equal([sign[row.tobytes()] for row in classes.x_train], 2 * classes.labels_train - 1)


@pytest.mark.parametrize(("name", "variance"), [("gaussian", 1.0), ("sphere", (1 + 16 / 18) / 2)])
def test_the_toys_have_the_stated_law(name, variance):
    toy = data.load(name, points_train=40_000, points_test=2, scaling="none", target_coding="regression")
    square, targets = (toy.x_train**2).sum(1), toy.y_train[:, 0] ** 2
    if name == "sphere":
        np.testing.assert_allclose(square, 16, rtol=1e-13)
    for values, mean in ((square, 16.0), (targets, variance), (toy.y_train[:, 0], 0.0), *((column, 0.0) for column in toy.x_train.T)):
        assert abs(values.mean() - mean) <= 4 * values.std() / np.sqrt(len(values)) + 1e-12 * abs(mean)


@pytest.mark.parametrize("name", ["gaussian", "sphere"])
def test_the_toys_train_set_is_nested_and_apart_from_test(name):
    small, large = (data.load(name, points_train=n, points_test=10, scaling="none") for n in (20, 60))
    assert rows(small.x_train) < rows(large.x_train)
    assert not rows(large.x_train) & rows(large.x_test)
    assert rows(small.x_test) == rows(large.x_test)


def test_arrays_with_a_test_set_are_taken_as_they_are():
    rng = np.random.default_rng(0)
    x, x_test = rng.standard_normal((7, 2, 3)), rng.standard_normal((4, 2, 3))
    found = data.from_arrays(x, [0, 0, 0, 0, 1, 1, 2], x_test, [2, 1, 0, 0], scaling="none")
    np.testing.assert_array_equal(found.x_train, x.reshape(7, 6))
    np.testing.assert_array_equal(found.x_test, x_test.reshape(4, 6))
    np.testing.assert_array_equal(found.labels_test, [2, 1, 0, 0])


def test_arrays_without_a_test_set_are_split():
    x = np.arange(40.0).reshape(20, 2)
    found = data.from_arrays(x, ["b", "a"] * 10, scaling="none", name="mine")
    assert (found.name, found.classes) == ("mine", ("a", "b"))
    assert (len(found.x_train), len(found.x_test)) == (16, 4)
    assert rows(found.x_train) | rows(found.x_test) == rows(x)


def test_arrays_with_a_test_set_can_be_cut_to_balanced_subsets():
    rng = np.random.default_rng(0)
    found = data.from_arrays(rng.random((30, 2)), [0] * 20 + [1] * 10, rng.random((8, 2)), [0, 1] * 4, points_train=12, points_test=4)
    np.testing.assert_array_equal(np.bincount(found.labels_train), [6, 6])
    np.testing.assert_array_equal(np.bincount(found.labels_test), [2, 2])


def test_bytes_are_divided_by_255():
    x = np.array([[0, 255], [51, 102], [255, 0], [204, 0]], np.uint8)
    found = data.from_arrays(x, [0, 1, 0, 1], x, [0, 1, 0, 1], scaling="none")
    np.testing.assert_allclose(found.x_train, [[0, 1], [0.2, 0.4], [1, 0], [0.8, 0]], rtol=1e-15)


X, Y = np.random.default_rng(0).standard_normal((12, 3)), np.arange(12) % 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: data.load("digts"), "did you mean 'digits'"),
        (lambda: data.load("nowhere/at_all.npz"), "existing .npz file"),
        (lambda: data.load("mine", folder="/nowhere/at/all"), "folder"),
        (lambda: data.load("digits", scaling="standardise"), "did you mean 'standardize'"),
        (lambda: data.load("digits", target_coding="onehot"), "did you mean 'one-hot'"),
        (lambda: data.load("digits", points_train=128), "ask for 120 or 130"),
        (lambda: data.load("digits", points_train=4), "ask for 10"),
        (lambda: data.load("digits", points_train=1740, points_test=10), "at most 1740 points in train and test together"),
        (lambda: data.load("digits", points_train=100, points_test=0), "points_test"),
        (lambda: data.load("digits", classes=[3]), "at least two classes"),
        (lambda: data.load("digits", classes=11), "at most 10 classes"),
        (lambda: data.load("digits", classes=[3, 12]), "classes to be one of"),
        (lambda: data.load("digits", classes=2, target_coding="regression"), "classes=None for regression"),
        (lambda: data.load("digits", seed=-1), "seed"),
        (lambda: data.from_arrays(np.where(X > 0, np.nan, X), Y), "finite"),
        (lambda: data.from_arrays(X, np.where(Y, np.nan, 0.0)), "finite"),
        (lambda: data.from_arrays(X[:, 0], Y), "one row for every point"),
        (lambda: data.from_arrays(X, Y[:5]), "12 rows"),
        (lambda: data.from_arrays(X, None), "targets beside the points"),
        (lambda: data.from_arrays(X, np.zeros(12, int)), "at least two classes"),
        (lambda: data.from_arrays(X.astype(str), Y), "real numbers"),
        (lambda: data.from_arrays(X, Y, X), "x_test alone"),
        (lambda: data.from_arrays(X, Y, X[:, :2], Y), "3 features"),
        (lambda: data.from_arrays(X, Y, X, Y.astype(str)), "one type and width"),
        (lambda: data.from_arrays(X, Y, X.astype(np.uint8), Y), "uint8"),
        (lambda: data.from_arrays(X, Y, X, Y + 1), "none of class 2"),
        (lambda: data.from_arrays(X, Y, X, Y, points_train=14), "at most 12"),
        (lambda: data.from_arrays(X, [0] * 11 + [1]), "at most 2 points"),
    ],
)
def test_data_that_cannot_be_used_are_refused_in_one_line(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert str(caught.value).startswith("expected ")
    assert "\n" not in str(caught.value)


def test_names_are_the_built_in_ones_and_the_files_of_a_folder(tmp_path, monkeypatch, unnamed):
    (tmp_path / "mine.csv").write_text("1,2,0\n3,4,1\n" * 5)
    (tmp_path / "notes.txt").write_text("")
    built_in = ("digits", "gaussian", "sphere", "mnist", "fashion-mnist", "cifar10")
    assert data.names() == built_in
    assert data.names(tmp_path) == (*built_in, "mine")
    with pytest.raises(InputError, match="did you mean 'mine'"):
        data.load("mein", folder=tmp_path)
    monkeypatch.setenv("KERNELREGIME_DATA", str(tmp_path))
    assert data.names() == (*built_in, "mine")
    assert data.load("mine").fingerprint == data.load("mine", folder=tmp_path).fingerprint


def test_points_keep_their_shape_where_asked():
    rng = np.random.default_rng(3)
    x, x_test = rng.standard_normal((6, 2, 3)), rng.standard_normal((4, 2, 3))
    found = data.from_arrays(x, [0, 1] * 3, x_test, [0, 1] * 2, scaling="none", flat=False)
    np.testing.assert_array_equal(found.x_train, x)
    np.testing.assert_array_equal(found.x_test, x_test)
    digits = data.load("digits", points_train=20, flat=False)
    np.testing.assert_array_equal(digits.x_train.reshape(20, 64), data.load("digits", points_train=20).x_train)
    assert digits.x_train.shape == (20, 8, 8, 1)
    assert data.load("sphere", flat=False).x_train.shape == (256, 16)


def test_text_is_referred_to_where_words_are_read():
    with pytest.raises(InputError, match=r"which is text; use data.words\('text8'"):
        data.load("text8")


@shared
@pytest.mark.parametrize(
    ("name", "features", "train", "test"),
    [("mnist_subset", 784, 7000, 1500), ("fashion_mnist_subset", 784, 8000, 2000), ("cifar10_subset", 3072, 3000, 800)],
)
def test_the_image_sets_load_with_their_own_split(name, features, train, test):
    found = data.load(name, folder=SHARED, scaling="none")
    assert found.x_train.shape == (train, features)
    assert found.x_test.shape == (test, features)
    assert (found.x_train.min(), found.x_train.max()) == (0.0, 1.0)
    np.testing.assert_array_equal(np.bincount(found.labels_train), np.full(10, train // 10))
    np.testing.assert_array_equal(np.bincount(found.labels_test), np.full(10, test // 10))


@shared
def test_images_keep_their_labels_and_their_side_of_the_split():
    path = Path(SHARED) / "mnist_subset.npz"
    found = data.load(path, points_train=40, points_test=20, scaling="none")
    with np.load(path) as stored:
        images, labels = stored["images"].reshape(10_000, 784), stored["labels"]
        sides = {"train": stored["train_idx"], "test": stored["test_idx"]}
    for side, x, found_labels in (("train", found.x_train, found.labels_train), ("test", found.x_test, found.labels_test)):
        place = {images[i].tobytes(): i for i in sides[side]}
        index = [place[np.rint(255 * row).astype(np.uint8).tobytes()] for row in x]
        np.testing.assert_array_equal(labels[index], found_labels)


@shared
def test_constant_pixels_give_no_nan():
    found = data.load("mnist_subset", folder=SHARED, points_train=100, points_test=100)
    constant = (found.x_train == 0).all(0)
    assert constant.any()
    assert np.isfinite(found.x_test).all()
    assert np.mean(found.x_train**2) == pytest.approx(1 - constant.mean(), rel=1e-12)
