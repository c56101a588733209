"""Four networks whose verdicts must differ, and each verdict flipped by removing its cause."""

import pytest

pytestmark = pytest.mark.slow


def axes(result):
    return result.verdict.regime, result.verdict.trainable


KERNEL_LIKE = ("kernel regime", "near kernel regime")


def test_a_wide_shallow_relu_network_is_in_the_kernel_regime_and_a_narrow_one_is_not(digits, quick):
    wide = quick(digits, depth=2, width=2048)
    assert axes(wide) == ("kernel regime", "trainable")
    narrow = quick(digits, depth=2, width=8)
    assert narrow.verdict.regime in ("near kernel regime", "feature learning")
    assert narrow["linearization_error"].measured.mean > 5 * wide["linearization_error"].measured.mean


def test_depth_as_large_as_width_at_the_edge_of_chaos_learns_features_and_width_alone_brings_the_kernel_back(two_digits, quick):
    deep = quick(two_digits, depth=16, width=16, steps=1500)
    assert axes(deep) == ("feature learning", "trainable")
    assert deep["ntk_relative_std"].measured.mean > deep.thresholds["kernel_randomness"]
    wide = quick(two_digits, depth=16, width=512)
    assert wide.verdict.regime in KERNEL_LIKE
    assert wide["ntk_relative_std"].measured.mean < wide.thresholds["kernel_randomness"]


def test_a_narrow_chaotic_tanh_network_learns_features_without_training_and_trains_at_the_edge_of_chaos(digits, quick):
    options = {"depth": 10, "width": 32, "activation": "tanh", "sigma_b2": 0.05}
    chaotic = quick(digits, **options, sigma_w2=9.0, steps=200)
    assert axes(chaotic) == ("feature learning", "untrainable")
    assert chaotic["chi1"].measured.mean > 1
    edge = quick(digits, **options, sigma_w2=1.760955, steps=1000)
    assert edge.verdict.trainable == "trainable"
    wide = quick(digits, **{**options, "width": 512}, sigma_w2=1.760955, steps=600)
    assert axes(wide)[0] in KERNEL_LIKE


def test_a_deep_ordered_network_is_kernel_and_untrainable_and_trains_at_the_edge_of_chaos(digits, quick):
    options = {"depth": 12, "width": 128, "activation": "tanh", "sigma_b2": 0.3}
    ordered = quick(digits, **options, sigma_w2=0.5, steps=200)
    assert axes(ordered) == ("kernel regime", "untrainable")
    assert ordered["chi1"].measured.mean < 1
    assert ordered["unexplained"].predicted > ordered.thresholds["trainable_unexplained"]
    edge = quick(digits, **options, sigma_w2=2.5055, steps=600)
    assert edge.verdict.trainable == "trainable"
