"""Spectra of Gram matrices against closed forms and multiprecision."""

import math

import mpmath
import numpy as np
import pytest

from kernelregime._checks import InputError
from kernelregime.observables import spectrum


def test_a_block_kernel_has_its_three_eigenvalues():
    # C classes of m points, values (d, c, n): d-c, N-C times; d-c+m(c-n), C-1 times; and that plus N n, once
    classes, m, d, c, n = 4, 3, 5.0, 2.0, 0.5
    k = np.kron(np.eye(classes), np.full((m, m), c - n)) + n
    np.fill_diagonal(k, d)
    single = d - c
    between = single + m * (c - n)
    expected = [between + classes * m * n] + [between] * (classes - 1) + [single] * (classes * (m - 1))
    found = spectrum(k)
    np.testing.assert_allclose(found.eigenvalues, expected, rtol=1e-13)
    assert found.condition_number == pytest.approx(expected[0] / single, rel=1e-13)
    assert found.status == "positive definite"


def test_eigenvalues_and_condition_of_the_hilbert_matrix_are_those_of_multiprecision():
    size = 6
    with mpmath.workdps(40):
        exact = sorted((float(v) for v in mpmath.eigsy(mpmath.hilbert(size), eigvals_only=True)), reverse=True)
    found = spectrum([[1 / (i + j + 1) for j in range(size)] for i in range(size)])
    # an eigenvalue is right to ε λ_max, so the least one (1e-7 of the largest) to 1e-8
    np.testing.assert_allclose(found.eigenvalues, exact, rtol=0, atol=4e-16 * exact[0] * size)
    assert found.condition_number == pytest.approx(exact[0] / exact[-1], rel=1e-8)


@pytest.mark.parametrize("rank", [1, 3, 7])
def test_the_effective_rank_of_a_projection_is_its_rank(rank):
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((7, rank)))[0]
    assert spectrum(5 * basis @ basis.T).effective_rank == pytest.approx(rank, rel=1e-12)


def test_the_effective_rank_is_the_exponential_of_the_entropy():
    found = spectrum(np.diag([2.0, 1.0, 1.0]))
    assert found.effective_rank == pytest.approx(math.exp(0.5 * math.log(2) + 2 * 0.25 * math.log(4)), rel=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_gram_of_few_features_is_singular_to_rounding_in_its_own_precision(dtype):
    features = np.random.default_rng(0).standard_normal((30, 5)).astype(dtype)
    found = spectrum(features @ features.T)
    assert found.status == "singular to rounding"
    assert found.condition_number == math.inf
    assert abs(found.eigenvalues[-1]) <= found.tolerance
    assert found.eigenvalues[4] > 1e3 * found.tolerance


def test_a_negative_eigenvalue_beyond_rounding_is_reported_and_kept():
    found = spectrum(np.diag([1.0, 2.0, -1e-9]))
    assert found.status == "indefinite"
    assert found.condition_number == math.inf
    assert found.eigenvalues[-1] == -1e-9


def test_a_zero_gram_has_a_word_of_its_own():
    found = spectrum(np.zeros((3, 3)))
    assert (found.status, found.condition_number, found.effective_rank) == ("zero", math.inf, 0.0)


@pytest.mark.parametrize("gram", [np.ones((2, 3)), np.array([[1.0, 2.0], [0.0, 1.0]]), np.ones((2, 2, 2)), np.full((2, 2), np.nan)])
def test_what_is_no_gram_is_refused(gram):
    with pytest.raises(InputError, match=r"expected .*; got .*; "):
        spectrum(gram)
