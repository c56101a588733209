"""What the advice says, against the numbers themselves."""

import math
import re

import numpy as np
import pytest

from kernelregime import infinite, networks, results, theory
from kernelregime.diagnosis import advice, phase


@pytest.fixture(scope="module")
def result(small, quick):
    return quick(small, depth=2, width=64, steps=60)


@pytest.fixture(scope="module")
def network(small):
    return networks.mlp(depth=2, width=64, outputs=small.y_train.shape[1], activation="relu", sigma_w2=2.0)


def sentence(result, start):
    [found] = [item.text for item in result.verdict.advice if item.text.startswith(start)]
    return found


def test_the_width_for_a_dispersion_is_the_least_whose_exact_dispersion_is_small_enough(result, small):
    target = 1 + result.thresholds["kernel_randomness"] ** 2
    width = int(re.search(r": (\d+) \(exact; this network has 64\)", sentence(result, "width for an NTK dispersion of 1.09"))[1])
    norm2 = float(np.mean(np.sum(small.x_train**2, axis=1)))

    def dispersion(n):
        return theory.ntk_moments((16, n, 1), sigma_w2=2.0, sigma_b2=None, parameterization="ntk", input_norm2=norm2).dispersion

    assert dispersion(width) <= target < dispersion(width - 1)


@pytest.mark.parametrize(
    ("key", "start", "power"),
    [("linearization_error", "width for a linearization error of 0.1", 2), ("drift", "width for a change of the NTK of 0.2", 1)],
)
def test_the_width_for_a_bound_follows_from_the_excess_by_the_law_that_is_named(result, key, start, power):
    bound = {"linearization_error": 0.1, "drift": 0.2}[key]
    excess = result[key].measured.mean / bound
    words = [item.text for item in result.verdict.advice if item.text.startswith(start)]
    if excess <= 1:
        assert words == []
    else:
        assert f"about {math.ceil(64 * excess**power)} " in words[0]
    assert result["linearization_error"].measured.mean > 0.1  # so that one of the two is there


def edge(**options):
    network = networks.mlp(depth=4, width=8, outputs=1, **options)
    return advice._edge(networks.describe(network))[0].text


def test_the_edge_of_chaos_is_named_with_the_side_the_network_is_on(result):
    assert results.Advice("σ_w² = 2 is at the edge of chaos (2)", satisfied=True) in result.verdict.advice
    # of tanh at σ_b² = 0.05 and 0.2, by Gauss–Hermite quadrature with 201 points
    assert "edge of chaos is 1.761 for tanh with σ_b² = 0.05; this network is below it" in edge(
        activation="tanh", sigma_w2=1.5, sigma_b2=0.05
    )
    assert "edge of chaos is 2.285 for tanh with σ_b² = 0.2; this network is above it" in edge(
        activation="tanh", sigma_w2=9.0, sigma_b2=0.2
    )


@pytest.mark.parametrize(("name", "weight"), [("gelu", "4"), ("silu", "4")])
def test_where_no_edge_exists_it_is_no_advice_and_it_is_said_with_the_phase(small, name, weight):
    spec = networks.describe(networks.mlp(depth=4, width=8, outputs=1, activation=name, sigma_w2=2.0))
    assert advice._edge(spec) == []
    words = phase.place(spec, small).none
    assert words.startswith(f"edge of chaos: {name} with σ_b² = 0 has none (χ₁ = 1 at σ_w² = {weight}, ")
    assert phase.place(networks.describe(networks.mlp(depth=4, width=8, outputs=1, activation="tanh")), small).none is None


def test_the_stable_rate_is_two_over_the_largest_eigenvalue_and_the_used_one_half_of_it(result):
    words = sentence(result, "largest stable learning rate")
    stable, lowest, highest, used = map(float, re.search(r": (\S+) \(median of 5 seeds, (\S+) to (\S+)\); used: (\S+)", words).groups())
    rates = 2 * np.array(result.config["training"]["learning_rate"])
    np.testing.assert_allclose([stable, lowest, highest], [np.median(rates), rates.min(), rates.max()], rtol=5e-3)  # three digits
    assert used == pytest.approx(stable / 2, rel=5e-3)


def test_the_time_is_the_first_step_of_descent_with_the_infinite_width_kernel_at_the_goal(result, network, small):
    words = sentence(result, "steps in which the infinite-width NTK brings the loss on the targets to 0.1")
    steps, used = map(int, re.search(r": (\d+) at learning rate .* \(used: (\d+)\)", words).groups())
    gram = infinite.gram(network, small.x_train, dtype="float64").ntk
    rate, left = float(np.median(result.config["training"]["learning_rate"])), [small.y_train]
    for _ in range(steps):
        left.append(left[-1] - rate * gram @ left[-1])
    losses = [np.sum(value**2) for value in left]
    assert losses[-1] <= 0.1 * losses[0] < losses[-2]
    assert used == np.median(result.config["training"]["steps_taken"])
