import math
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from theory_references import sampled_ntk

from kernelregime._checks import InputError
from kernelregime.theory import dispersion_estimate, ntk_moments, sample_ntk, simulated_dispersion
from kernelregime.theory.sampler import BLOCK

FOUR_SEM = 6.3e-5  # probability beyond four standard deviations of a normal law
CASES = {
    "ntk": {"parameterization": "ntk"},
    "standard": {"parameterization": "standard"},
    "standard, zero biases": {"parameterization": "standard", "sigma_b2": 0.0},
}
WIDTHS = [(4, 3, 1), (3, 4, 5, 1), (5, 8, 3, 6, 1), (8, 7, 6, 5, 4, 1), (4, 3, 3, 3, 3, 3, 1), (2, 2, 2, 1)]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("widths", WIDTHS)
def test_draws_have_the_law_of_dense_networks(widths, case):
    standard, biases, n = case != "ntk", "biases" in case, 30_000
    dense = sampled_ntk(widths, 1.7, n, standard=standard, biases=biases, seed=1)
    drawn = sample_ntk(widths, sigma_w2=1.7, draws=n, seed=2, **CASES[case]).theta
    assert stats.ks_2samp(np.round(dense, 12), np.round(drawn, 12)).pvalue >= FOUR_SEM
    for power in (0.5, 1, 2):
        sem = math.hypot(np.std(dense**power, ddof=1), np.std(drawn**power, ddof=1)) / math.sqrt(n)
        assert abs(np.mean(dense**power) - np.mean(drawn**power)) <= 4 * sem


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("widths", WIDTHS)
def test_means_of_draws_agree_with_the_exact_moments(widths, case):
    exact = ntk_moments(widths, sigma_w2=2.4, input_norm2=1.7, **CASES[case])
    theta = sample_ntk(widths, sigma_w2=2.4, input_norm2=1.7, draws=100_000, seed=3, **CASES[case]).theta
    for power, moment in ((1, exact.mean), (2, exact.second)):
        assert abs(np.mean(theta**power) - moment) <= 4 * np.std(theta**power, ddof=1) / math.sqrt(theta.size)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("sigma_w2", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("widths", [*WIDTHS, (10, *[40] * 40, 1), (30, *[20] * 60, 1), (3, 50, 5, 50, 5, 1), (7, 1)])
def test_the_simulated_dispersion_agrees_with_the_exact_one(widths, sigma_w2, case):
    found = simulated_dispersion(widths, sigma_w2=sigma_w2, draws=4000, seed=4, **CASES[case])
    exact = ntk_moments(widths, sigma_w2=sigma_w2, **CASES[case]).dispersion
    assert found.reliable
    assert abs(found.mean - exact) <= 4 * found.sem + 1e-12 * exact
    assert found.sem <= 0.03 * exact


def test_a_network_as_deep_as_wide_has_a_dispersion_that_plain_draws_miss_and_weighted_ones_do_not():
    widths, exact = (50,) * 50 + (1,), ntk_moments((50,) * 50 + (1,), sigma_w2=2.0).dispersion
    plain = dispersion_estimate(sample_ntk(widths, sigma_w2=2.0, draws=5000, seed=0).log_theta, logarithms=True)
    weighted = simulated_dispersion(widths, sigma_w2=2.0, draws=5000, seed=0)
    assert not plain.reliable
    assert weighted.reliable
    assert weighted.sem < 0.01 * weighted.mean
    assert abs(weighted.mean - exact) <= 4 * weighted.sem


@pytest.mark.parametrize("block", [50, 1000])
def test_blocks_are_independent_and_of_one_law(block, monkeypatch):
    monkeypatch.setattr("kernelregime.theory.sampler.BLOCK", block)
    sample = sample_ntk((3, 4, 5, 1), sigma_w2=2.0, draws=3000, seed=1)
    assert sample.draws == 3000
    assert len(np.unique(sample.log_theta[np.isfinite(sample.log_theta)])) == np.isfinite(sample.log_theta).sum()
    assert stats.ks_2samp(sample.theta, sample_ntk((3, 4, 5, 1), sigma_w2=2.0, draws=BLOCK, seed=2).theta).pvalue >= FOUR_SEM


def test_the_seed_fixes_the_draws():
    first, again, other = (sample_ntk((4, 9, 9, 1), sigma_w2=2.0, draws=50, seed=seed).log_theta for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.isin(first, other).any()


def test_without_biases_variance_and_input_change_the_scale_alone():
    one, other = (
        sample_ntk((4, 30, 30, 1), sigma_w2=weight, input_norm2=norm, draws=40, seed=0).log_theta for weight, norm in ((2, 1), (8, 3))
    )
    np.testing.assert_allclose(other - one, 3 * math.log(4) + math.log(3), rtol=1e-12)


def test_a_layer_without_active_units_silences_all_weights_and_all_biases_but_the_last():
    widths, n = (2, 1, 1, 1), 20_000
    dead = np.isneginf(sample_ntk(widths, sigma_w2=2.0, draws=n, seed=0).log_theta)
    assert abs(dead.mean() - 3 / 4) <= 4 * math.sqrt(3 / 16 / n)
    with_biases = sample_ntk(widths, sigma_w2=2.0, sigma_b2=0, parameterization="standard", draws=n, seed=0).theta
    np.testing.assert_array_equal(with_biases[dead], 1.0)
    assert (with_biases[~dead] > 1).all()


def test_a_hundred_deep_layers_of_ten_thousand_stay_finite_in_logarithms():
    sample = sample_ntk((100,) * 10_000 + (1,), sigma_w2=5.0, draws=5, seed=0)
    assert np.isfinite(sample.log_theta).all()
    assert (sample.theta == np.inf).all()
    # E log χ² falls short of log E χ² by about 5/2n a layer
    gap = sample.log_theta.mean() / 10_000 - math.log(2.5)
    assert -0.035 < gap < -0.015


def test_the_table_of_the_documentation_is_what_the_code_gives():
    page = (Path(__file__).parents[2] / "docs" / "dispersion.md").read_text()
    cells = re.search(r"^\| 0\.25 \|(.*)\|$", page, re.MULTILINE).group(1).split("|")
    found = simulated_dispersion((100,) * 25 + (1,), sigma_w2=2.0, draws=100_000, seed=0)
    assert f"{found.mean:.4f} ± {found.sem:.4f}" == cells[2].strip()
    assert f"{ntk_moments((100,) * 25 + (1,), sigma_w2=2.0).dispersion:.4f}" == cells[3].strip()


@pytest.mark.parametrize("call", [
    lambda: sample_ntk((4, 8, 1), sigma_w2=2.0, draws=0, seed=0),
    lambda: sample_ntk((4, 8, 1), sigma_w2=2.0, draws=3, seed=-1),
    lambda: sample_ntk((4, 8, 1), sigma_w2=2.0, sigma_b2=0.1, draws=3, seed=0),
    lambda: sample_ntk((4, 8, 1), sigma_w2=2.0, activation="tanh", draws=3, seed=0),
    lambda: sample_ntk((4,), sigma_w2=2.0, draws=3, seed=0),
    lambda: simulated_dispersion((4, 8, 1), sigma_w2=2.0, draws=1, seed=0),
    lambda: simulated_dispersion((4, 8, 1), sigma_w2=-2.0, draws=10, seed=0),
])  # fmt: skip
def test_bad_input_is_refused_with_one_line(call):
    with pytest.raises(InputError, match=r"expected .*; got .*; .*"):
        call()
