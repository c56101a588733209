import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernelregime.empirical import gram, kernel
from kernelregime.empirical.footprint import footprint
from kernelregime.grams.tiles import tile_side

LONGER = 8
WAYS_TO_ENTER = (
    "mlp",
    "one matrix three times",
    "layer norm",
    "several positions",
    "scan",
    "stacked layers",
    "attention",
    "embedding",
    "heads",
)


def shapes_of(model):
    """The model at a size where its arrays outweigh the rest, as shapes."""
    model = model.scaled(LONGER)
    params = {name: jax.ShapeDtypeStruct(shape, np.float32) for name, shape in model.shapes.items()}
    return model.f, params, jax.ShapeDtypeStruct(model.point, np.int32 if model.integers else np.float32)


def chosen(f, params, point, points, output="trace", method="auto"):
    x = jax.ShapeDtypeStruct((points, *point.shape), point.dtype)
    return gram.with_forms(kernel.Options(output, method), gram.analysed(f, params, x, output), points=points)


def reserved_and_estimated(f, params, point, tile, *, output="trace", method="auto"):
    x = jax.ShapeDtypeStruct((tile, *point.shape), point.dtype)
    options = chosen(f, params, point, tile, output, method)
    reserved = jax.jit(lambda params, x1, x2: kernel.parts(f, params, x1, x2, options)).lower(params, x, x).compile().memory_analysis()
    size = footprint(f, params, point, options)
    estimated = size.bytes_once + 2 * tile * size.bytes_per_point + tile**2 * size.bytes_per_pair
    return reserved.temp_size_in_bytes + reserved.output_size_in_bytes, estimated


def test_estimate_covers_what_the_compiler_reserves(model):
    reserved, estimated = reserved_and_estimated(*shapes_of(model), 64)
    assert reserved <= estimated


@pytest.mark.parametrize(("output", "method"), [("full", "auto"), ("trace", "jacobian")])
@pytest.mark.parametrize("name", WAYS_TO_ENTER)
def test_estimate_covers_every_output_and_method(models, name, output, method):
    reserved, estimated = reserved_and_estimated(*shapes_of(models[name]), 16, output=output, method=method)
    assert reserved <= estimated


def test_estimate_covers_deep_models():
    def deep(p, x):
        for w in p["layers"]:
            x = x + jnp.tanh(x @ w)
        return x.mean(1) @ p["w"]

    params = {"layers": [jax.ShapeDtypeStruct((32, 32), np.float32)] * 12, "w": jax.ShapeDtypeStruct((32, 5), np.float32)}
    for output in ("trace", "full"):
        reserved, estimated = reserved_and_estimated(deep, params, jax.ShapeDtypeStruct((10, 32), np.float32), 128, output=output)
        assert reserved <= estimated


@pytest.mark.parametrize("name", ["product of low rank", "one matrix three times", "branches"])
def test_share_covers_what_the_compiler_reserves_for_a_few_points_at_a_time(models, name):
    f, params, point = shapes_of(models[name])
    options = chosen(f, params, point, 100)
    size = footprint(f, params, point, options)
    memory = math.ceil(size.bytes_once + 6 * size.bytes_per_point + 60 * size.bytes_kept_per_point + 12**2 * size.bytes_per_pair)
    way = gram.share(memory, size, 100)
    chunk = way.chunk
    tile = tile_side(100, bytes_per_pair=size.bytes_per_pair, bytes_per_point=way.bytes_per_point, memory=way.left)
    x = jax.ShapeDtypeStruct((tile, *point.shape), point.dtype)
    assert 1 <= chunk < tile
    find = jax.jit(lambda params, x: kernel.gradients(f, params, x, options)[0])
    few = find.lower(params, jax.ShapeDtypeStruct((chunk, *point.shape), point.dtype)).compile().memory_analysis()
    rows, leaves = jax.eval_shape(lambda params, x: kernel.gradients(f, params, x, options)[0], params, x), ()
    contract = jax.jit(lambda rows, columns: kernel.contracted(rows, columns, leaves, (), options))
    whole = contract.lower(rows, rows).compile().memory_analysis()
    kept = whole.argument_size_in_bytes
    assert kept + few.temp_size_in_bytes + few.output_size_in_bytes <= memory
    assert kept + whole.temp_size_in_bytes + whole.output_size_in_bytes <= memory


def test_product_of_parameters_costs_a_gradient_of_its_own_size_for_every_point(models):
    f, params, point = shapes_of(models["product of low rank"])
    size = footprint(f, params, point, chosen(f, params, point, 100))
    product = 4 * params["a"].shape[0] * params["b"].shape[1]
    assert size.bytes_per_point >= product
    assert size.bytes_once >= product


def test_loop_is_charged_for_what_it_keeps_of_every_turn_and_once_for_its_body():
    def bytes_per_point(turns):
        def f(p, x):
            return jax.lax.scan(lambda h, _: (jnp.tanh(h @ p), None), x, None, length=turns)[0][:, :1]

        w, point = jax.ShapeDtypeStruct((64, 64), np.float32), jax.ShapeDtypeStruct((64,), np.float32)
        return footprint(f, w, point, chosen(f, w, point, 100, method="jacobian")).bytes_per_point

    ten, twenty, thirty = map(bytes_per_point, (10, 20, 30))
    assert ten > twenty - ten == thirty - twenty > 0
