"""Whole steps of descent with a constant kernel, against loops and matrices."""

import numpy as np
import pytest

from kernelregime import prediction
from kernelregime.diagnosis import pace

RNG = np.random.default_rng(0)
ROOT = RNG.standard_normal((6, 6))
GRAM = ROOT @ ROOT.T
LARGEST = np.linalg.eigvalsh(GRAM)[-1]
START = RNG.standard_normal((6, 2))  # f_0 - y


def losses(gram, start, rate, steps):
    """Σ (f_n - y)² after 0, ..., steps steps of f - y ← (I - ηΘ)(f - y)."""
    out, left = [], start.reshape(len(gram), -1)
    for _ in range(steps + 1):
        out.append(np.sum(left**2))
        left = left - rate * gram @ left
    return np.array(out)


@pytest.mark.parametrize("fraction", [0.9, 0.3, 0.05, 0.01])
@pytest.mark.parametrize("rate", [0.2 / LARGEST, 1.0 / LARGEST, 1.9 / LARGEST])
def test_the_steps_to_a_fraction_are_those_of_a_naive_loop(fraction, rate):
    spectrum = prediction.eigen(GRAM)
    steps = pace.steps_to(fraction, pace.energies(spectrum, START), pace.factors(spectrum.values, rate))
    path = losses(GRAM, START, rate, int(steps))
    assert path[-1] <= fraction * path[0] < path[-2]


def test_a_kernel_of_all_outputs_takes_the_steps_of_its_own_loop():
    root = RNG.standard_normal((12, 12))
    gram = root @ root.T
    rate = 1 / np.linalg.eigvalsh(gram)[-1]
    spectrum = prediction.eigen(gram)
    steps = pace.steps_to(0.2, pace.energies(spectrum, START), pace.factors(spectrum.values, rate))
    path = losses(gram, START, rate, int(steps))
    assert path[-1] <= 0.2 * path[0] < path[-2]


def test_what_lies_in_modes_of_zero_eigenvalue_is_never_learned():
    half = prediction.eigen(np.diag([1.0, 1.0, 0.0]))
    energy, left = pace.energies(half, np.array([[1.0], [1.0], [1.0]])), pace.factors(half.values, 1.0)
    assert pace.steps_to(0.34, energy, left) == 1
    assert pace.steps_to(0.33, energy, left) == np.inf
    assert pace.steps_to(1.0, energy, np.ones(3)) == 0


@pytest.mark.parametrize("excess", [1.01, 1.3, 3.0])
def test_an_unstable_linearization_explodes_at_the_step_of_a_naive_loop(excess):
    spectrum, rate = prediction.eigen(GRAM), 2 * excess / LARGEST
    steps = pace.steps_beyond(1e6, pace.energies(spectrum, START), pace.factors(spectrum.values, rate))
    path = losses(GRAM, START, rate, int(steps))
    assert path[-1] > 1e6 * path[0] >= path[-2]
    stable = pace.factors(spectrum.values, 1.99 / LARGEST)
    assert pace.steps_beyond(1e6, pace.energies(spectrum, START), stable) == np.inf


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_the_factor_of_a_mode_is_the_spectral_radius_of_its_step_and_reaches_one_at_the_largest_stable_rate(momentum):
    values = np.array([0.0, 0.01, 0.3, 1.0, 2.0])
    for rate in (0.1, 0.9, 1.3):
        steps = [np.array([[1 + momentum - rate * value, -momentum], [1.0, 0.0]]) for value in values]
        expected = [np.max(np.abs(np.linalg.eigvals(step))) for step in steps]
        np.testing.assert_allclose(pace.factors(values, rate, momentum), expected, rtol=1e-7)  # double roots
    largest = prediction.max_learning_rate(np.diag(values), momentum=momentum)
    assert pace.factors(values, 0.999 * largest, momentum)[-1] < 1 < pace.factors(values, 1.001 * largest, momentum)[-1]
