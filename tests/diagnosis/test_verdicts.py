"""Four networks whose verdicts must differ, and each verdict flipped by removing its cause alone: same data, same budget of steps."""

import pytest

pytestmark = pytest.mark.slow


def axes(result):
    return result.verdict.regime, result.verdict.trainable


def test_a_wide_shallow_relu_network_is_in_the_kernel_regime_and_a_narrow_one_is_not(two_digits, quick):
    wide, narrow = (quick(two_digits, depth=2, width=width) for width in (1024, 16))
    assert axes(wide) == ("kernel regime", "trainable")
    assert axes(narrow) == ("near kernel regime", "trainable")


def test_depth_as_large_as_width_at_the_edge_of_chaos_learns_features_and_width_alone_brings_the_kernel_back(two_digits, quick):
    deep, wide = (quick(two_digits, depth=12, width=width) for width in (12, 128))
    assert axes(deep) == ("feature learning", "trainable")
    assert deep["ntk_relative_std"].measured.mean > deep.thresholds["near_randomness"]
    assert not any(deep[key].claim.verdict == "fails" for key in ("chi_measured", "output_variance", "dispersion"))
    assert axes(wide) == ("near kernel regime", "trainable")
    assert wide["ntk_relative_std"].measured.mean < wide.thresholds["near_randomness"]


@pytest.fixture(scope="module")
def tanh(two_digits, quick):
    """A deep narrow tanh network by its σ_w², diagnosed once."""
    found = {}

    def run(sigma_w2):
        if sigma_w2 not in found:
            found[sigma_w2] = quick(two_digits, depth=10, width=64, activation="tanh", sigma_b2=0.3, sigma_w2=sigma_w2, steps=600)
        return found[sigma_w2]

    return run


EDGE = 2.5055  # of tanh at σ_b² = 0.3


def test_a_narrow_chaotic_tanh_network_learns_features_without_training_and_the_edge_of_chaos_alone_flips_both(tanh):
    chaotic, edge = tanh(25.0), tanh(EDGE)
    assert axes(chaotic) == ("feature learning", "untrainable")
    assert chaotic["chi1"].measured.mean > 1
    assert axes(edge) == ("near kernel regime", "trainable")


def test_a_deep_ordered_network_is_kernel_and_untrainable_and_the_edge_of_chaos_alone_flips_both(tanh):
    ordered, edge = tanh(0.3), tanh(EDGE)
    assert axes(ordered) == ("kernel regime", "untrainable")
    assert ordered["chi1"].measured.mean < 1
    assert ordered["unexplained"].predicted > ordered.thresholds["trainable_unexplained"]
    assert axes(edge) == ("near kernel regime", "trainable")


def test_an_early_stop_is_no_verdict(digits, quick):
    early, whole = (quick(digits, depth=2, width=256, steps=steps) for steps in (21, 2000))
    assert axes(early) == ("inconclusive", "inconclusive")
    assert "not enough training" in early.verdict.reasons[0]
    assert early["linearization_error"].measured.mean < early.thresholds["kernel_linearization"]  # what it would have been read as
    assert axes(whole) == ("near kernel regime", "trainable")
