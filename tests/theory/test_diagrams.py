import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from theory_references import hard_tanh

from kernelregime._checks import InputError
from kernelregime.theory import edge_of_chaos, phase, phase_diagram

WEIGHTS = np.array([0.2, 1.0, 2.0, 5.0])
BIASES = np.array([0.0, 1e-3, 2.0])


@pytest.mark.parametrize("q1", [0.5, 20.0])
@pytest.mark.parametrize("phi", ["tanh", "relu", jax.nn.gelu, hard_tanh(), jnp.cos])
def test_the_diagram_agrees_with_the_phase_at_every_point(phi, q1):
    found = phase_diagram(phi, WEIGHTS, BIASES, q1=q1)
    points = [[phase(phi, sigma_w2=w, sigma_b2=b, q1=q1) for b in BIASES] for w in WEIGHTS]
    np.testing.assert_allclose(found.q_star, [[p.q_star for p in row] for row in points], rtol=1e-9)
    np.testing.assert_allclose(found.chi1, [[p.chi1 for p in row] for row in points], rtol=1e-9)


def test_the_level_line_of_chi_is_the_edge_of_chaos():
    (edge,) = edge_of_chaos("tanh", sigma_b2=0.2)
    chi1, _ = phase_diagram("tanh", [edge * 0.999, edge, edge * 1.001], [0.2])
    assert chi1[0, 0] < 1 < chi1[2, 0]
    np.testing.assert_allclose(chi1[1, 0], 1, rtol=1e-12)


def test_a_grid_of_four_thousand_points_is_solved_to_a_fixed_point_everywhere():
    weights, biases = np.linspace(0.1, 6, 80), np.linspace(0, 2, 50)
    found = phase_diagram("tanh", weights, biases)
    assert found.chi1.shape == found.q_star.shape == (80, 50)
    # the trapezoidal rule on the line, 801 nodes
    z = np.linspace(-13, 13, 801)
    square = np.tanh(np.sqrt(found.q_star)[..., None] * z) ** 2 @ (np.exp(-z * z / 2) / np.sum(np.exp(-z * z / 2)))
    np.testing.assert_allclose(weights[:, None] * square + biases, found.q_star, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("weights", "biases"), [([-1.0], [0.0]), ([1.0], [math.nan]), ([], [0.0]), ([[1.0]], [0.0])])
def test_bad_grids_are_refused(weights, biases):
    with pytest.raises(InputError):
        phase_diagram("tanh", weights, biases)
