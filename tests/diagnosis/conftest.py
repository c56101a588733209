import functools

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from kernelregime import data, diagnosis, networks


@pytest.fixture(scope="session")
def programs(tmp_path_factory):
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(scope="module", autouse=True)
def compiled_once(programs):
    """Most of the time of a small diagnosis is compilation: programs are made quickly, and shared by the tests of one network."""
    options = {
        "jax_compilation_cache_dir": str(programs),
        "jax_persistent_cache_min_compile_time_secs": 0,
        "jax_disable_most_optimizations": True,
    }
    before = {name: jax.config.values[name] for name in options}
    for values in (options, before):
        for name, value in values.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()  # it looks for its folder once
        if values is options:
            yield


@pytest.fixture(scope="package")
def digits():
    return diagnosis.load("digits", points_train=20, points_test=20)


@pytest.fixture(scope="package")
def two_digits():
    return data.load("digits", classes=2, points_train=24, points_test=24, scaling="unit-norm", target_coding="standardized-one-hot")


@pytest.fixture(scope="package")
def small():
    """Two classes, one output: seconds instead of tens of them."""
    return diagnosis.load("sphere", points_train=24, points_test=24)


@functools.cache
def mlp(**options):
    """One network for all tests that describe the same: its compiled kernels are kept with it."""
    return networks.mlp(**options)


@pytest.fixture(scope="package")
def quick():
    """A function that diagnoses an MLP with few draws."""

    def run(dataset, *, depth, width, activation="relu", sigma_w2=2.0, sigma_b2=None, parameterization="ntk", **options):
        network = mlp(
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
