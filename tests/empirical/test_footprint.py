import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernelregime.empirical import ntk_function
from kernelregime.empirical.footprint import footprint


def wide(p, x):
    return jnp.tanh(x @ p["w0"]) @ p["w1"]


def params_and_point(models, name):
    if name == "many outputs":
        return wide, {"w0": np.ones((4, 32), "float32"), "w1": np.ones((32, 40), "float32")}, (4,)
    return models[name].f, models[name].params(dtype="float32"), models[name].point


@pytest.mark.parametrize(("name", "method"), [("many outputs", "jacobian"), ("mlp", "auto"), ("convolution", "auto"), ("scan", "auto")])
def test_estimate_covers_what_the_compiler_reserves(models, name, method):
    f, params, point = params_and_point(models, name)
    tile = 32
    x = jax.ShapeDtypeStruct((tile, *point), "float32")
    compiled = jax.jit(ntk_function(f, output="trace", method=method)).lower(params, x, x).compile()
    reserved = compiled.memory_analysis()
    size = footprint(f, params, jax.ShapeDtypeStruct(point, "float32"), output="trace", method=method)
    estimate = tile**2 * size.bytes_per_pair + 2 * tile * size.bytes_per_point
    assert reserved.temp_size_in_bytes + reserved.output_size_in_bytes <= estimate
