import tracemalloc

import numpy as np
import pytest
import scipy.linalg

from kernelregime._checks import InputError
from kernelregime.prediction import Blocks, eigen, ensemble, posterior, train


@pytest.fixture
def kernels(linear_model):
    """Blocks of two unrelated kernels on 8 train and 5 test points, and targets (8, 3)."""
    a, b = linear_model(seed=1), linear_model(seed=2)
    return Blocks(a.gram, a.cross, a.test), Blocks(b.gram, b.cross, b.test), a.targets


def joint(blocks):
    return np.block([[blocks.train, blocks.cross.T], [blocks.cross, blocks.test]])


def close(ours, reference, rtol=1e-10):
    return np.abs(ours - reference).max() <= rtol * np.abs(reference).max()


def naive(ntk, nngp, targets, left, ridge, where="test"):
    """The formulas as printed, with an explicit inverse; `left` is E_t."""
    cross, shared, start = (ntk.cross, nngp.cross, nngp.test) if where == "test" else (ntk.train, nngp.train, nngp.train)
    a = cross @ np.linalg.inv(ntk.train + ridge * np.eye(8)) @ (np.eye(8) - left)
    return a @ targets, start + a @ nngp.train @ a.T - a @ shared.T - shared @ a.T


@pytest.mark.parametrize("points", ["test", "train"])
@pytest.mark.parametrize("ridge", [0.0, 0.2])
@pytest.mark.parametrize("dynamics", ["flow", "descent"])
@pytest.mark.parametrize("times", [[0, 1, 7, np.inf], [7], [1, np.inf]])  # few and many go different ways
def test_mean_and_covariance_are_the_printed_formulas(kernels, points, ridge, dynamics, times):
    ntk, nngp, targets = kernels
    out = ensemble(ntk, nngp, targets, times=times, points=points, ridge=ridge, dynamics=dynamics, learning_rate=0.3, reduction="mean")
    for k, time in enumerate(times):
        generator = 0.3 / 24 * (ntk.train + ridge * np.eye(8))
        left = np.zeros((8, 8))
        if time < np.inf:
            left = scipy.linalg.expm(-time * generator) if dynamics == "flow" else np.linalg.matrix_power(np.eye(8) - generator, time)
        mean, covariance = naive(ntk, nngp, targets, left, ridge, points)
        assert np.abs(out.mean[k] - mean).max() < 1e-12 * np.abs(targets).max()
        assert np.abs(out.covariance[k] - covariance).max() < 1e-12 * np.abs(nngp.train).max()
    assert np.abs(out.variance - np.diagonal(out.covariance, axis1=1, axis2=2)).max() < 1e-14


def test_moments_agree_with_networks_drawn_at_random_and_trained_one_by_one(kernels):
    ntk, nngp, targets = kernels
    draws, steps, rate = 40_000, 12, 0.35
    start = np.random.default_rng(5).normal(size=(draws, 13)) @ np.linalg.cholesky(joint(nngp)).T
    f = start.copy()
    for _ in range(steps):
        f = f - rate * (f[:, :8] - targets[:, 0]) @ joint(ntk)[:8]
    for points, sample in (("train", f[:, :8]), ("test", f[:, 8:])):
        out = ensemble(ntk, nngp, targets[:, 0], times=steps, points=points, dynamics="descent", learning_rate=rate)
        assert (np.abs(sample.mean(0) - out.mean[0, :, 0]) <= 4 * sample.std(0) / np.sqrt(draws)).all()
        gap = sample - out.mean[0, :, 0]
        products = gap[:, :, None] * gap[:, None, :]
        assert (np.abs(products.mean(0) - out.covariance[0]) <= 4 * products.std(0) / np.sqrt(draws)).all()


def test_penalized_outputs_agree_with_networks_drawn_at_random(kernels):
    ntk, nngp, targets = kernels
    draws, ridge = 40_000, 0.4
    f0 = np.random.default_rng(6).normal(size=(draws, 8)) @ np.linalg.cholesky(nngp.train).T
    singles = train(ntk.train, np.repeat(targets[:, :1], draws, 1), times=1.5, ridge=ridge, initial=f0.T)
    for points, sample in (("penalized", singles.penalized[0].T), ("train", singles.train[0].T)):
        out = ensemble(ntk, nngp, targets[:, 0], times=1.5, points=points, ridge=ridge)
        assert (np.abs(sample.mean(0) - out.mean[0, :, 0]) <= 4 * sample.std(0) / np.sqrt(draws)).all()
        gap = sample - out.mean[0, :, 0]
        products = gap[:, :, None] * gap[:, None, :]
        assert (np.abs(products.mean(0) - out.covariance[0]) <= 4 * products.std(0) / np.sqrt(draws)).all()


def test_the_ensemble_starts_as_the_prior_and_ends_on_the_targets(kernels):
    ntk, nngp, targets = kernels
    out = ensemble(ntk, nngp, targets, times=[0.0, np.inf], points="train")
    assert np.abs(out.mean[0]).max() == 0
    assert close(out.covariance[0], nngp.train, 1e-14)
    assert close(out.mean[1], targets, 1e-13)
    assert np.abs(out.covariance[1]).max() == 0
    assert close(ensemble(ntk, nngp, targets, times=0.0).covariance[0], nngp.test, 1e-14)


@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_train_points_given_as_test_points_have_the_train_law(kernels, ridge):
    ntk, nngp, targets = kernels
    twice = [Blocks(k.train, k.train, k.train) for k in (ntk, nngp)]
    a = ensemble(*twice, targets, times=[0.5, 20.0], ridge=ridge)
    b = ensemble(ntk, nngp, targets, times=[0.5, 20.0], ridge=ridge, points="train")
    assert close(a.mean, b.mean, 1e-13)
    assert np.abs(a.covariance - b.covariance).max() < 1e-13 * np.abs(nngp.train).max()


@pytest.mark.parametrize("points", ["test", "train", "penalized"])
def test_the_diagonal_alone_is_the_diagonal_of_the_whole(kernels, points):
    ntk, nngp, targets = kernels
    options = {"times": [0.0, 3.0, np.inf], "points": points, "ridge": 0.1}
    full = ensemble(ntk, nngp, targets, **options)
    for block in (nngp.test, np.diagonal(nngp.test)):
        lone = ensemble(ntk, Blocks(nngp.train, nngp.cross, block), targets, covariance="diagonal", **options)
        assert lone.covariance is None
        assert np.abs(lone.variance - full.variance).max() < 1e-14 * np.abs(full.variance).max()
        assert (lone.mean == full.mean).all()
    assert np.abs(full.std**2 - full.variance).max() < 1e-15


def test_the_diagonal_of_many_points_costs_no_square_of_their_number(linear_model):
    model = linear_model(points=4, outputs=1)
    rows = np.random.default_rng(0).normal(size=(5000, 4))
    blocks = Blocks(model.gram, rows @ model.gram, np.einsum("ij,ij->i", rows @ model.gram, rows))
    tracemalloc.start()
    out = ensemble(blocks, blocks, model.targets, times=[1.0], covariance="diagonal")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert out.variance.shape == (1, 5000)
    assert peak < 5000**2 * 8 / 50


def test_training_the_last_layer_for_ever_is_the_posterior(kernels):
    _, nngp, targets = kernels
    out, exact = ensemble(nngp, nngp, targets, times=np.inf), posterior(nngp, targets)
    assert close(out.mean[0], exact.mean, 1e-12)
    assert np.abs(out.covariance[0] - exact.covariance).max() < 1e-12


def test_a_ridge_with_noisy_targets_of_the_same_variance_samples_the_noisy_posterior(kernels):
    _, nngp, targets = kernels
    noisy = Blocks(nngp.train + 0.3 * np.eye(8), nngp.cross, nngp.test)
    out, exact = ensemble(nngp, noisy, targets, times=np.inf, ridge=0.3), posterior(nngp, targets, noise=0.3)
    assert close(out.mean[0], exact.mean, 1e-12)
    assert close(out.covariance[0], exact.covariance, 1e-12)


@pytest.mark.parametrize("ridge", [0.0, 0.1])
def test_duplicated_points_change_the_law_only_where_they_weigh_more(kernels, ridge):
    ntk, nngp, targets = kernels
    rows = [0, 1, 2, 3, 3, 4, 5, 6, 7]
    double = [Blocks(k.train[np.ix_(rows, rows)], k.cross[:, rows], k.test) for k in (ntk, nngp)]
    out = ensemble(*double, targets[rows], times=[1e10, np.inf], ridge=ridge)
    if ridge == 0:
        once = ensemble(ntk, nngp, targets, times=np.inf)
        for k in (0, 1):
            assert close(out.mean[k], once.mean[0])
            assert close(out.covariance[k], once.covariance[0])
    else:
        a = double[0].cross @ np.linalg.inv(double[0].train + ridge * np.eye(9))
        shared = a @ double[1].cross.T
        assert close(out.covariance[1], nngp.test + a @ double[1].train @ a.T - shared - shared.T)


def test_variances_rounded_below_zero_become_zero_and_are_counted():
    # A test point that repeats a train point of a nearly singular kernel: the exact variance is 0.
    x = np.linspace(0, 1, 12)
    kernel = np.exp(-((x[:, None] - x) ** 2) * 4)
    blocks = Blocks(kernel, kernel, kernel)
    out = ensemble(blocks, blocks, np.sin(3 * x), times=np.inf)
    assert (out.variance >= 0).all()
    assert "variances within rounding below zero are set to zero" in out.status
    assert np.isfinite(out.std).all()


def test_blocks_that_do_not_belong_together_are_reported():
    ntk, nngp = Blocks(np.eye(2), [[1.0, 1.0]], [[1.0]]), Blocks(np.eye(2), [[1.0, 1.0]], [[1.0]])
    out = ensemble(ntk, nngp, [1.0, 1.0], times=np.inf)
    assert out.variance[0, 0] == -1
    assert "negative beyond rounding" in out.status
    assert np.isnan(out.std[0, 0])


def test_divergence_is_infinite_and_said():
    blocks = Blocks(np.diag([1.0, 3.0]), [[0.5, 0.5]], [[1.0]])
    for points in ("test", "train"):
        out = ensemble(blocks, blocks, [1.0, 1.0], times=[10**7, np.inf], dynamics="descent", points=points)
        assert np.isinf(out.variance[:, -1]).all()
        assert np.isinf(out.mean[:, -1]).all()
        assert not np.isnan(out.covariance).any()
        assert out.status.startswith("diverges")


def test_spectra_may_stand_for_the_train_blocks(kernels):
    ntk, nngp, targets = kernels
    spectra = [Blocks(eigen(k.train), k.cross, k.test) for k in (ntk, nngp)]
    a, b = ensemble(*spectra, targets, times=2.0), ensemble(ntk, nngp, targets, times=2.0)
    assert close(a.covariance, b.covariance, 1e-13)


def test_float32_stays_float32(kernels):
    low = [Blocks(*(b.astype(np.float32) for b in (k.train, k.cross, k.test))) for k in kernels[:2]]
    for points in ("test", "train"):
        out = ensemble(*low, kernels[2], times=[0.0, 1.0, np.inf], points=points)
        assert {out.mean.dtype, out.covariance.dtype, out.variance.dtype} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("ntk", "nngp", "options", "message"),
    [
        ((0, None, None), (0, 1, 2), {}, "cross in both kernels"),
        ((0, 1, None), (0, None, 2), {}, "cross in both kernels"),
        ((0, 1, None), (0, 1, None), {}, "nngp.test, the prior covariance of the test points"),
        ((0, 1, None), (0, 1, 1), {"covariance": "diagonal"}, r"nngp.test of shape \(5, 5\) or \(5,\)"),
        ((0, 1, None), (0, 1, 0), {}, "nngp.test to have 5 rows"),
        ((0, 1, None), (0, 1, "diagonal"), {}, "nngp.test to be 2-dimensional"),
        ((0, 1, None), (1, 1, 2), {}, "nngp.train to have 8 rows"),
        ((0, 1, None), (0, 1, 2), {"points": "tests"}, "did you mean 'test'"),
        ((0, 1, None), (0, 1, 2), {"covariance": "diag"}, "did you mean 'diagonal'"),
    ],
)
def test_blocks_that_are_missing_or_misshapen_are_refused(kernels, ntk, nngp, options, message):
    def pick(source, choice):
        parts = {0: source.train, 1: source.cross, 2: source.test, None: None, "diagonal": np.diagonal(source.test)}
        return Blocks(*(parts[c] for c in choice))

    with pytest.raises(InputError, match=message):
        ensemble(pick(kernels[0], ntk), pick(kernels[1], nngp), kernels[2], times=1.0, **options)


def test_a_kernel_that_couples_the_outputs_is_refused(kernels):
    full = Blocks(np.einsum("ij,ab->ijab", kernels[0].train, np.eye(3)))
    with pytest.raises(InputError, match="couples the outputs"):
        ensemble(full, kernels[1], kernels[2], times=1.0, points="train")
