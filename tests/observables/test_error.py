"""Errors of outputs: definitions, codings, and the law of z-scores."""

import numpy as np
import pytest

from kernelregime._checks import InputError
from kernelregime.observables import classification_error, mean_squared_error, zscores


def test_zscores_of_draws_from_the_prediction_are_standard_normal():
    rng = np.random.default_rng(5)
    mean, std = rng.standard_normal((50, 3)), rng.uniform(0.1, 4.0, 50)
    z = zscores(mean + std[:, None] * rng.standard_normal((40, 50, 3)), mean, std)
    n = z.size
    assert abs(z.mean()) < 4 / np.sqrt(n)
    assert abs((z**2).mean() - 1) < 4 * np.sqrt(2 / n)


def test_zscores_are_differences_over_deviations():
    z = zscores(np.array([[[3.0, 1.0]], [[0.0, -1.0]]]), np.array([[1.0, 1.0]]), np.array([2.0]))
    np.testing.assert_array_equal(z, [[[1.0, 0.0]], [[-0.5, -1.0]]])


def test_zscores_without_deviation_are_infinite_or_nan():
    z = zscores(np.array([[[1.0, 2.0]]]), np.array([[1.0, 1.0]]), np.array([0.0]))
    np.testing.assert_array_equal(z, [[[np.nan, np.inf]]])


def test_classification_error_counts_points_whose_largest_output_is_not_their_class():
    rng = np.random.default_rng(0)
    outputs, labels = rng.standard_normal((4, 20, 3)), rng.integers(0, 3, 20)
    expected = [sum(max(range(3), key=lambda c: seed[m, c]) != labels[m] for m in range(20)) / 20 for seed in outputs]
    np.testing.assert_allclose(classification_error(outputs, labels), expected, rtol=1e-15)


@pytest.mark.parametrize("code", [lambda hot: hot, lambda hot: hot - 1 / 4, lambda hot: 2 * hot - 1])
def test_every_coding_of_the_classes_gives_the_error_of_the_labels(code):
    rng = np.random.default_rng(1)
    outputs, labels = rng.standard_normal((30, 4)), rng.integers(0, 4, 30)
    assert classification_error(outputs, code(np.eye(4)[labels])) == classification_error(outputs, labels)


def test_with_one_output_its_sign_is_the_class():
    outputs = np.array([[0.2], [-3.0], [1.0], [-0.1]])
    labels = np.array([1, 0, 0, 1])
    assert classification_error(outputs, labels) == 0.5
    assert classification_error(outputs, 2.0 * labels[:, None] - 1) == 0.5


@pytest.mark.parametrize("outputs", [np.zeros((5, 3)), np.zeros((5, 1))])
def test_a_function_that_says_nothing_is_always_wrong(outputs):
    assert classification_error(outputs, np.zeros(5, int)) == 1.0


def test_mean_squared_error_is_the_mean_over_points_and_outputs():
    f, y = np.random.default_rng(2).standard_normal((3, 4, 2)), np.random.default_rng(3).standard_normal((4, 2))
    expected = [sum((f[s, m, o] - y[m, o]) ** 2 for m in range(4) for o in range(2)) / 8 for s in range(3)]
    np.testing.assert_allclose(mean_squared_error(f, y), expected, rtol=1e-14)


@pytest.mark.parametrize(
    "call",
    [
        lambda: zscores(np.ones((2, 3, 1)), np.ones((3, 2)), np.ones(3)),
        lambda: zscores(np.ones((2, 3, 1)), np.ones((3, 1)), -np.ones(3)),
        lambda: classification_error(np.ones((3, 2)), np.array([0, 1, 2])),
        lambda: classification_error(np.ones((3, 2)), np.array([0, 1, 0.5])),
        lambda: classification_error(np.ones((3, 2)), np.ones((3, 3))),
        lambda: classification_error(np.ones((3, 2)), np.ones(4)),
        lambda: mean_squared_error(np.ones((3, 2)), np.ones((3, 1))),
        lambda: mean_squared_error(np.ones(3), np.ones((3, 1))),
        lambda: mean_squared_error(np.array([[np.nan]]), np.ones((1, 1))),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(call):
    with pytest.raises(InputError, match=r"expected .*; got .*; ") as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("columns", "words"), [(1, "targets with 1 column, as"), (2, "targets with 2 columns, as")])
def test_the_columns_expected_are_counted(columns, words):
    with pytest.raises(InputError, match=words):
        classification_error(np.ones((3, columns)), np.ones((3, 3)))
