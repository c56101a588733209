from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from adapted import check, filled, points, steep, twice_backward

from kernelregime import empirical
from kernelregime._checks import InputError
from kernelregime.empirical.adapters import as_model

eqx = pytest.importorskip("equinox")

pytestmark = pytest.mark.usefixtures("compiling_quickly")
X = points(4)
IMAGES = points(2, 6, 6)


class Cnn(eqx.Module):
    layers: list
    last: eqx.nn.Linear

    def __init__(self, key):
        self.layers = [eqx.nn.Conv2d(2, 4, 3, stride=2, key=key), eqx.nn.Conv2d(4, 3, 1, key=key)]
        self.last = eqx.nn.Linear(3, 2, key=key)

    def __call__(self, x):
        for layer in self.layers:
            x = jnp.tanh(layer(x))
        return self.last(x.mean((1, 2)))


class Residual(eqx.Module):
    first: eqx.nn.Conv2d
    second: eqx.nn.Conv2d
    norm: eqx.nn.LayerNorm
    last: eqx.nn.Linear

    def __init__(self, key):
        self.first, self.second = eqx.nn.Conv2d(2, 3, 3, padding=1, key=key), eqx.nn.Conv2d(3, 3, 3, padding=1, key=key)
        self.norm, self.last = eqx.nn.LayerNorm((3, 6, 6)), eqx.nn.Linear(3, 2, key=key)

    def __call__(self, x):
        x = self.first(x)
        return self.last((x + self.second(jax.nn.gelu(self.norm(x)))).mean((1, 2)))


class Averaged(eqx.Module):
    """A residual block with batch norm, dropout and a key that it needs."""

    first: eqx.nn.Conv2d
    second: eqx.nn.Conv2d
    norm: eqx.nn.BatchNorm
    dropout: eqx.nn.Dropout
    last: eqx.nn.Linear

    def __init__(self, key, mode="ema"):
        self.first, self.second = eqx.nn.Conv2d(2, 3, 3, padding=1, key=key), eqx.nn.Conv2d(3, 3, 3, padding=1, key=key)
        self.norm, self.dropout = eqx.nn.BatchNorm(3, axis_name="batch", mode=mode), eqx.nn.Dropout(0.5)
        self.last = eqx.nn.Linear(3, 2, key=key)

    def __call__(self, x, state, *, key):
        x = self.first(x)
        h, state = self.norm(x, state)
        return self.last((x + self.dropout(self.second(jax.nn.gelu(h)), key=key)).mean((1, 2))), state


class Transformer(eqx.Module):
    """With one table for the embedding and the outputs."""

    tables: eqx.nn.Shared
    norm: eqx.nn.LayerNorm
    attention: eqx.nn.MultiheadAttention
    mlp: eqx.nn.MLP
    positions: Any

    def __init__(self, key):
        embedding, outputs = eqx.nn.Embedding(7, 4, key=key), eqx.nn.Linear(4, 7, use_bias=False, key=key)
        self.tables = eqx.nn.Shared((embedding, outputs), lambda pair: pair[1].weight, lambda pair: pair[0].weight)
        self.norm, self.mlp = eqx.nn.LayerNorm(4), eqx.nn.MLP(4, 4, 6, 1, jax.nn.gelu, key=key)
        self.attention = eqx.nn.MultiheadAttention(2, 4, dropout_p=0.1, key=key)
        self.positions = jnp.arange(3)  # integers are not trained

    def __call__(self, tokens, key=None):
        embedding, outputs = self.tables()
        x = jax.vmap(embedding)((tokens + self.positions) % 7)
        h = jax.vmap(self.norm)(x)
        x = x + self.attention(h, h, h, key=key)
        return outputs((x + jax.vmap(self.mlp)(x)).mean(0))


class Recurrent(eqx.Module):
    cell: eqx.nn.GRUCell
    last: eqx.nn.Linear

    def __init__(self, key):
        self.cell, self.last = eqx.nn.GRUCell(3, 4, key=key), eqx.nn.Linear(4, 2, key=key)

    def __call__(self, x):
        h, _ = jax.lax.scan(lambda h, u: (self.cell(u, h), None), jnp.zeros(4, x.dtype), x)
        return self.last(h)


class Scanned(eqx.Module):
    layers: eqx.nn.Linear
    last: eqx.nn.Linear

    def __init__(self, key):
        self.layers = eqx.filter_vmap(lambda key: eqx.nn.Linear(4, 4, key=key))(jax.random.split(key, 3))
        self.last = eqx.nn.Linear(4, 2, key=key)

    def __call__(self, x):
        arrays, static = eqx.partition(self.layers, eqx.is_array)
        h, _ = jax.lax.scan(lambda h, layer: (jnp.tanh(eqx.combine(layer, static)(h)), None), x, arrays)
        return self.last(h)


class Mlp(eqx.Module):
    layers: list
    scale: float

    def __init__(self, key, width=5):
        self.scale = 0.7  # a number is not trained
        self.layers = [eqx.nn.Linear(4, width, key=key), eqx.nn.Linear(width, 4, key=key), eqx.nn.Linear(4, 2, key=key)]

    @eqx.filter_jit
    def __call__(self, x):
        return self.scale * self.layers[2](steep(self.layers[1](twice_backward(self.layers[0](x)))))


def mlp(key):
    return eqx.nn.MLP(4, 3, 6, 2, jnp.tanh, key=key)


MODELS = {
    "mlp": (mlp, X),
    "cnn with stride": (Cnn, IMAGES),
    "residual block with layer norm": (Residual, IMAGES),
    "transformer block with tied embedding": (Transformer, points(3, integers=7)),
    "rnn": (Recurrent, points(4, 3)),
    "scanned layers": (Scanned, X),
    "custom derivatives": (Mlp, X),
}


def made(build: Any, *arguments: Any) -> Any:
    """What `build` makes of a key, with values at random."""
    shapes = eqx.filter_eval_shape(build, jax.random.key(0), *arguments)
    arrays, others = eqx.partition(shapes, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))
    return eqx.combine(jax.tree.map(jnp.asarray, filled(arrays)), others)


def stateful(mode: str = "ema") -> tuple[Any, Any]:
    """A module with batch norm and its state, averages at random."""
    model, state = made(eqx.nn.make_with_state(Averaged), mode)
    return model, jax.tree.map(lambda leaf: jnp.abs(leaf) + 0.3 if leaf.ndim else leaf, state)


@pytest.mark.parametrize("name", MODELS)
def test_kernel_is_that_of_the_module_s_own_evaluation(name):
    build, x = MODELS[name]
    with jax.enable_x64(True):
        module = made(build)
        trained, rest = eqx.partition(module, eqx.is_inexact_array)
        rest = eqx.nn.inference_mode(rest)
    check(module, lambda trained, x: jax.vmap(eqx.combine(trained, rest))(x), trained, x)


@pytest.mark.parametrize("mode", ["ema", "batch"])
def test_batch_norm_uses_its_running_averages_and_dropout_is_off(mode):
    module, state = stateful(mode)
    with jax.enable_x64(True):
        trained, rest = eqx.partition(eqx.nn.inference_mode(module), eqx.is_inexact_array)
        averages, counts = eqx.partition(state, eqx.is_inexact_array)
        trained, averages = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), (trained, averages))

    def own(trained, x):
        model, state = eqx.combine(trained, rest), eqx.combine(averages, counts)
        return jax.vmap(lambda point: model(point, state, key=None)[0], axis_name="batch")(x)

    check((module, state), own, trained, IMAGES)
    expected = ("dropout off", "batch statistics: running averages", "evaluation mode: key=None")
    assert as_model((module, state)).notes == expected
    assert not module.dropout.inference


def test_a_shared_parameter_counts_once():
    assert len(jax.tree.leaves(as_model(made(Transformer)).params["params"])) == 11


def test_arrays_that_are_no_parameters_and_numbers_are_read_at_every_call():
    first = made(Transformer)
    tokens = points(3, integers=7)
    second = eqx.tree_at(lambda model: model.positions, first, jnp.array([2, 0, 5]))
    assert not np.allclose(empirical.ntk(first, tokens), empirical.ntk(second, tokens), rtol=1e-3)
    small = made(Mlp)
    large = eqx.tree_at(lambda model: model.scale, small, 7.0)
    np.testing.assert_allclose(empirical.ntk(large, X), 100 * empirical.ntk(small, X), rtol=1e-4)


def test_state_is_read_at_every_call():
    module, state = stateful()
    other = jax.tree.map(lambda leaf: leaf if leaf.ndim == 0 else 3 * leaf, state)
    first, second = empirical.ntk((module, state), IMAGES), empirical.ntk((module, other), IMAGES)
    assert not np.allclose(first, second, rtol=1e-3)


def test_modules_of_one_structure_are_traced_once():
    traces = []

    class Counted(eqx.Module):
        layer: eqx.nn.Linear

        def __call__(self, x):
            traces.append(x.shape)
            return jnp.tanh(self.layer(x))

    def build(width):
        return made(lambda key: Counted(eqx.nn.Linear(4, width, key=key)))

    empirical.ntk(build(2), X)
    once = len(traces)
    again = jax.tree.map(lambda leaf: leaf + 1, build(2))
    empirical.ntk(again, X + 1)
    assert len(traces) == once
    empirical.ntk(build(3), X)
    assert len(traces) > once


def test_modules_that_cannot_be_hashed_are_served():
    class Masked(eqx.Module):
        layer: eqx.nn.Linear
        mask: Any

        def __call__(self, x):
            return self.layer(x * jnp.asarray(self.mask.values))

    class Mask:
        __hash__ = None

        def __init__(self, *values):
            self.values = values

    for values in ((1.0, 1.0, 1.0, 1.0), (0.0, 1.0, 2.0, 3.0)):
        found = empirical.ntk(Masked(eqx.nn.Linear(4, 2, key=jax.random.key(0)), Mask(*values)), X, dtype="float64")
        np.testing.assert_allclose(found, (X * values) @ (X * values).T + 1, rtol=1e-12)


def test_modules_that_cannot_be_evaluated_are_refused_with_advice():
    class Batched(eqx.Module):
        layer: eqx.nn.Linear

        def __call__(self, x):
            return jax.vmap(self.layer)(x)

    class Centred(eqx.Module):
        layer: eqx.nn.Linear

        def __call__(self, x):
            return self.layer(x - jax.lax.pmean(x, "batch"))

    class Masked(eqx.Module):
        layer: eqx.nn.Linear

        def __call__(self, x, mask):
            return self.layer(x * mask)

    layer, (module, state) = made(lambda key: eqx.nn.Linear(4, 2, key=key)), stateful()
    refused = [
        (
            Batched(layer),
            r"module of one example, here of shape \(4,\).*a model of a whole batch pass \(f, params\) with params",
        ),
        (Centred(layer), "each row of x on its own"),
        (Masked(layer), "also needs 'mask'; give .module, state. if"),
        (module, "also needs 'state'; give .module, state. if"),
        ((module, eqx.filter(module, eqx.is_array)), "or .module, state.; got a Averaged and a Averaged"),
        ((module, state, 3), "or .module, state."),
        (eqx.nn.StateIndex(jnp.zeros(2)), "can be called"),
    ]
    for given, message in refused:
        with pytest.raises(InputError, match=message):
            empirical.ntk(given, X)


def test_functions_of_parameters_by_equinox_are_functions():
    params = {"w": np.ones((4, 2))}
    np.testing.assert_allclose(empirical.ntk((eqx.filter_jit(lambda params, x: x @ params["w"]), params), X), X @ X.T, rtol=1e-12)


def test_a_model_of_a_batch_is_taken_as_a_function_as_the_advice_says():
    layer = made(lambda key: eqx.nn.Linear(4, 2, key=key))
    params, static = eqx.partition(layer, eqx.is_inexact_array)
    found = empirical.ntk((lambda params, x: jax.vmap(eqx.combine(params, static))(x), params), X)
    np.testing.assert_array_equal(found, empirical.ntk(layer, X))
