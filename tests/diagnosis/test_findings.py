"""Means over seeds of positive quantities, whose tail may be heavy."""

import math

import numpy as np

from kernelregime.claims import Claim, Estimate
from kernelregime.diagnosis.findings import positive


def test_a_mean_that_one_seed_carries_has_no_standard_error_and_decides_nothing():
    few = np.array([0.002, 0.004, 0.001, 0.9, 0.003])
    mean, caution = positive(few)
    assert mean.mean == Estimate.of(few).mean
    assert math.isnan(mean.sem)
    assert "1.0 of 5 seeds carry the mean" in caution
    assert Claim("", "", 100.0, mean).verdict == "inconclusive"
    assert Claim("", "", 100.0, Estimate.of(few)).verdict == "fails"  # what would be said without the caution


def test_a_mean_that_all_seeds_carry_is_an_ordinary_estimate():
    even = np.array([0.9, 1.1, 1.3, 0.8, 1.0])
    assert positive(even) == (Estimate.of(even), "")


def test_two_seeds_and_zeros_are_taken_as_they_are():
    for values in (np.array([1.0, 1e-9]), np.zeros(5)):
        assert positive(values) == (Estimate.of(values), "")


def test_heavy_tailed_quantities_that_agree_seldom_seem_to_differ():
    # log-normal like Θ of a network twice as deep as it is wide: without the caution one in ten samples of five seeds would "fail"
    draws = np.exp(2 * np.random.default_rng(0).standard_normal((2000, 5)) - 2)
    cautious = [Claim("", "", 1.0, positive(row)[0]).verdict == "fails" for row in draws]
    plain = [Claim("", "", 1.0, Estimate.of(row)).verdict == "fails" for row in draws]
    spared = Estimate.of(np.array(plain, float) - np.array(cautious, float))
    assert spared.mean > spared.allowance
