"""Data from .npz and .csv files."""

import numpy as np
import pytest

from kernelregime import data
from kernelregime._checks import InputError

RNG = np.random.default_rng(1)
X, Y = RNG.standard_normal((20, 4)), np.arange(20) % 2


def lines(header, rows, ending="\n"):
    return ending.join([*header, *rows]) + ending


def table(x, names):
    return [",".join([*(repr(float(v)) for v in row), str(name)]) for row, name in zip(x, names)]


@pytest.mark.parametrize("x_name", ["x", "X", "images", "data", "features", "inputs"])
@pytest.mark.parametrize("y_name", ["y", "labels", "targets", "label", "target"])
def test_npz_files_are_read_under_every_documented_name(tmp_path, x_name, y_name):
    np.savez(tmp_path / "set.npz", **{x_name: X.reshape(20, 2, 2), y_name: Y})
    found = data.load(tmp_path / "set.npz", scaling="none")
    assert found.name == "set"
    assert {row.tobytes() for row in found.x_train} < {row.tobytes() for row in X}
    np.testing.assert_array_equal(np.bincount(found.labels_train), [8, 8])


def test_npz_files_with_train_and_test_arrays_keep_them_apart(tmp_path):
    np.savez(tmp_path / "set.npz", x_train=X[:12], y_train=Y[:12], x_test=X[12:], y_test=Y[12:])
    found = data.load("set", folder=tmp_path, scaling="none", points_train=10)
    assert {row.tobytes() for row in found.x_train} < {row.tobytes() for row in X[:12]}
    np.testing.assert_array_equal(found.x_test, X[12:])


@pytest.mark.parametrize(("x", "y"), [("{}_images", "{}_labels"), ("X_{}", "target_{}"), ("inputs_{}", "{}_targets")])
def test_npz_files_with_a_train_and_a_test_set_are_read_under_their_usual_names(tmp_path, x, y):
    parts = {"train": slice(12), "test": slice(12, 20)}
    np.savez(tmp_path / "set.npz", **{name.format(part): v[rows] for part, rows in parts.items() for name, v in ((x, X), (y, Y))})
    np.testing.assert_array_equal(data.load(tmp_path / "set.npz", scaling="none").x_test, X[12:])


def test_npz_files_with_row_numbers_keep_their_split(tmp_path):
    np.savez(tmp_path / "set.npz", x=X, y=Y, train_idx=np.arange(4, 20), test_idx=np.arange(3))
    found = data.load(tmp_path / "set.npz", scaling="none")
    np.testing.assert_array_equal(found.x_test, X[:3])
    assert {row.tobytes() for row in found.x_train} == {row.tobytes() for row in X[4:]}


@pytest.mark.parametrize("separator", [";", "\t"])
@pytest.mark.parametrize("header", [[], ["a,b,c,d,label"]])
def test_csv_files_may_be_separated_by_semicolons_or_tabs(tmp_path, header, separator):
    (tmp_path / "set.csv").write_text(lines(header, table(X, ["no", "yes"] * 10)).replace(",", separator))
    found = data.load(tmp_path / "set.csv", scaling="none")
    assert found.classes == ("no", "yes")
    assert {row.tobytes() for row in found.x_train} | {row.tobytes() for row in found.x_test} == {row.tobytes() for row in X}


@pytest.mark.parametrize("header", [[], ["a,b,c,d,label"], ["", "a,b,c,d,label"], ["0,1,2,3,label"], ['"a, first",b,c,d,label']])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_csv_files_are_read_with_and_without_a_line_of_names(tmp_path, header, ending):
    (tmp_path / "set.csv").write_bytes(lines(header, table(X, Y), ending).encode())
    found = data.load(tmp_path / "set.csv", scaling="none")
    assert found.classes == (0, 1)
    assert {row.tobytes() for row in found.x_train} | {row.tobytes() for row in found.x_test} == {row.tobytes() for row in X}


def test_csv_labels_may_be_names_in_quotes_and_the_file_may_begin_with_a_mark(tmp_path):
    names = ['"dog, big"' if k else " cat" for k in Y]
    (tmp_path / "set.csv").write_text("\ufeff" + lines(["a,b,c,d,animal"], table(X, names)), encoding="utf-8")
    assert data.load("set", folder=tmp_path).classes == ("cat", "dog, big")


def test_csv_files_with_real_targets_are_regression(tmp_path):
    (tmp_path / "set.csv").write_text(lines([], table(X, X.sum(1))))
    found = data.load(tmp_path / "set.csv", scaling="none", points_train=15, points_test=5)
    assert found.target_coding == "regression"
    np.testing.assert_allclose(found.y_train[:, 0], found.x_train.sum(1), rtol=1e-12)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "at least one row"),
        ("1 2 3\n4 5 6\n", "two or more columns"),
        ("a;b;c\n1,5;2,5;0\n2,5;1,5;1\n", r"decimal points in set\.csv; got decimal commas between semicolons; save it"),
        ("1;2;0\n3;four;1\n", "'four' in line 2, column 2"),
        ("1,2,0\n3,4\n", "2 columns in line 2, where the first row has 3"),
        ("1,2,0\n3,4,1,7\n", "4 columns in line 2"),
        ("a,b,c\n1,2,0\n\n3,,1\n", r"set\.csv; got an empty cell in line 4, column 2; fill in"),
        ("1,2,0\n3,four,1\n", "'four' in line 2, column 2"),
        ("a,b,c\n1,2,0\n3,nan,1\n", r"set\.csv; got 'nan' in line 3, column 2"),
        ("1,2,0\n3,4,inf\n", r"set\.csv; got 'inf' in line 2, column 3"),
        ("1,2,0\n3,4,\n", r"every row of set\.csv; got an empty cell in line 2, column 3"),
        ("1,2,no\n3,4,\n", "an empty cell in line 2, column 3"),
        ("1,2,0\n3,4,0\n", "at least two classes"),
    ],
)
def test_csv_files_that_cannot_be_used_are_refused_in_one_line(tmp_path, text, message):
    (tmp_path / "set.csv").write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        data.load(tmp_path / "set.csv")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X}, r"targets beside the points of set; .* give y \(or labels, targets, label, target\)"),
        ({"x": X, "result": Y}, r"targets beside the points of set; got only x, result; give y \(or"),
        ({"input": X, "y": Y}, r"'x' \(or 'images', 'data', 'features', 'inputs'\) in set\.npz; got only input, y; add it"),
        ({"x": np.where(X[3, 1] == X, np.nan, X), "y": Y}, r"x in set\.npz to be finite; got NaN or infinity in row 3"),
        ({"x": X, "y": np.where(Y == 1, np.nan, Y)}, r"y in set\.npz to be finite; got NaN or infinity in row 1 .* and 9 more"),
        ({"y": Y}, r"'x' \(or 'images'"),
        ({}, "only nothing"),
        ({"x_train": X, "y_train": Y, "x_test": X}, r"'y_test' \(or 'test_y', .*\) in set\.npz; got only x_test, x_train, y_train"),
        ({"x": X, "y": Y, "train_idx": np.arange(5)}, "'test_idx'"),
        ({"x": X, "y": Y, "train_idx": np.arange(5), "test_idx": np.arange(4, 8)}, "1 common"),
        ({"x": X, "y": Y, "train_idx": np.arange(5), "test_idx": np.array([20])}, "between 0 and 19"),
        ({"x": X, "y": Y, "train_idx": np.array([0, 0, 1]), "test_idx": np.array([9])}, "every row once"),
        ({"x": np.array(["a", None], object), "y": Y}, "plain arrays"),
        ({"x": X.astype(complex), "y": Y}, "real numbers"),
    ],
)
def test_npz_files_that_cannot_be_used_are_refused_in_one_line(tmp_path, arrays, message):
    np.savez(tmp_path / "set.npz", **arrays)
    with pytest.raises(InputError, match=message) as caught:
        data.load(tmp_path / "set.npz")
    assert "\n" not in str(caught.value)


def test_points_need_no_targets(tmp_path):
    np.savez(tmp_path / "set.npz", images=X.reshape(20, 2, 2))
    (tmp_path / "set.csv").write_text(lines(["a,b,c,d"], [",".join(map(repr, row)) for row in X.tolist()]))
    for file in ("set.npz", "set.csv"):
        found = data.points(tmp_path / file, scaling="none", labelled=False)
        assert found.labels is None
        assert sorted(map(tuple, found.x)) == sorted(map(tuple, X))
    assert data.points(tmp_path / "set.csv", scaling="none").x.shape == (20, 3)  # the last column is the target unless said


def test_points_are_as_many_of_every_class_as_asked_for_and_sorted_by_class(tmp_path):
    np.savez(tmp_path / "set.npz", x=X, y=Y, train_idx=np.arange(15), test_idx=np.arange(15, 20))
    for options, each in (({"count": 6}, 3), ({"most": 9}, 4), ({}, 7)):
        found = data.points(tmp_path / "set.npz", scaling="none", **options)
        np.testing.assert_array_equal(found.labels, np.repeat([0, 1], each))
        assert {row.tobytes() for row in found.x} < {row.tobytes() for row in X[:15]}
    with pytest.raises(InputError, match="count to be a multiple of the 2 classes"):
        data.points(tmp_path / "set.npz", count=5)


@pytest.mark.parametrize("name", ["set.npz", "set.csv"])
def test_files_of_something_else_are_refused(tmp_path, name):
    (tmp_path / name).write_bytes(bytes(range(128, 256)) * 4)
    with pytest.raises(InputError, match=name):
        data.load(tmp_path / name)


def test_a_file_with_another_ending_is_refused_with_what_can_be_read(tmp_path):
    (tmp_path / "set.parquet").write_bytes(b"")
    with pytest.raises(InputError, match=r"\.npz or \.csv"):
        data.load(tmp_path / "set.parquet")
