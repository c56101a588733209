import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernelregime import InputError, diagnosis, networks
from kernelregime.diagnosis import run as runs


@pytest.fixture(scope="module")
def result(small, quick):
    return quick(small, depth=3, width=512)


def test_every_group_of_evidence_is_there_with_standard_errors_over_five_seeds(result):
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
        assert result[key].measured.n == 5
        assert result[key].measured.sem > 0


def test_theory_agrees_with_the_measurements_on_a_wide_network(result):
    for key in ("output_variance", "chi_measured", "dispersion", "lambda_max", "alignment_initial", "ensemble_z_rms", "test_error_network"):
        assert result[key].claim.verdict != "fails", (key, result[key])


def test_the_arrays_have_the_documented_shapes(result, small):
    arrays, steps, outputs = result.arrays, len(result.arrays["steps"]), small.y_train.shape[1]
    assert arrays["train_loss"].shape == arrays["linear_train_loss"].shape == arrays["drift"].shape == (5, steps)
    assert arrays["test_outputs"].shape == (5, len(small.x_test), outputs)
    assert arrays["spectrum_initial"].shape == (5, 24)
    assert arrays["heat_initial"].shape == arrays["heat_infinite"].shape


def test_the_linearized_loss_starts_at_the_networks_loss(result):
    np.testing.assert_allclose(result.arrays["linear_train_loss"][:, 0], result.arrays["train_loss"][:, 0], rtol=1e-5)


def test_training_the_linearized_network_step_by_step_gives_its_closed_form(small, quick, monkeypatch):
    options = {"depth": 2, "width": 64, "steps": 50, "dtype": "float64", "learning_rate": 0.01, "draws": 3}
    closed = quick(small, **options)
    monkeypatch.setattr(runs, "LARGEST_FULL", 1)
    stepped = quick(small, **options)
    np.testing.assert_allclose(stepped.arrays["linear_test_outputs"], closed.arrays["linear_test_outputs"], rtol=1e-9, atol=1e-9)


def test_the_largest_eigenvalue_from_products_is_that_of_the_full_kernel(small, quick, monkeypatch):
    full = quick(small, depth=2, width=32, steps=20, dtype="float64")
    monkeypatch.setattr(runs, "LARGEST_FULL", 1)
    products = quick(small, depth=2, width=32, steps=20, dtype="float64")
    np.testing.assert_allclose(products.config["training"]["learning_rate"], full.config["training"]["learning_rate"], rtol=1e-3)


def function(params, x):
    return jnp.tanh(x @ params["a"]) @ params["b"]


def initialize(key):
    one, two = jax.random.split(key)
    return {"a": jax.random.normal(one, (16, 64)) / 4, "b": jax.random.normal(two, (64, 2)) / 8}


@pytest.fixture(scope="module")
def toy():
    rng = np.random.default_rng(0)
    from kernelregime import data

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


def test_too_few_seeds_and_too_few_steps_are_inconclusive(small, quick):
    assert "seed" in quick(small, depth=2, width=64, seeds=2, steps=30).verdict.reasons[0]
    short = quick(small, depth=2, width=64, steps=3)
    assert short.verdict.regime == "inconclusive"
    assert "not enough training" in short.verdict.reasons[0]


def test_thresholds_decide_the_verdict(small, quick):
    strict = diagnosis.Thresholds(kernel_linearization=1e-9, near_linearization=2e-9)
    assert quick(small, depth=2, width=512, thresholds=strict).verdict.regime == "feature learning"
    lax = diagnosis.Thresholds(
        kernel_linearization=10, near_linearization=20, kernel_drift=10, near_drift=20, kernel_randomness=10, near_randomness=20
    )
    assert quick(small, depth=2, width=16, thresholds=lax).verdict.regime == "kernel regime"


def test_standard_parameterization_shows_eigenvalues_divided_by_the_width(small, quick):
    ntk = quick(small, depth=2, width=1024, steps=200)
    standard = quick(small, depth=2, width=1024, steps=200, parameterization="standard")
    assert "/ width" in standard["lambda_max"].label
    assert 0.1 < standard["lambda_max"].measured.mean / ntk["lambda_max"].measured.mean < 10
    assert standard["lambda_max"].claim.verdict != "fails"
    assert standard["dispersion"].claim.verdict != "fails"


def test_adam_and_minibatches_and_cross_entropy_train_their_linearization_beside(small, quick):
    found = quick(small, depth=2, width=256, optimizer="adam", learning_rate=1e-3, batch_size=8, steps=100)
    assert found["linearization_error"].measured.mean < 0.5
    # time is learning rate × steps for gradient descent only: no prediction may stand beside these
    assert found["unexplained"].predicted is None
    assert not {"ensemble_z_rms", "trainable_modes", "test_error_ntk"} & {item.key for item in found.evidence}
    assert any("full-batch" in words for words in found.missing)
    entropy = diagnosis.load("sphere", points_train=24, points_test=24, target_coding="one-hot")
    found = quick(entropy, depth=2, width=256, loss="cross_entropy", steps=100)
    assert "train_error" in {item.key for item in found.evidence}
    assert any("squared loss" in words for words in found.missing)


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
        total = quick(dataset, depth=2, width=64, steps=40, draws=3, **options)
        mean = quick(dataset, depth=2, width=64, steps=40, draws=3, reduction="mean", **options)
        ratio = total.arrays["train_loss"] / mean.arrays["train_loss"]
        np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-3)
        assert mean.verdict.regime == total.verdict.regime


def test_a_learning_rate_above_the_stable_one_is_inconclusive_and_gives_no_width(small, quick):
    found = quick(small, depth=3, width=64, learning_rate=10.0, steps=50, draws=3)
    assert (found.verdict.regime, found.verdict.trainable) == ("inconclusive", "inconclusive")
    assert "above the largest that is stable" in " ".join(found.verdict.reasons)
    assert not any(words.startswith("width for a ") for words in found.verdict.advice)


def test_the_z_score_is_a_root_mean_square_for_one_seed_too(small, quick):
    found = quick(small, depth=2, width=128, seeds=1, steps=50, draws=3)
    z = found.arrays["zscores"]
    np.testing.assert_allclose(found["ensemble_z_rms"].measured.mean, np.sqrt(np.mean(z**2)), rtol=1e-12)


def test_a_function_of_one_output_and_an_init_that_jax_cannot_trace_are_served():
    from kernelregime import data

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
