from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from adapted import check, filled, points, steep, twice_backward

from kernelregime import empirical
from kernelregime._checks import InputError
from kernelregime.empirical.adapters import as_model

pytest.importorskip("flax")
from flax import core, linen

pytestmark = pytest.mark.usefixtures("compiling_quickly")

X = points(4)
IMAGES = points(6, 6, 2)


class Cnn(linen.Module):
    @linen.compact
    def __call__(self, x):
        x = jnp.tanh(linen.Conv(4, (3, 3), strides=(2, 2))(x))
        return linen.Dense(2)(jnp.tanh(linen.Conv(3, (3, 3))(x)).mean((1, 2)))


class Residual(linen.Module):
    @linen.compact
    def __call__(self, x):
        x = linen.Conv(3, (3, 3))(x)
        h = linen.Conv(3, (3, 3))(linen.gelu(linen.LayerNorm()(x)))
        return linen.Dense(2)((x + h).mean((1, 2)))


class Averaged(linen.Module):
    """A residual block with batch normalization and dropout, told at the call whether it is trained."""

    @linen.compact
    def __call__(self, x, train: bool):
        x = linen.Conv(3, (3, 3))(x)
        h = linen.Conv(3, (3, 3))(linen.gelu(linen.BatchNorm(use_running_average=not train)(x)))
        h = linen.Dropout(0.5, deterministic=not train)(h)
        return linen.Dense(2)((x + h).mean((1, 2)))


class Transformer(linen.Module):
    @linen.compact
    def __call__(self, tokens, deterministic=None):
        embed = linen.Embed(7, 4)
        x = embed(tokens)
        x = x + linen.MultiHeadDotProductAttention(num_heads=2, dropout_rate=0.1)(linen.LayerNorm()(x), deterministic=deterministic)
        x = x + linen.Dense(4)(linen.gelu(linen.Dense(6)(linen.LayerNorm()(x))))
        return embed.attend(x.mean(1))


class Recurrent(linen.Module):
    @linen.compact
    def __call__(self, x):
        # The carry begins in the dtype of the parameters.
        return linen.Dense(2)(linen.RNN(linen.GRUCell(4, param_dtype=jnp.float64))(x)[:, -1])


class Layer(linen.Module):
    @linen.compact
    def __call__(self, x, _):
        return jnp.tanh(linen.Dense(x.shape[-1])(x)), None


class Scanned(linen.Module):
    @linen.compact
    def __call__(self, x):
        x, _ = linen.scan(Layer, variable_axes={"params": 0}, split_rngs={"params": True}, length=3)()(x, None)
        return linen.Dense(2)(x)


class Custom(linen.Module):
    @linen.compact
    def __call__(self, x):
        return linen.Dense(2)(steep(linen.Dense(5)(twice_backward(linen.Dense(5)(x)))))


class Boxed(linen.Module):
    @linen.compact
    def __call__(self, x):
        init = linen.with_partitioning(linen.initializers.lecun_normal(), (None, "model"))
        return linen.Dense(2, kernel_init=init)(jnp.tanh(linen.Dense(5, kernel_init=init)(x)))


MODELS = {
    "mlp": (linen.Sequential([linen.Dense(6), jnp.tanh, linen.Dense(3)]), X, {}),
    "cnn with stride": (Cnn(), IMAGES, {}),
    "residual block with layer norm": (Residual(), IMAGES, {}),
    "residual block with batch norm and dropout": (Averaged(), IMAGES, {"train": False}),
    "transformer block with tied embedding": (Transformer(), points(3, integers=7), {"deterministic": True}),
    "rnn": (Recurrent(), points(4, 3), {}),
    "scanned layers": (Scanned(), X, {}),
    "custom derivatives": (Custom(), X, {}),
    "boxes of metadata": (Boxed(), X, {}),
}


def initialized(module: linen.Module, x: Any, *arguments: Any, **options: Any) -> Any:
    with jax.enable_x64(True):
        keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
        return filled(linen.unbox(jax.eval_shape(lambda: module.init(keys, x[:1], *arguments, **options))))


@pytest.mark.parametrize("name", MODELS)
def test_kernel_is_that_of_the_module_s_own_evaluation(name):
    module, x, options = MODELS[name]
    variables = initialized(module, x, **options)
    held = {collection: value for collection, value in variables.items() if collection != "params"}
    check((module, variables), lambda params, x: module.apply({"params": params, **held}, x, **options), variables["params"], x)


@pytest.fixture(scope="module")
def averaged():
    module = Averaged()
    return module, initialized(module, IMAGES, train=False)


def test_every_form_of_a_module_with_its_variables_is_the_same_model(averaged):
    module, variables = averaged
    forms = [
        module.bind(variables),
        (module, variables),
        (module, core.freeze(variables)),
        (module.bind(variables), variables),
        (module.apply, variables),
        (partial(module.apply, train=False), variables),
        (jax.jit(module.apply, static_argnames="train"), variables),
        (partial(jax.jit(module.apply, static_argnames="train"), train=False), variables),
    ]
    models = [as_model(form) for form in forms]
    assert {id(model.f) for model in models} == {id(models[0].f)}
    assert {model.notes for model in models} == {("evaluation mode: train=False", "batch statistics: running averages")}
    for model in models:
        assert type(model.params["params"]) is dict
        jax.tree.map(np.testing.assert_array_equal, model.params["params"], variables["params"])
        assert isinstance(model.params["batch_stats"], empirical.Frozen)


def test_running_averages_are_read_at_every_call(averaged):
    module, variables = averaged
    wider = {**variables, "batch_stats": jax.tree.map(lambda value: 2 * value, variables["batch_stats"])}
    first, second = (empirical.ntk((module, given), IMAGES) for given in (variables, wider))
    assert not np.allclose(first, second, rtol=1e-3)
    np.testing.assert_array_equal(empirical.ntk((module, variables), IMAGES), first)


def test_modules_of_one_structure_are_traced_once():
    traces = []

    class Counted(linen.Module):
        width: int

        @linen.compact
        def __call__(self, x):
            traces.append(x.shape)
            return linen.Dense(2)(jnp.tanh(linen.Dense(self.width)(x)))

    variables = initialized(Counted(5), X)
    empirical.ntk((Counted(5), variables), X)
    once = len(traces)
    again = jax.tree.map(lambda leaf: leaf + 1, variables)
    empirical.ntk((Counted(5), again), X)
    empirical.ntk(Counted(5).bind(again), X + 1)
    assert len(traces) == once
    empirical.ntk((Counted(6), initialized(Counted(6), X)), X)
    assert len(traces) > once


def test_modules_that_cannot_be_hashed_are_served():
    class Masked(linen.Module):
        mask: Any

        @linen.compact
        def __call__(self, x):
            return linen.Dense(2)(x * self.mask)

    variables = initialized(Masked(np.ones(4)), X)
    for mask in (np.ones(4), np.arange(4.0)):
        found = empirical.ntk((Masked(mask), variables), X)
        np.testing.assert_allclose(found, (X * mask) @ (X * mask).T + 1, rtol=1e-12)


def test_a_part_of_the_parameters_may_be_held():
    module = linen.Sequential([linen.Dense(6), jnp.tanh, linen.Dense(3)])
    variables = initialized(module, X)
    params = dict(variables["params"])
    last = params.pop("layers_2")
    model = (module, {"params": {**params, "layers_2": empirical.Frozen(last)}})
    check(model, lambda trained, x: module.apply({"params": {**trained, "layers_2": last}}, x), params, X)


def test_attributes_that_tell_of_training_are_set_for_evaluation():
    class Told(linen.Module):
        training: bool = True

        @linen.compact
        def __call__(self, x):
            return linen.BatchNorm(use_running_average=not self.training)(linen.Dense(2)(x))

    variables = initialized(Told(training=False), X)
    held = {"batch_stats": variables["batch_stats"]}
    own = Told(training=False)
    check((Told(), variables), lambda params, x: own.apply({"params": params, **held}, x), variables["params"], X)
    assert as_model((Told(), variables)).notes[0] == "evaluation mode: training=False"
    layer = linen.BatchNorm(use_running_average=False)  # which wants the attribute or the argument, not both
    assert empirical.ntk((layer, initialized(layer, X)), X).shape == (5, 5)


class Stubborn(linen.Module):
    """Trained whatever it is told."""

    layer: str

    @linen.compact
    def __call__(self, x):
        x = linen.Dense(2)(x)
        return linen.BatchNorm(use_running_average=False)(x) if self.layer == "norm" else linen.Dropout(0.5, deterministic=False)(x)


class Centred(linen.Module):
    @linen.compact
    def __call__(self, x):
        x = linen.Dense(2)(x)
        return jnp.tanh(x - x.mean(0))


def test_modules_that_cannot_be_evaluated_are_refused_with_advice():
    cases = [
        (Stubborn("norm"), "changes no variable.*use_running_average=True"),
        (Stubborn("dropout"), "draws no random numbers.*deterministic=True"),
        (Centred(), "each row of x on its own"),
    ]
    for module, message in cases:
        with pytest.raises(InputError, match=message):
            empirical.ntk((module, initialized(module, X)), X)


def test_what_is_no_module_with_variables_is_refused_with_advice(averaged):
    module, variables = averaged
    refused = [
        (module, "unbound Averaged alone; give module.bind"),
        ((module, variables["params"]), "collection 'params'; got those of .*give {'params': params"),
        ((module, None), "collection 'params'; got a NoneType"),
        ((module, variables, 3), "module with its variables"),
        ((module, {"params": {}}), "floating-point arrays"),
        ((partial(module.apply, rngs={}, mutable=["batch_stats"]), variables), "apply with mutable=; leave out mutable"),
        ((partial(module.apply, train=True), variables), "changes no variable|draws no random numbers"),
    ]
    for given, message in refused:
        with pytest.raises(InputError, match=message):
            empirical.ntk(given, IMAGES)
    with pytest.raises(InputError, match=r"points, here of shape \(4,\), that fit the module; got .*kernel.*initialize"):
        empirical.ntk((linen.Dense(2), initialized(linen.Dense(2), X[:, :3])), X)


def test_other_methods_of_a_module_are_evaluated_through_its_apply():
    class Two(linen.Module):
        def setup(self):
            self.first, self.last = linen.Dense(5), linen.Dense(2)

        def __call__(self, x):
            return self.last(self.features(x, True))

        def features(self, x, train):
            return jnp.tanh(self.first(x - x.mean(0) if train else x))

    module = Two()
    variables = initialized(module, X)
    for method in ("features", Two.features, module.features):
        model = (partial(module.apply, method=method), variables)
        first = variables["params"]["first"]
        check(model, lambda p, x: jnp.tanh(x @ p["kernel"] + p["bias"]), first, X)
        assert as_model(model).notes == ("evaluation mode: train=False",)


def test_modules_that_need_more_than_points_are_refused_with_advice():
    class Masked(linen.Module):
        @linen.compact
        def __call__(self, x, mask):
            return linen.Dense(2)(x * mask)

    with pytest.raises(InputError, match=r"also needs 'mask'; pass \(f, params\)"):
        empirical.ntk((Masked(), initialized(Masked(), X, 1.0)), X)


def test_linearizations_take_modules(averaged):
    module, variables = averaged
    model = as_model((module, variables))
    linear = jax.jit(empirical.linearize(model))
    with jax.enable_x64(True):
        expected = module.apply(variables, IMAGES, train=False)
        np.testing.assert_allclose(linear(model.params, IMAGES), expected, rtol=1e-12)
