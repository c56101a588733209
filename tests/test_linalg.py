import re

import numpy as np
import pytest

from kernelregime import _linalg
from kernelregime._checks import InputError
from kernelregime._linalg import eigen, product


def features_gram(rows, features, *, seed=0, dtype=np.float64):
    features = np.random.default_rng(seed).normal(size=(rows, features))
    return (features @ features.T / features.shape[1]).astype(dtype)


def test_eigenvalues_of_a_circulant_matrix_are_the_fourier_transform_of_its_first_row():
    row = np.exp(-np.minimum(np.arange(12), 12 - np.arange(12)) / 2.0)
    gram = np.array([np.roll(row, k) for k in range(12)])
    assert np.abs(eigen(gram).values - np.sort(np.fft.fft(row).real)).max() < 1e-14


def test_vectors_are_orthonormal_and_rebuild_the_matrix():
    gram = features_gram(30, 60)
    spectrum = eigen(gram)
    assert np.abs(spectrum.vectors.T @ spectrum.vectors - np.eye(30)).max() < 1e-14
    assert np.abs(spectrum.matrix() - gram).max() < 1e-14


def test_a_definite_matrix_says_so_with_its_condition_number():
    spectrum = eigen(np.diag([1.0, 4.0, 8.0]))
    assert spectrum.status == "positive definite: condition number 8"
    assert (spectrum.kind, spectrum.rank, spectrum.size) == ("positive definite", 3, 3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("rows", "features"), [(9, 5), (200, 30), (2, 1)])
def test_the_rank_of_a_gram_of_few_features_is_their_number(rows, features, dtype):
    spectrum = eigen(features_gram(rows, features, dtype=dtype))
    assert spectrum.rank == features
    assert spectrum.kind == "singular"
    assert spectrum.status.startswith(f"singular to rounding: numerical rank {features} of {rows}")
    assert spectrum.null.sum() == rows - features


def test_a_negative_eigenvalue_within_rounding_is_zero_and_said_to_be():
    vectors = np.linalg.qr(np.random.default_rng(1).normal(size=(50, 50)))[0]
    values = np.concatenate([[-40 * 2.0**-52], np.linspace(0.5, 1, 49)])
    spectrum = eigen((vectors * values) @ vectors.T)
    assert spectrum.values[0] == 0
    assert spectrum.status.startswith("singular to rounding: numerical rank 49 of 50")
    assert re.search(r"the least -\de?.*, are treated as zero", spectrum.status)


def test_a_negative_eigenvalue_beyond_rounding_is_kept_and_reported_with_causes():
    spectrum = eigen(np.diag([-0.239, 0.0, 1.0]))
    assert spectrum.kind == "indefinite"
    assert spectrum.status.startswith("indefinite: least eigenvalue -0.239 is beyond rounding")
    assert "likely causes" in spectrum.status
    assert spectrum.values.tolist() == [-0.239, 0.0, 1.0]


def test_a_float32_gram_decomposed_in_float64_keeps_the_rounding_error_of_its_entries():
    gram = features_gram(40, 20, dtype=np.float32)
    spectrum = eigen(gram, dtype="float64")
    assert spectrum.values.dtype == np.float64
    assert (spectrum.kind, spectrum.rank) == ("singular", 20)
    exact = eigen(gram.astype(np.float64))
    assert exact.kind == "indefinite" or exact.rank > 20


@pytest.mark.parametrize("half", [np.float16, "bfloat16"])
def test_a_half_precision_gram_is_decomposed_in_float32_with_its_own_rounding(half):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    kind = ml_dtypes.bfloat16 if half == "bfloat16" else half
    spectrum = eigen(features_gram(40, 20).astype(kind))
    assert spectrum.values.dtype == np.float32
    assert spectrum.rounding == (2.0**-7 if half == "bfloat16" else 2.0**-10)
    assert spectrum.kind == "singular"


def test_a_small_eigenvalue_that_float32_can_tell_from_zero_survives():
    # λ_min = 2e-5·λ_max is below N·ε of float32 for N = 300 (3.6e-5) but far above the error of about ε.
    values = np.concatenate([np.full(299, 2e-5), [1.0]])
    vectors = np.linalg.qr(np.random.default_rng(2).normal(size=(300, 300)))[0]
    spectrum = eigen(((vectors * values) @ vectors.T).astype(np.float32))
    assert spectrum.kind == "positive definite"
    assert np.abs(spectrum.values[0] / 2e-5 - 1) < 4 * 2.0**-23 / 2e-5


def test_the_zero_matrix_has_rank_zero():
    assert (eigen(np.zeros((3, 3))).rank, eigen(np.zeros((3, 3))).kind) == (0, "singular")


def test_rounding_asymmetry_is_averaged_away_and_said():
    gram = features_gram(5, 9)
    tilted = gram.copy()
    tilted[0, 1] += 1e-10
    spectrum = eigen(tilted)
    assert "gram was symmetrized (asymmetry" in spectrum.status
    assert np.abs(spectrum.matrix()[0, 1] - gram[0, 1] - 5e-11) < 1e-14


def test_the_matrix_given_is_not_changed():
    gram = features_gram(6, 9)
    kept = gram.copy()
    eigen(gram)
    assert (gram == kept).all()


@pytest.mark.parametrize(
    ("gram", "message"),
    [
        ([[1.0, 0.5], [0.4, 1.0]], "expected gram to be symmetric"),
        ([[1.0, 0.5, 0.1], [0.5, 1.0, 0.2]], "expected gram to be a square matrix"),
        ([[1.0, np.nan], [np.nan, 1.0]], "expected gram to be finite"),
        ([1.0, 2.0], "expected gram to be 2-dimensional"),
        (np.zeros((0, 0)), "expected gram to hold at least one value"),
    ],
)
def test_a_matrix_that_cannot_be_decomposed_is_refused(gram, message):
    with pytest.raises(InputError, match=message):
        eigen(gram)


def test_asymmetry_is_found_in_any_block_of_a_large_matrix():
    gram = np.eye(1100)
    gram[1090, 3] = 0.1
    with pytest.raises(InputError, match="symmetric"):
        eigen(gram)


def test_an_unknown_precision_is_refused():
    with pytest.raises(InputError, match="float32 or float64"):
        eigen(np.eye(2), dtype="float16")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_products_are_those_of_small_ones_in_the_same_precision(dtype, monkeypatch):
    a, b = (np.random.default_rng(seed).normal(size=(40, 40)).astype(dtype) for seed in (0, 1))
    expected = product(a, b)
    np.testing.assert_array_equal(expected, a @ b)
    monkeypatch.setattr(_linalg, "LARGE", 0)
    found = product(a, b)
    assert found.dtype == dtype
    assert np.abs(found - expected).max() <= 40 * np.finfo(dtype).eps * (np.abs(a) @ np.abs(b)).max()
