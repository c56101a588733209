"""Four networks whose verdicts must differ, and each verdict flipped by removing its cause alone: same data, same budget of steps."""

import functools

import pytest


def axes(result):
    return result.verdict.regime, result.verdict.trainable


@pytest.fixture(scope="module")
def found(two_digits, quick):
    """A function that diagnoses a network on two digits, each network once."""
    return functools.cache(lambda **options: quick(two_digits, **options))


def test_a_wide_shallow_relu_network_is_in_the_kernel_regime_and_a_narrow_one_is_not(found):
    wide, narrow = (found(depth=2, width=width) for width in (512, 16))
    assert axes(wide) == ("kernel regime", "trainable")
    assert axes(narrow) == ("near kernel regime", "trainable")


def test_depth_as_large_as_width_at_the_edge_of_chaos_learns_features_and_width_alone_brings_the_kernel_back(found):
    deep, wide = (found(depth=8, width=width) for width in (8, 96))
    assert axes(deep) == ("feature learning", "trainable")
    assert deep["ntk_relative_std"].measured.mean > deep.thresholds["near_randomness"]
    assert not any(deep[key].claim.verdict == "fails" for key in ("chi_measured", "output_variance", "dispersion"))
    assert axes(wide) == ("near kernel regime", "trainable")
    assert wide["ntk_relative_std"].measured.mean < wide.thresholds["near_randomness"]


@pytest.fixture(scope="module")
def tanh(found):
    """A deep narrow tanh network by its σ_w²."""
    return lambda sigma_w2: found(depth=10, width=64, activation="tanh", sigma_b2=0.3, sigma_w2=sigma_w2, steps=600)


EDGE = 2.5055  # of tanh at σ_b² = 0.3


def test_a_narrow_chaotic_tanh_network_learns_features_without_training_and_the_edge_of_chaos_alone_flips_both(tanh):
    chaotic, edge = tanh(25.0), tanh(EDGE)
    assert axes(chaotic) == ("feature learning", "untrainable")
    assert chaotic["chi1"].measured.mean > 1
    assert edge["chi1"].measured.mean == pytest.approx(1, abs=1e-4)
    assert axes(edge) == ("near kernel regime", "trainable")


def test_a_deep_ordered_network_is_kernel_and_untrainable_and_the_edge_of_chaos_alone_flips_both(tanh):
    ordered, edge = tanh(0.3), tanh(EDGE)
    assert axes(ordered) == ("kernel regime", "untrainable")
    assert ordered["chi1"].measured.mean < 1
    assert ordered["unexplained"].predicted > ordered.thresholds["trainable_unexplained"]
    assert axes(edge) == ("near kernel regime", "trainable")


def test_an_early_stop_is_no_verdict(found):
    early, whole = found(depth=2, width=32, steps=2), found(depth=2, width=32)
    assert axes(early) == ("inconclusive", "inconclusive")
    assert "not enough training" in early.verdict.reasons[0]
    for key, name in (("linearization_error", "linearization"), ("drift", "drift"), ("ntk_relative_std", "randomness")):
        assert early[key].measured.mean < early.thresholds[f"kernel_{name}"]  # what it would have been read by
    assert axes(whole) == ("near kernel regime", "trainable")
