"""Kernel-target alignment against its definition."""

import numpy as np
import pytest

from kernelregime._checks import InputError
from kernelregime.observables import alignment


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def gram(rng, n, rank=None):
    features = rng.standard_normal((n, rank or n))
    return features @ features.T


def cosine(a, b):
    """The definition, entry by entry."""
    pairs = [(float(u), float(v)) for u, v in zip(a.ravel(), b.ravel())]
    return sum(u * v for u, v in pairs) / np.sqrt(sum(u * u for u, _ in pairs) * sum(v * v for _, v in pairs))


def test_alignment_is_the_cosine_of_the_gram_and_the_ideal_gram(rng):
    k, y = gram(rng, 7), rng.standard_normal((7, 3))
    assert alignment(k, y) == pytest.approx(cosine(k, y @ y.T), rel=1e-13)


def test_centred_alignment_is_the_cosine_of_the_centred_matrices(rng):
    k, y = gram(rng, 7), rng.standard_normal((7, 3)) + 2
    h = np.eye(7) - 1 / 7
    assert alignment(k, y, centred=True) == pytest.approx(cosine(h @ k @ h, h @ y @ y.T @ h), rel=1e-13)


def test_alignment_is_one_for_the_ideal_gram_whatever_its_scale(rng):
    y = rng.standard_normal((6, 2))
    assert alignment(1e-3 * y @ y.T, y) == pytest.approx(1.0, rel=1e-14)


def test_alignment_of_the_identity_with_c_balanced_classes_is_one_over_the_root_of_points_per_class():
    # <I, YYᵀ> = N, |I| = √N, |YYᵀ| = √(C m²) with N = C m: A = √(1/m)
    one_hot = np.repeat(np.eye(4), 9, axis=0)
    assert alignment(np.eye(36), one_hot) == pytest.approx(1 / 3, rel=1e-14)


def test_centred_alignment_ignores_constants_in_gram_and_targets(rng):
    k, y = gram(rng, 8), rng.standard_normal((8, 2))
    assert alignment(k + 5, y + 3, centred=True) == pytest.approx(float(alignment(k, y, centred=True)), rel=1e-12)


def test_leading_axes_are_kept(rng):
    stack = np.stack([[gram(rng, 5) for _ in range(3)] for _ in range(2)])
    y = rng.standard_normal(5)
    found = alignment(stack, y)
    assert found.shape == (2, 3)
    assert found[1, 2] == pytest.approx(float(alignment(stack[1, 2], y)), rel=1e-14)


@pytest.mark.parametrize(("gram", "centred"), [(np.zeros((4, 4)), False), (np.full((4, 4), 0.3), True)])
def test_alignment_of_a_zero_gram_is_nan_and_of_its_neighbours_is_not(gram, centred):
    found = alignment(np.stack([gram, np.eye(4)]), np.arange(4.0), centred=centred)
    np.testing.assert_array_equal(np.isnan(found), [True, False])


@pytest.mark.parametrize(
    ("gram", "targets", "centred", "message"),
    [
        (np.zeros((3, 4)), np.ones(3), False, "square"),
        (np.eye(3), np.ones(4), False, "3 rows"),
        (np.eye(3), np.zeros(3), False, "not zero; got"),
        (np.eye(3), np.full(3, 0.1), True, "not zero after centring"),
        (np.full((3, 3), np.nan), np.ones(3), False, "finite"),
    ],
)
def test_what_has_no_alignment_is_refused_in_one_line(gram, targets, centred, message):
    with pytest.raises(InputError, match=message) as caught:
        alignment(gram, targets, centred=centred)
    assert "\n" not in str(caught.value)
