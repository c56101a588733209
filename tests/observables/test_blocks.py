"""Block means against their definition, pair by pair."""

import numpy as np
import pytest

from kernelregime._checks import InputError
from kernelregime.observables import block_means


def naive(theta, labels):
    """Equation (23) of Seleznova and Kutyniok 2022, read literally."""
    points, names = range(len(labels)), sorted(set(labels))
    diagonal = sum(theta[i, i] for i in points) / len(labels)
    same, other = [], []
    for name in names:
        inside = [i for i in points if labels[i] == name]
        outside = [i for i in points if labels[i] != name]
        if len(inside) > 1:
            same.append(sum(theta[i, j] for i in inside for j in inside if i != j) / (len(inside) * (len(inside) - 1)))
        other.append(sum(theta[i, j] for i in inside for j in outside) / (len(inside) * len(outside)))
    return diagonal, sum(same) / len(same), sum(other) / len(other)


@pytest.mark.parametrize("labels", [[0, 0, 1, 1, 2, 2], [2, 0, 1, 0, 0, 1], [5, 5, 5, 5, 5, 7], ["cat", "dog", "cat", "dog", "cat", "eel"]])
def test_block_means_are_those_of_the_definition(labels):
    theta = np.random.default_rng(0).standard_normal((6, 6))
    found = block_means(theta, labels)
    np.testing.assert_allclose([found.theta_d, found.theta_c, found.theta_n], naive(theta, labels), rtol=1e-13)


def test_block_means_of_a_block_kernel_are_its_three_values():
    labels = np.array([0, 1, 2, 0, 1, 2, 0, 0])
    theta = np.where(labels[:, None] == labels, 2.0, 0.5)
    np.fill_diagonal(theta, 3.0)
    found = block_means(theta, labels)
    np.testing.assert_allclose([found.theta_d, found.theta_c, found.theta_n], [3.0, 2.0, 0.5], rtol=1e-14)


def test_leading_axes_are_kept():
    stack = np.random.default_rng(1).standard_normal((4, 2, 5, 5))
    found = block_means(stack, [0, 1, 0, 1, 1])
    assert found.theta_c.shape == (4, 2)
    assert found.theta_n[3, 1] == pytest.approx(float(block_means(stack[3, 1], [0, 1, 0, 1, 1]).theta_n), rel=1e-14)


@pytest.mark.parametrize("labels", [[1, 1, 1], [0, 1, 2], [0, 1], [[0, 1, 1]]])
def test_labels_without_both_kinds_of_pairs_are_refused(labels):
    with pytest.raises(InputError, match=r"expected .*; got .*; give"):
        block_means(np.eye(3), labels)
