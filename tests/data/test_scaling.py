"""Scalings: what they make of |x|²/d, and that test points do not enter them."""

import numpy as np
import pytest

from kernelregime import data
from kernelregime._checks import InputError
from kernelregime.data import SCALINGS


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    train, test = (rng.standard_normal((n, 6)) * [1, 2, 3, 40, 0.1, 1] + [0, 5, -3, 100, 0.2, 0.1] for n in (50, 20))
    train[:, 5] = 0.1  # constant on train, not on test
    return train, test


def test_standardized_features_have_mean_zero_and_deviation_one_unless_constant(pair):
    train, test = SCALINGS["standardize"](*pair)
    np.testing.assert_allclose(train.mean(0), 0, atol=1e-13)
    np.testing.assert_allclose(train.std(0), [1, 1, 1, 1, 1, 0], atol=1e-13)
    assert (test[:, 5] == 0).all()
    assert np.mean(train**2) == pytest.approx(5 / 6, rel=1e-13)


def test_unit_variance_keeps_ratios_between_features_and_makes_the_mean_square_one(pair):
    train, _ = SCALINGS["unit-variance"](*pair)
    np.testing.assert_allclose(train.mean(0), 0, atol=1e-13)
    assert np.mean((train**2).sum(1) / 6) == pytest.approx(1, rel=1e-13)
    np.testing.assert_allclose(train[:, 3].std() / train[:, 0].std(), pair[0][:, 3].std() / pair[0][:, 0].std(), rtol=1e-12)


def test_unit_norm_puts_every_row_on_the_sphere_of_radius_root_d_and_keeps_its_direction(pair):
    for before, after in zip(pair, SCALINGS["unit-norm"](*pair)):
        np.testing.assert_allclose((after**2).sum(1) / 6, 1, rtol=1e-14)
        np.testing.assert_allclose((before * after).sum(1), np.linalg.norm(before, axis=1) * np.sqrt(6), rtol=1e-13)


def test_unit_norm_neither_overflows_nor_vanishes():
    train, test = SCALINGS["unit-norm"](np.array([[1e200, -1e200]]), np.array([[1e-200, 1e-200]]))
    np.testing.assert_allclose([train[0], test[0]], [[1, -1], [1, 1]], rtol=1e-15)


@pytest.mark.parametrize("name", sorted(SCALINGS))
def test_scalings_are_fitted_on_train_alone(pair, name):
    train, test = pair
    alone, _ = SCALINGS[name](train, test)
    other, moved = SCALINGS[name](train, np.concatenate([test, 100 * test]))
    np.testing.assert_array_equal(alone, other)
    np.testing.assert_array_equal(moved[: len(test)], SCALINGS[name](train, test)[1])


@pytest.mark.parametrize("name", sorted(set(SCALINGS) - {"none"}))
def test_points_without_a_scale_are_refused(name):
    x = np.zeros((6, 3)) if name == "unit-norm" else np.full((6, 3), 0.1)
    with pytest.raises(InputError, match=r"expected inputs that .*; got .*; "):
        data.from_arrays(x, [0, 1] * 3, scaling=name)
