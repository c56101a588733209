import numpy as np
import pytest
from problems import MEMORY, X, problem

from kernelregime import grams
from kernelregime._checks import InputError
from kernelregime.grams import conditioning

RNG = np.random.default_rng(0)


def gram(values):
    basis = np.linalg.qr(RNG.normal(size=(len(values), len(values))))[0]
    matrix = (basis * values) @ basis.T
    return (matrix + matrix.T) / 2


def test_the_ends_of_the_spectrum_are_compared_with_rounding():
    found = conditioning(gram(np.array([1e-3, 1.0, 2.0, 10.0])))
    assert found.whole
    np.testing.assert_allclose([found.least, found.largest, found.rounding], [1e-3, 10.0, 4 * 2.0**-52 * 10], rtol=1e-10)
    assert (found.below, found.negative) == (0, 0)
    assert found.status == "positive definite: condition number 1e+04"


def test_eigenvalues_below_rounding_are_counted_and_said():
    found = conditioning(X @ X.T)  # 21 points in 3 dimensions
    assert (found.below, found.negative) == (18, 0)
    assert found.status.startswith("singular to rounding: numerical rank 3 of 21")


def test_a_matrix_that_is_no_kernel_is_said_to_be_none():
    found = conditioning(gram(np.array([-0.1, 1.0, 2.0])))
    assert (found.below, found.negative) == (0, 1)
    assert found.status.startswith("indefinite: least eigenvalue -0.1")


def test_the_rounding_is_that_of_the_entries_as_given():
    matrix = gram(np.array([1e-9, 1.0, 1.0, 4.0]))
    assert conditioning(matrix).below == 0
    assert conditioning(matrix.astype(np.float32)).below == 1


def test_of_a_large_matrix_a_sample_bounds_the_least_and_powers_bound_the_largest():
    points = RNG.normal(size=(300, 400)) + 1
    matrix = points @ points.T
    values = np.linalg.eigvalsh(matrix)
    found = conditioning(matrix, points=50)
    assert (found.points, found.sample, found.whole) == (300, 50, False)
    assert values[0] <= found.least <= values[250]
    np.testing.assert_allclose(found.largest, values[-1], rtol=1e-4)
    assert found.largest <= values[-1] * (1 + 1e-14)
    assert found.status.startswith("of 50 of 300 points: positive definite")
    assert "an eigenvalue of the whole is at most" in found.status


def test_a_negative_eigenvalue_of_a_part_is_one_of_the_whole():
    matrix = np.eye(40)
    matrix[:, :] += np.where(np.eye(40, k=1) + np.eye(40, k=-1) > 0, -0.9, 0)
    found = conditioning(matrix, points=39)
    assert found.negative > 0
    assert "so is the whole" in found.status


def test_a_stored_matrix_is_read_in_its_own_blocks(tmp_path):
    stored = grams.assemble(problem(), memory=MEMORY, store=tmp_path / "k.zarr").matrices["ntk"]
    assert conditioning(stored) == conditioning(2 * X @ X.T)
    found, here = (conditioning(matrix, points=9) for matrix in (stored, 2 * X @ X.T))
    assert (found.least, found.sample) == (here.least, here.sample)
    np.testing.assert_allclose(found.largest, here.largest, rtol=1e-14)


@pytest.mark.parametrize("bad", [np.ones((2, 3)), np.ones(3), np.array([[1.0, np.nan], [np.nan, 1.0]]), np.array([[1.0, 2.0], [0.0, 1.0]])])
def test_what_is_no_symmetric_matrix_is_refused(bad):
    with pytest.raises(InputError):
        conditioning(bad)
