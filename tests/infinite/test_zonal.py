import importlib

import numpy as np
import pytest
from registry import points

from kernelregime import infinite, layers, networks

DRIVER = importlib.import_module("kernelregime.infinite.gram")


def cloud(dtype=np.float64, *, sphere=False):
    """Random points with pairs in every relation that loses digits, a zero point unless they are on a sphere."""
    x = np.concatenate([np.random.default_rng(0).normal(size=(60, 5)), points()])
    if sphere:
        x = x[np.linalg.norm(x, axis=1) > 0]
        x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x.astype(dtype)


def zonal(network, x, x2=None, **options):
    return DRIVER.problem(network, x, x2, **options).tile.zonal


@pytest.fixture
def always(monkeypatch):
    monkeypatch.setattr(DRIVER, "MANY", 1)
    monkeypatch.setattr("kernelregime.infinite.pairs.FEW", 1.0)


def direct(network, x, x2=None, **options):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DRIVER, "MANY", 10**9)
        return infinite.gram(network, x, x2, **options)


CASES = {
    "relu": (networks.mlp(depth=4, width=8), False),
    "deep relu": (networks.mlp(depth=51, width=8), False),
    "standard parameterization": (networks.mlp(depth=3, width=8, activation="leaky_relu(alpha=0.3)", parameterization="standard"), False),
    "biases on a sphere": (networks.mlp(depth=5, width=8, sigma_b2=0.2), True),
    "erf on a sphere": (networks.mlp(depth=8, width=8, activation="erf", sigma_w2=1.5, sigma_b2=0.1), True),
    "tanh on a sphere": (networks.mlp(depth=4, width=8, activation="tanh", sigma_w2=1.5), True),
}


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("name", CASES)
def test_the_polynomial_gives_the_kernels_that_layers_give(name):
    network, sphere = CASES[name]
    for dtype, accuracy in ((np.float64, 3e-14), (np.float32, 3e-6)):
        x = cloud(dtype, sphere=sphere)
        for second in (None, x[::-1][:9]):
            assert zonal(network, x, second) is not None
            found, expected = infinite.gram(network, x, second), direct(network, x, second)
            tops = [direct(network, z) for z in (x, x if second is None else second)]
            for kind in ("nngp", "ntk"):
                scale = np.sqrt(np.outer(*(np.diagonal(getattr(top, kind)) for top in tops)))
                difference = np.abs(getattr(found, kind) - getattr(expected, kind))
                assert getattr(found, kind).dtype == dtype
                assert (difference <= accuracy * scale).all()
            assert found.error <= max(accuracy, 2 * expected.error)


@pytest.mark.usefixtures("always")
def test_diagonals_and_close_pairs_have_the_digits_of_the_layers():
    network, x = CASES["deep relu"][0], cloud()
    found, expected = infinite.gram(network, x), direct(network, x)
    close = np.abs(expected.nngp - np.sqrt(np.outer(np.diag(expected.nngp), np.diag(expected.nngp)))) < 1e-6 * expected.nngp
    assert close.sum() > len(x)
    np.testing.assert_array_equal(np.diag(found.ntk), infinite.diagonal(network, x).ntk)
    np.testing.assert_allclose(found.ntk[close], expected.ntk[close], rtol=2e-16)
    assert (found.ntk == found.ntk.T).all()
    assert found.ntk[60, 61] == found.ntk[60, 60]  # one point twice


@pytest.mark.usefixtures("always")
def test_kernels_of_more_than_the_angle_have_no_polynomial():
    x = cloud()
    assert zonal(networks.mlp(depth=3, width=8, sigma_b2=0.1), x) is None
    assert zonal(networks.mlp(depth=3, width=8, sigma_b2=0.0), x) is None  # a trained bias adds a constant to the NTK
    assert zonal(networks.mlp(depth=3, width=8, activation="erf"), x) is None
    assert zonal(networks.mlp(depth=3, width=8), x, depths=(1, 2)) is None
    sphere = cloud(sphere=True)
    assert zonal(networks.mlp(depth=3, width=8, activation="erf"), sphere, 2 * sphere) is None
    assert zonal(layers.Sequential((layers.Dense(4), layers.Activation("relu"))), x) is not None


@pytest.mark.usefixtures("always")
def test_a_kernel_that_bends_too_sharply_is_propagated():
    chaotic, x = networks.mlp(depth=40, width=8, activation="erf", sigma_w2=50.0), cloud(sphere=True)
    assert zonal(chaotic, x) is None
    np.testing.assert_array_equal(infinite.gram(chaotic, x).ntk, direct(chaotic, x).ntk)


def test_few_pairs_are_not_worth_one_and_close_points_are_propagated(monkeypatch):
    network = CASES["relu"][0]
    assert zonal(network, cloud()) is None
    monkeypatch.setattr(DRIVER, "MANY", 1)
    near = 1 + 1e-3 * cloud()[:60]
    assert zonal(network, near) is not None
    np.testing.assert_array_equal(infinite.gram(network, near).ntk, direct(network, near).ntk)
