"""What does not fit is refused before it is allocated."""

import jax
import jax.numpy as jnp
import pytest

from kernelregime import InputError, diagnosis, networks
from kernelregime.diagnosis.size import shown


@pytest.mark.parametrize(
    ("number", "text"), [(12, "12 bytes"), (1500, "1.5 kB"), (2e9, "2 GB"), (3.21e13, "32.1 TB"), (3e20, "3.00e+08 TB")]
)
def test_bytes_are_shown_in_units(number, text):
    assert shown(number) == text


def function(params, x):
    return x @ params["w"] @ params["v"]


def initialize(key):
    return {"w": jnp.zeros((16, 10**5)), "v": jnp.zeros((10**5, 2))}


def mlp(width):
    return networks.mlp(depth=3, width=width, outputs=2)


@pytest.mark.parametrize(
    ("network", "options", "words"),
    [
        (mlp(10**60), {}, r"1\.00e\+120 parameters × 5 seeds, .*; lower width=, depth= or seeds=, or raise memory="),
        (mlp(100), {"seeds": 10**9}, "1,000,000,000 seeds"),
        (mlp(8), {"memory": 10**5}, r"\(the budget of memory=\); got 111 kB for kernels of 48 × 48 points"),
        (function, {"init": initialize, "memory": 10**7}, "1,800,000 parameters × 5 seeds, .*; give a smaller model, or lower seeds="),
        (function, {"params": jax.eval_shape(initialize, 0), "memory": 10**7}, "1,800,000 parameters × one seed"),
    ],
)
def test_a_diagnosis_that_does_not_fit_into_the_memory_is_refused_before_anything_is_allocated(small, network, options, words):
    with pytest.raises(InputError, match=words):
        diagnosis.diagnose(network, small, **options)
