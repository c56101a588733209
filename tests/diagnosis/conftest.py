import pytest

from kernelregime import data, diagnosis, networks


@pytest.fixture(scope="package")
def digits():
    return diagnosis.load("digits", points_train=40, points_test=40)


@pytest.fixture(scope="package")
def two_digits():
    return data.load("digits", classes=2, points_train=40, points_test=40, scaling="unit-norm", target_coding="standardized-one-hot")


@pytest.fixture(scope="package")
def small():
    """Two classes, one output: seconds instead of tens of them."""
    return diagnosis.load("sphere", points_train=24, points_test=24)


@pytest.fixture(scope="package")
def quick():
    """A function that diagnoses an MLP with few draws."""

    def run(dataset, *, depth, width, activation="relu", sigma_w2=2.0, sigma_b2=None, parameterization="ntk", **options):
        network = networks.mlp(
            depth=depth,
            width=width,
            outputs=dataset.y_train.shape[1],
            activation=activation,
            sigma_w2=sigma_w2,
            sigma_b2=sigma_b2,
            parameterization=parameterization,
        )
        return diagnosis.diagnose(network, dataset, **{"draws": 40, "probes": 4, **options})

    return run
