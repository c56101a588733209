import numpy as np
import pytest

from kernelregime._checks import InputError
from kernelregime._linalg import eigen
from kernelregime.prediction.problem import flatten, pose, project, variances


def test_a_kernel_of_four_axes_is_flattened_point_by_point():
    kernel = np.arange(2 * 3 * 2 * 2).reshape(2, 3, 2, 2)
    flat = flatten("gram", kernel)
    assert flat.shape == (4, 6)
    assert all(flat[i * 2 + a, j * 2 + b] == kernel[i, j, a, b] for i in range(2) for j in range(3) for a in range(2) for b in range(2))


def test_the_residual_by_mode_keeps_its_energy():
    rng = np.random.default_rng(0)
    factor, targets, initial = rng.normal(size=(5, 9)), rng.normal(size=(5, 2)), rng.normal(size=(5, 2))
    residual = pose(factor @ factor.T, targets, initial).residual
    assert abs(np.sum(residual**2) - np.sum((targets - initial) ** 2)) < 1e-12


def test_a_coupled_kernel_is_posed_with_one_column():
    problem = pose(np.einsum("ij,ab->ijab", np.eye(3), np.eye(2)), np.arange(6).reshape(3, 2))
    assert problem.coupled
    assert problem.targets[:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert problem.unfold(problem.targets[None])[0].tolist() == [[0, 1], [2, 3], [4, 5]]


def test_rounding_on_null_modes_is_removed_and_weight_is_kept():
    spectrum = eigen(np.ones((2, 2)))
    modes, notes = project(np.array([[1.0, 1.0 + 2e-16]]), spectrum, ridge=0.0)
    assert modes[0, 0] == 0
    assert notes == ()
    modes, notes = project(np.array([[1.0, 0.9]]), spectrum, ridge=0.0)
    assert abs(abs(modes[0, 0]) - 0.1 / np.sqrt(2)) < 1e-15
    assert "weight on 1 modes of zero eigenvalue" in notes[0]


def test_only_rounding_below_zero_is_removed_from_variances():
    out, notes = variances(np.array([1.0, -1e-16, -1e-3]), np.ones(3), 1e-15)
    assert out.tolist() == [1.0, 0.0, -1e-3]
    assert len(notes) == 2


def test_a_gram_of_three_axes_is_refused():
    with pytest.raises(InputError, match="gram to be 2-dimensional or 4-dimensional"):
        pose(np.zeros((3, 3, 2)), np.zeros((3, 2)))
