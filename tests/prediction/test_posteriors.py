import numpy as np
import pytest
import scipy.stats
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF

from kernelregime._checks import InputError
from kernelregime.prediction import Blocks, eigen, posterior, train


@pytest.fixture
def smooth():
    """An RBF kernel on 9 train and 6 test points of the plane, and targets (9, 2)."""
    rng = np.random.default_rng(4)
    x, z = rng.normal(size=(9, 2)), rng.normal(size=(6, 2))
    kernel = RBF(0.8)
    return x, z, kernel, Blocks(kernel(x), kernel(z, x), kernel(z)), rng.normal(size=(9, 2))


def close(ours, reference, rtol=1e-10):
    return np.abs(ours - reference).max() <= rtol * np.abs(reference).max()


@pytest.mark.parametrize("noise", [1e-3, 0.3])
def test_posterior_and_likelihood_agree_with_scikit_learn(smooth, noise):
    x, z, kernel, blocks, targets = smooth
    peer = GaussianProcessRegressor(kernel, alpha=noise, optimizer=None).fit(x, targets[:, 0])
    mean, covariance = peer.predict(z, return_cov=True)
    ours = posterior(blocks, targets[:, 0], noise=noise)
    assert close(ours.mean[:, 0], mean)
    assert close(ours.covariance, covariance)
    assert abs(ours.log_marginal_likelihood / peer.log_marginal_likelihood_value_ - 1) < 1e-10


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_the_posterior_is_the_joint_normal_conditioned_by_its_precision(smooth, noise):
    # For a joint normal with precision Λ: covariance Λ_tt⁻¹ and mean -Λ_tt⁻¹ Λ_tX y.
    _, _, _, blocks, targets = smooth
    joint = np.block([[blocks.train + noise * np.eye(9), blocks.cross.T], [blocks.cross, blocks.test]])
    precision = np.linalg.inv(joint)
    ours = posterior(blocks, targets, noise=noise)
    covariance = np.linalg.inv(precision[9:, 9:])
    assert close(ours.covariance, covariance, 1e-9)
    assert close(ours.mean, -covariance @ precision[9:, :9] @ targets, 1e-9)


def test_the_likelihood_of_several_outputs_is_the_sum_of_normal_densities(smooth):
    _, _, _, blocks, targets = smooth
    density = scipy.stats.multivariate_normal(np.zeros(9), blocks.train + 0.1 * np.eye(9))
    ours = posterior(blocks, targets, noise=0.1).log_marginal_likelihood
    assert abs(ours - density.logpdf(targets.T).sum()) < 1e-10 * abs(ours)


def test_relative_noise_is_in_units_of_the_mean_variance(smooth):
    *_, blocks, targets = smooth
    doubled = Blocks(*(2 * b for b in (blocks.train, blocks.cross, blocks.test)))
    out = posterior(doubled, targets, noise=0.05, noise_relative=True)
    assert abs(out.noise - 0.1) < 1e-15
    assert close(out.mean, posterior(doubled, targets, noise=0.1).mean, 1e-12)


def test_the_mean_is_that_of_training_for_ever(smooth):
    *_, blocks, targets = smooth
    for noise in (0.0, 0.2):
        trained = train(blocks.train, targets, times=np.inf, cross=blocks.cross, ridge=noise)
        assert close(posterior(blocks, targets, noise=noise).mean, trained.test[0], 1e-12)
        assert close(posterior(blocks, targets, noise=noise, points="train").mean, trained.train[0], 1e-12)


def test_train_points_given_as_test_points_have_the_train_posterior(smooth):
    *_, blocks, targets = smooth
    same = Blocks(blocks.train, blocks.train, blocks.train)
    a, b = posterior(same, targets, noise=0.2), posterior(Blocks(blocks.train), targets, noise=0.2, points="train")
    assert close(a.mean, b.mean, 1e-13)
    assert close(a.covariance, b.covariance, 1e-13)
    assert close(a.variance, b.variance, 1e-13)


@pytest.mark.parametrize("points", ["test", "train"])
def test_the_diagonal_alone_is_the_diagonal_of_the_whole(smooth, points):
    *_, blocks, targets = smooth
    full = posterior(blocks, targets, noise=0.1, points=points)
    for block in (blocks.test, np.diagonal(blocks.test)):
        lone = posterior(Blocks(blocks.train, blocks.cross, block), targets, noise=0.1, points=points, covariance="diagonal")
        assert lone.covariance is None
        assert close(lone.variance, np.diagonal(full.covariance), 1e-14)
    assert np.abs(full.std**2 - full.variance).max() < 1e-15


def test_a_repeated_point_without_noise_says_nothing_new(smooth):
    *_, blocks, targets = smooth
    rows = [0, 1, 2, 2]
    double = Blocks(blocks.train[np.ix_(rows, rows)], blocks.cross[:, rows], blocks.test)
    single = Blocks(blocks.train[:3, :3], blocks.cross[:, :3], blocks.test)
    a, b = posterior(double, targets[rows]), posterior(single, targets[:3])
    assert close(a.mean, b.mean)
    assert close(a.covariance, b.covariance)
    assert "singular to rounding: numerical rank 3 of 4" in a.status
    assert "density on the range" in a.status
    # The doubled coordinate is stretched by √2 on the range: the density there is smaller by that factor for each of two outputs.
    assert abs(a.log_marginal_likelihood - (b.log_marginal_likelihood - np.log(2))) < 1e-10


def test_contradicting_targets_without_noise_are_impossible(smooth):
    *_, blocks, targets = smooth
    rows = [0, 1, 2, 2]
    out = posterior(Blocks(blocks.train[np.ix_(rows, rows)]), targets[:4], points="train")
    assert out.log_marginal_likelihood == -np.inf
    assert "impossible" in out.status
    assert close(out.mean[2:], np.tile(targets[2:4].mean(0), (2, 1)))


def test_an_indefinite_kernel_has_no_likelihood_and_says_so():
    out = posterior(Blocks([[1.0, 2.0], [2.0, 1.0]]), [1.0, 0.0], points="train")
    assert np.isnan(out.log_marginal_likelihood)
    assert "indefinite" in out.status
    assert np.isfinite(posterior(Blocks([[1.0, 2.0], [2.0, 1.0]]), [1.0, 0.0], points="train", noise=2.0).log_marginal_likelihood)


def test_variances_rounded_below_zero_become_zero_and_are_counted():
    x = np.linspace(0, 1, 12)
    kernel = np.exp(-((x[:, None] - x) ** 2) * 4)
    out = posterior(Blocks(kernel, kernel, kernel), np.sin(3 * x))
    assert (out.variance >= 0).all()
    assert "set to zero" in out.status


def test_a_spectrum_may_stand_for_the_gram_and_float32_stays(smooth):
    *_, blocks, targets = smooth
    once = posterior(Blocks(eigen(blocks.train), blocks.cross, blocks.test), targets, noise=0.1)
    assert (once.mean == posterior(blocks, targets, noise=0.1).mean).all()
    low = Blocks(*(b.astype(np.float32) for b in (blocks.train, blocks.cross, blocks.test)))
    for points in ("test", "train"):
        out = posterior(low, targets, noise=0.1, points=points)
        assert {out.mean.dtype, out.covariance.dtype, out.variance.dtype} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"noise": -1.0}, "noise to be a finite number, at least 0"),
        ({"points": "tset"}, "did you mean 'test'"),
        ({"covariance": "all"}, "covariance to be one of"),
        ({"kernel": Blocks(np.eye(9))}, "kernel.cross"),
        ({"kernel": Blocks(np.eye(9), np.zeros((2, 9)))}, "kernel.test, the prior covariance"),
        ({"kernel": Blocks(np.einsum("ij,ab->ijab", np.eye(9), np.eye(2)))}, "couples the outputs"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(smooth, change, message):
    given = {"kernel": smooth[3], **change}
    with pytest.raises(InputError, match=message):
        posterior(given.pop("kernel"), smooth[4], **given)
