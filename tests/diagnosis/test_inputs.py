"""What a diagnosis takes as data, and what it makes of units."""

import copy
import importlib
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernelregime import InputError, data, diagnosis
from kernelregime.data.dataset import Source
from kernelregime.diagnosis import advice, inputs

RNG = np.random.default_rng(0)
X = RNG.standard_normal((300, 5))
Y = X[:, 0] * X[:, 1] + X[:, 2]
SETTINGS = diagnosis.Settings()


def function(params, x):
    return jnp.tanh(x @ params["a"]) @ params["b"]


def initialize(key):
    one, two = jax.random.split(key)
    return {"a": jax.random.normal(one, (5, 32)) / 2, "b": jax.random.normal(two, (32, 1)) / 6}


def test_the_verdict_does_not_depend_on_the_unit_of_the_targets():
    plain, other = (
        diagnosis.diagnose(function, (X[:60], unit * Y[:60] + shift), init=initialize, dtype="float64", draws=6, probes=3, steps=60)
        for unit, shift in ((1.0, 0.0), (1e3, 5e4))
    )
    assert plain.verdict.regime == other.verdict.regime
    for key in ("linearization_error", "drift", "unexplained", "test_error_network"):
        np.testing.assert_allclose(other[key].measured.mean, plain[key].measured.mean, rtol=1e-6)
    assert other.config["data"]["target_coding"] == "standardized-regression"
    units = np.array([other.config["data"][f"target_{name}"] for name in ("mean", "deviation")])
    base = np.array([plain.config["data"][f"target_{name}"] for name in ("mean", "deviation")])
    np.testing.assert_allclose(units, 1e3 * base + [[5e4], [0]], rtol=1e-12)
    assert "over the targets' variance" in other["test_error_network"].label


def texts(dataset):
    return [item.text for item in advice._units(dataset)]


def test_targets_in_units_of_their_own_are_pointed_out_and_others_are_not():
    far = data.from_arrays(X, 1e3 * Y + 5e4, scaling="unit-norm")
    assert any("the verdict depends on their unit: the target coding standardized-regression" in words for words in texts(far))
    for dataset in (data.from_arrays(X, Y), data.load("sphere", target_coding="regression"), diagnosis.load("digits")):
        assert texts(dataset) == []


def test_a_feature_that_makes_most_of_the_norm_is_pointed_out_unless_features_are_standardized():
    units = X * [1, 1, 1, 1, 1e4]
    [words] = texts(data.from_arrays(units, Y, scaling="unit-norm"))
    assert words.startswith("one of 5 features makes 100% of |x|²")
    assert texts(data.from_arrays(units, Y, scaling="standardize")) == []


def test_the_features_of_a_table_are_standardized_and_other_points_put_on_the_sphere(tmp_path):
    np.savez(tmp_path / "set.npz", x=X, y=Y)
    np.savetxt(tmp_path / "set.csv", np.column_stack([X * [1, 1, 1, 1, 1e4], Y]), delimiter=",")
    array, table = (diagnosis.load(tmp_path / name) for name in ("set.npz", "set.csv"))
    assert (array.scaling, table.scaling) == ("unit-norm", "standardize")
    np.testing.assert_allclose(table.x_train.std(0), 1, rtol=1e-12)
    assert diagnosis.load("set", folder=tmp_path, scaling="none").scaling == "none"


def test_data_are_read_once_and_only_the_points_that_are_taken_become_numbers(tmp_path, monkeypatch):
    np.savez(tmp_path / "set.npz", x=RNG.integers(0, 256, (5000, 4), dtype=np.uint8), y=np.arange(5000) % 10)
    read, taken, points = [], [], Source.points
    readers = importlib.import_module("kernelregime.data.load").READERS
    reader = readers[".npz"]
    monkeypatch.setitem(readers, ".npz", lambda path, **options: read.append(path) or reader(path, **options))
    monkeypatch.setattr(Source, "points", lambda self, rows: taken.append(len(rows)) or points(self, rows))
    found = diagnosis.load("set", folder=tmp_path)
    assert (len(read), taken) == (1, [120, 120])
    assert (len(found.x_train), len(found.x_test)) == (120, 120)


def test_whole_numbers_of_many_values_are_said_to_be_regression_until_the_user_chooses():
    whole = np.arange(300) % 30
    found = diagnosis.diagnose(function, (X, whole), init=initialize, draws=3, probes=2, steps=2)
    assert found.config["data"]["target_coding"] == "standardized-regression"
    assert "30 different values (more than 20) and were taken as regression" in found.notes[0]
    chosen = data.from_arrays(X, whole, target_coding="standardized-regression")
    assert inputs.understood(chosen, SETTINGS).notes == ()


def test_arrays_are_data():
    pair, four = inputs.understood((X, Y), SETTINGS), inputs.understood([X[:200], Y[:200], X[200:], Y[200:]], SETTINGS)
    assert (len(pair.x_train), len(pair.x_test)) == (120, 60)  # a fifth is held out
    assert (len(four.x_train), len(four.x_test)) == (200, 100)
    labels = (X, (Y > 0).astype(int))
    assert inputs.understood(labels, SETTINGS).target_coding == "standardized-one-hot"
    assert inputs.understood(labels, diagnosis.Settings(loss="cross_entropy")).target_coding == "one-hot"


def damaged(dataset, **changes):
    """A data set with parts that do not fit, past the checks of the tests themselves."""
    found = copy.copy(dataset)
    for name, value in changes.items():
        object.__setattr__(found, name, value)
    return found


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (X, r"arrays \(X, y\) or \(x_train, .*; got a ndarray; see data.from_arrays"),
        (None, "got a NoneType"),
        ((X, Y, X), "got 3 parts"),
        ((X, Y[:7]), "y with 300 rows"),
        ((X[:20], Y[:20], X[20:], Y[20:25]), "y_test with 280 rows"),
        ((X, np.ones(300)), "at least two classes"),
        ((X, np.full(300, 0.5)), "targets that differ"),
    ],
)
def test_what_is_no_data_is_refused_in_words(given, words):
    with pytest.raises(InputError, match=words):
        diagnosis.diagnose(function, given, init=initialize)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (lambda d: {"y_test": d.y_test[:5]}, "expected y_test with 24 rows, as x_test has; got 5; give one row for every point"),
        (lambda d: {"labels_test": d.labels_test[:5]}, "labels_test with 24 rows"),
        (lambda d: {"x_test": d.x_test[:, :3]}, r"shapes \(24, 16\) and \(24, 3\)"),
        (lambda d: {"y_train": d.y_train[:, 0]}, r"shapes \(24,\) and \(24, 2\)"),
        (lambda d: {"x_train": np.where(d.x_train > 2, np.nan, d.x_train)}, "x_train to be finite"),
    ],
)
def test_a_data_set_whose_parts_do_not_fit_is_refused(small, changes, words):
    with pytest.raises(InputError, match=words):
        diagnosis.diagnose(function, damaged(small, **changes(small)), init=initialize)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"thresholds": {"kernel_drif": 1.0}}, "did you mean 'kernel_drift'"),
        ({"thresholds": 0.1}, "expected thresholds as a diagnosis.Thresholds or a dict; got a float"),
        ({"settings": {"sedes": 3}}, "did you mean 'seeds'"),
        ({"settings": 3}, "expected settings as a diagnosis.Settings or a dict; got a int"),
        ({"settings": SimpleNamespace(seeds=3)}, "got a SimpleNamespace"),
    ],
)
def test_settings_of_another_kind_are_refused_in_words(small, options, words):
    with pytest.raises(InputError, match=words):
        diagnosis.diagnose(function, small, init=initialize, **options)


def test_settings_and_thresholds_may_be_dicts():
    assert diagnosis.Settings(thresholds={"kernel_drift": 0.1}).thresholds == diagnosis.Thresholds(kernel_drift=0.1)
    assert diagnosis.Settings(thresholds={}) == SETTINGS
    settings = importlib.import_module("kernelregime.diagnosis.diagnose")._settings
    assert settings({"seeds": 3, "steps": 9}, {"seeds": 7}) == diagnosis.Settings(seeds=7, steps=9)
