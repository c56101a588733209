import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np

from kernelregime import _compiler, infinite, networks


def test_a_compiler_that_lacks_an_option_is_given_none(monkeypatch):
    assert _compiler.understood({"xla_no_such_option": 1}) == {}
    monkeypatch.setattr(_compiler, "WIDEST", {"xla_no_such_option": 1})

    @_compiler.compiled(static=("power",))
    def raised(x, *, power):
        return x**power

    assert raised(jnp.float32(3), power=2) == 9


def test_an_import_starts_no_device():
    code = "import kernelregime, kernelregime.infinite, jax; jax.config.update('jax_platforms', 'nowhere'); print(jax.numpy.ones(1))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "nowhere" in done.stderr


def test_wide_vectors_change_nothing_beyond_rounding():
    network = networks.mlp(depth=4, width=8, sigma_b2=0.1)
    x = np.random.default_rng(0).normal(size=(40, 5))
    with jax.enable_x64(True):
        expected = jax.jit(infinite.kernel(network))(jnp.asarray(x))
    found = infinite.gram(network, x)
    np.testing.assert_allclose(found.ntk, expected.ntk, rtol=1e-13)
