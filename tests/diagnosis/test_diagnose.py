import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernelregime import InputError, data, diagnosis, infinite, networks
from kernelregime.diagnosis import conditioning

SEEDS = 24  # the mean of so many values may be off by 3.4 standard errors: enough for every claim to be decided


@pytest.fixture(scope="module")
def result(small, quick):
    return quick(small, depth=2, width=256, seeds=SEEDS, draws=100)


def test_every_group_of_evidence_is_there_with_standard_errors_over_the_seeds(result):
    assert [
        item.group for item in result.evidence if item.key in ("linearization_error", "drift", "dispersion", "chi_measured", "unexplained")
    ] == [
        "function space",
        "drift",
        "randomness",
        "phase",
        "conditioning",
    ]
    for key in ("linearization_error", "drift", "theta_distance", "ensemble_z_rms", "lambda_max", "loss_fraction"):
        assert result[key].measured.n == SEEDS
        assert result[key].measured.sem > 0


@pytest.mark.parametrize(
    "key",
    [
        "output_variance",
        "chi_measured",
        "dispersion",
        "ntk_relative_std",
        "lambda_max",
        "alignment_initial",
        "trainable_modes",
        "ensemble_z_rms",
        "test_error_network",
        "test_error_linearized",
    ],
)
def test_theory_agrees_with_the_measurement_on_a_wide_network(result, key):
    assert result[key].claim.verdict == "holds", result[key]


def test_the_arrays_have_the_documented_shapes(result, small):
    arrays, steps, outputs = result.arrays, len(result.arrays["steps"]), small.y_train.shape[1]
    assert arrays["train_loss"].shape == arrays["linear_train_loss"].shape == arrays["drift"].shape == (SEEDS, steps)
    assert arrays["test_outputs"].shape == (SEEDS, len(small.x_test), outputs)
    assert arrays["spectrum_initial"].shape == (SEEDS, 24)
    assert arrays["heat_initial"].shape == arrays["heat_infinite"].shape


def test_the_linearized_loss_starts_at_the_networks_loss(result):
    np.testing.assert_allclose(result.arrays["linear_train_loss"][:, 0], result.arrays["train_loss"][:, 0], rtol=1e-5)


def function(params, x):
    return jnp.tanh(x @ params["a"]) @ params["b"]


def initialize(key):
    one, two = jax.random.split(key)
    return {"a": jax.random.normal(one, (16, 64)) / 4, "b": jax.random.normal(two, (64, 2)) / 8}


@pytest.fixture(scope="module")
def toy():
    rng = np.random.default_rng(0)
    return data.from_arrays(rng.standard_normal((40, 16)), rng.integers(0, 2, 40), target_coding="standardized-one-hot")


def test_a_users_function_is_diagnosed_from_its_own_seeds_and_what_is_missing_is_said(toy):
    found = diagnosis.diagnose(function, toy, init=initialize, draws=30, probes=4)
    assert found.config["network"] is None
    assert found.verdict.regime != "inconclusive"
    assert found["ntk_relative_std"].measured.n == 30
    words = " ".join(found.missing)
    assert "infinite-width" in words
    assert "phase" in words
    assert "theta_distance" not in {item.key for item in found.evidence}


def test_fixed_params_are_one_seed_and_inconclusive(toy):
    found = diagnosis.diagnose(function, toy, params=initialize(jax.random.PRNGKey(0)), probes=4)
    assert found.verdict.regime == "inconclusive"
    assert "1 seed" in found.verdict.reasons[0]
    assert np.isfinite(found["linearization_error"].measured.mean)


def test_thresholds_decide_the_verdict(small, quick):
    strict = diagnosis.Thresholds(kernel_linearization=1e-9, near_linearization=2e-9)
    assert quick(small, depth=2, width=64, thresholds=strict).verdict.regime == "feature learning"
    lax = diagnosis.Thresholds(
        kernel_linearization=10, near_linearization=20, kernel_drift=10, near_drift=20, kernel_randomness=10, near_randomness=20
    )
    assert quick(small, depth=2, width=64, thresholds=lax).verdict.regime == "kernel regime"


def test_standard_parameterization_shows_eigenvalues_divided_by_the_width(small, quick):
    width = 256
    found = quick(small, depth=2, width=width, steps=200, seeds=SEEDS, parameterization="standard")
    # each layer's part of the NTK is (inputs of the layer)/σ_w² times that of the `ntk` parameterization, which is K for the last one
    network = networks.mlp(depth=2, width=width, outputs=2, activation="relu", sigma_w2=2.0)
    both = infinite.gram(network, small.x_train, dtype="float64")
    expected = (both.nngp * width + (both.ntk - both.nngp) * small.x_train.shape[1]) / 2.0 / width
    assert "/ width" in found["lambda_max"].label
    np.testing.assert_allclose(found["lambda_max"].predicted, np.linalg.eigvalsh(expected)[-1], rtol=1e-12)
    for key in ("lambda_max", "dispersion"):
        assert found[key].claim.verdict == "holds", found[key]


ENTROPY = {"loss": "cross_entropy", "steps": 100}
LATER = {"optimizer": "adam", "learning_rate": 1e-3, "batch_size": 8, "steps": 100}


def test_what_needs_gradient_descent_on_squared_loss_has_no_prediction_with_others(small, quick):
    found = quick(small, depth=2, width=64, **LATER)
    # time is learning rate × steps for gradient descent only: no prediction may stand beside these
    assert found["unexplained"].predicted is None
    assert not {"ensemble_z_rms", "trainable_modes", "test_error_ntk"} & {item.key for item in found.evidence}
    assert any("full-batch" in words for words in found.missing)
    entropy = diagnosis.load("sphere", points_train=24, points_test=24, target_coding="one-hot")
    found = quick(entropy, depth=2, width=64, **ENTROPY)
    assert "train_error" in {item.key for item in found.evidence}
    assert any("squared loss" in words for words in found.missing)


def linear(params, x):
    return x @ params["w"] + 0.1 * params["b"]


def start(key):
    return {"w": jax.random.normal(key, (16, 2)), "b": jax.random.normal(key, (2,))}


@pytest.mark.parametrize(
    "options", [LATER, ENTROPY, {"optimizer": "momentum"}, {}], ids=["adam on minibatches", "entropy", "momentum", "gd"]
)
def test_a_model_that_is_linear_in_its_params_is_its_own_linearization_whatever_trains_it(options):
    rng = np.random.default_rng(0)
    dataset = data.from_arrays(rng.standard_normal((24, 16)), rng.integers(0, 2, 24), target_coding="one-hot")
    found = diagnosis.diagnose(linear, dataset, init=start, dtype="float64", **{"draws": 6, "probes": 3, "steps": 100, **options})
    np.testing.assert_allclose(found.arrays["linear_test_outputs"], found.arrays["test_outputs"], rtol=1e-9, atol=1e-9)
    assert found["drift"].measured.mean < 1e-12


def test_an_interrupt_keeps_what_is_done_and_the_same_call_goes_on_from_its_checkpoint(small, quick, tmp_path):
    whole = quick(small, depth=2, width=64, steps=200)
    file = tmp_path / "checkpoint.npz"

    def interrupt(task, done, total):
        if task == "training" and done >= 20:
            raise KeyboardInterrupt

    part = quick(small, depth=2, width=64, steps=200, progress=interrupt)
    assert part.verdict.regime == "inconclusive"
    assert "interrupted" in part.verdict.reasons[0]
    with pytest.raises(KeyboardInterrupt):
        quick(small, depth=2, width=64, steps=200, checkpoint=file, progress=interrupt)
    assert file.is_file()
    rest = quick(small, depth=2, width=64, steps=200, checkpoint=file)
    np.testing.assert_array_equal(rest.arrays["train_loss"], whole.arrays["train_loss"])
    np.testing.assert_array_equal(rest.arrays["test_outputs"], whole.arrays["test_outputs"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seeds": 0}, "seeds"),
        ({"steps": 0}, "steps"),
        ({"stop_fraction": 1.5}, "stop_fraction"),
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"optimizer": "adam"}, "learning_rate"),
        ({"optimizer": "adm"}, "did you mean 'adam'"),
        ({"loss": "hinge"}, "loss"),
        ({"dtype": "float16"}, "dtype"),
        ({"sedes": 3}, "did you mean 'seeds'"),
        ({"memory": 1}, "memory"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(small, options, words):
    with pytest.raises(InputError, match=words):
        diagnosis.diagnose(networks.mlp(depth=2, width=8, outputs=small.y_train.shape[1]), small, **options)


def test_a_network_whose_outputs_do_not_match_the_targets_is_refused(small):
    with pytest.raises(InputError, match="outputs"):
        diagnosis.diagnose(networks.mlp(depth=2, width=8, outputs=7), small)
    with pytest.raises(InputError, match="init"):
        diagnosis.diagnose(lambda params, x: x, small)
    with pytest.raises(InputError, match="network"):
        diagnosis.diagnose("mlp", small)


def test_the_mean_is_the_sum_over_a_constant_for_both_losses(small, quick):
    entropy = diagnosis.load("sphere", points_train=24, points_test=24, target_coding="one-hot")
    for dataset, options in ((small, {}), (entropy, {"loss": "cross_entropy"})):
        total = quick(dataset, depth=2, width=64, steps=40, **options)
        mean = quick(dataset, depth=2, width=64, steps=40, draws=3, reduction="mean", **options)
        ratio = total.arrays["train_loss"] / mean.arrays["train_loss"]
        np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-3)
        assert mean.verdict.regime == total.verdict.regime


def test_one_seed_is_inconclusive_and_its_z_score_a_root_mean_square_too(small, quick):
    found = quick(small, depth=2, width=64, seeds=1, steps=3)
    assert found.verdict.regime == "inconclusive"
    assert found.verdict.reasons[0].startswith("1 seed, and at least 5 are needed")
    assert "not enough training" in found.verdict.reasons[1]
    z = found.arrays["zscores"]
    np.testing.assert_allclose(found["ensemble_z_rms"].measured.mean, np.sqrt(np.mean(z**2)), rtol=1e-12)


def test_a_function_of_one_output_and_an_init_that_jax_cannot_trace_are_served():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((24, 4))
    dataset = data.from_arrays(x, x[:, 0] * x[:, 1], x[:8], x[:8, 0] * x[:8, 1], target_coding="regression")

    def init(key):
        seed = int(jax.random.randint(key, (), 0, 2**30))
        return np.random.default_rng(seed).standard_normal((2, 4, 64)).astype(np.float32) / 4

    found = diagnosis.diagnose(
        lambda p, x: jnp.sum(jnp.tanh(x @ p[0]) * jnp.tanh(x @ p[1]), axis=1), dataset, init=init, draws=6, probes=3, steps=60
    )
    assert found["ntk_relative_std"].measured.n == 6


def test_targets_with_nothing_to_learn_and_networks_without_a_kernel_are_refused_before_training(small):
    from dataclasses import replace

    outputs = small.y_train.shape[1]
    constant = replace(small, y_train=np.ones_like(small.y_train))
    with pytest.raises(InputError, match="targets that differ"):
        diagnosis.diagnose(networks.mlp(depth=2, width=8, outputs=outputs), constant)
    with pytest.raises(InputError, match="tangent kernel of zero"):
        diagnosis.diagnose(networks.mlp(depth=2, width=8, outputs=outputs, sigma_w2=0.0), small)
    with pytest.raises(InputError, match="one-hot"):
        diagnosis.diagnose(networks.mlp(depth=2, width=8, outputs=outputs), small, loss="cross_entropy")
    with pytest.raises(InputError, match="one array"):
        diagnosis.diagnose(lambda p, x: (x, x), small, init=lambda key: {"w": jnp.ones(3)})


def batch_normalized(params, x):
    hidden = jnp.tanh(x @ params["a"])
    return (hidden - hidden.mean(0)) / (hidden.std(0) + 1e-3) @ params["b"]


def test_a_function_whose_outputs_depend_on_the_rest_of_the_batch_is_refused(toy):
    with pytest.raises(InputError, match="each row of x on its own"):
        diagnosis.diagnose(batch_normalized, toy, init=initialize)
    with pytest.raises(InputError, match="each row of x on its own"):
        diagnosis.diagnose(lambda params, x: function(params, x - 1e-2 * x.mean(0)), toy, init=initialize)


@pytest.fixture(scope="module")
def uneven():
    """Six points of one class and 18 of another."""
    x, labels = np.random.default_rng(0).standard_normal((24, 16)), np.arange(24) < 6
    return lambda coding: data.from_arrays(x, labels, x, labels, target_coding=coding)


@pytest.mark.parametrize("coding", ["one-hot", "standardized-one-hot", "plus-minus-one"])
def test_chance_is_the_error_of_always_naming_the_most_frequent_class(uneven, coding):
    assert conditioning.chance(uneven(coding)) == 6 / 24
    assert conditioning.chance(dataclasses.replace(uneven(coding), labels_train=None)) == 6 / 24


def test_cross_entropy_is_judged_against_the_most_frequent_class(uneven):
    found = diagnosis.diagnose(linear, uneven("one-hot"), init=start, dtype="float64", draws=6, probes=3, loss="cross_entropy", steps=20)
    assert any("(trained: at most 0.12)" in words for words in found.verdict.reasons)  # half of 0.25, to two digits


def test_modes_that_train_are_counted_on_the_same_points_for_both_kernels(small, quick):
    found = quick(small, depth=2, width=64, kernel_points=6, steps=4)
    training, arrays = found.config["training"], found.arrays
    times = np.array(training["learning_rate"]) * training["steps_taken"]
    border = 6 / 24 / times
    assert found["trainable_modes"].predicted == np.mean(arrays["spectrum_infinite"] > border[:, None])
    assert found["trainable_modes"].measured.mean == np.mean(arrays["spectrum_initial"] > border[:, None])


@pytest.mark.parametrize("rate", [None, 0.05])
def test_the_ensemble_has_taken_the_steps_of_each_seed_at_its_own_rate(small, quick, rate):
    found = quick(small, depth=2, width=64, learning_rate=rate, learning_rate_fraction=0.9, steps=6)
    network = networks.mlp(depth=2, width=64, outputs=2, activation="relu", sigma_w2=2.0)
    both, y = infinite.gram(network, small.x_train, dtype="float64"), small.y_train
    training, left = found.config["training"], []
    for eta, steps in zip(training["learning_rate"], training["steps_taken"]):
        stay = np.linalg.matrix_power(np.eye(len(y)) - eta * both.ntk, steps)
        left.append(np.sum((stay @ y) ** 2) + y.shape[1] * np.trace(stay @ both.nngp @ stay.T))
    np.testing.assert_allclose(found["unexplained"].predicted, np.mean(left) / np.sum((y - y.mean(0)) ** 2), rtol=1e-9)


def test_what_the_stopping_rule_leaves_is_held_against_no_prediction(small, quick):
    found = quick(small, depth=2, width=64, steps=400, stop_fraction=0.2)
    assert (np.array(found.config["training"]["steps_taken"]) < 400).all()
    assert found["unexplained"].predicted is None
    assert "decided by the rule that ended 5 of 5 seeds" in found["unexplained"].comment
    bound = float(found["loss_fraction"].comment.removeprefix("training stops at "))
    assert 0.5 * bound < found["loss_fraction"].measured.mean <= 1.005 * bound  # three digits
    limit = found["unexplained_limit"]
    assert (limit.measured.n, limit.predicted) == (0, None)
    assert 0 < limit.measured.mean < 1
