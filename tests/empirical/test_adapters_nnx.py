import jax
import jax.numpy as jnp
import numpy as np
import pytest
from adapted import check, filled, points, steep, twice_backward

from kernelregime import empirical
from kernelregime._checks import InputError
from kernelregime.empirical.adapters import as_model

pytest.importorskip("flax")
from flax import nnx

pytestmark = pytest.mark.usefixtures("compiling_quickly")
X = points(4)
IMAGES = points(6, 6, 2)


class Mlp(nnx.Module):
    def __init__(self, rngs, width=6):
        self.first, self.last = nnx.Linear(4, width, rngs=rngs), nnx.Linear(width, 3, rngs=rngs)

    def __call__(self, x):
        return self.last(jnp.tanh(self.first(x)))


class Cnn(nnx.Module):
    def __init__(self, rngs):
        self.layers = nnx.List([nnx.Conv(2, 4, (3, 3), strides=(2, 2), rngs=rngs), nnx.Conv(4, 3, (3, 3), rngs=rngs)])
        self.last = nnx.Linear(3, 2, rngs=rngs)

    def __call__(self, x):
        for layer in self.layers:
            x = jnp.tanh(layer(x))
        return self.last(x.mean((1, 2)))


class Residual(nnx.Module):
    """With layer norm; or with batch norm and dropout."""

    def __init__(self, rngs, averaged=False):
        self.first, self.second = nnx.Conv(2, 3, (3, 3), rngs=rngs), nnx.Conv(3, 3, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(3, rngs=rngs) if averaged else nnx.LayerNorm(3, rngs=rngs)
        self.dropout = nnx.Dropout(0.5 if averaged else 0.0, rngs=rngs)
        self.last = nnx.Linear(3, 2, rngs=rngs)

    def __call__(self, x):
        x = self.first(x)
        return self.last((x + self.dropout(self.second(nnx.gelu(self.norm(x))))).mean((1, 2)))


class Transformer(nnx.Module):
    def __init__(self, rngs):
        self.embed = nnx.Embed(7, 4, param_dtype=jnp.float64, rngs=rngs)
        self.norm = nnx.LayerNorm(4, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(2, 4, dropout_rate=0.1, decode=False, rngs=rngs)
        self.up = nnx.Linear(4, 6, rngs=rngs)
        self.down = nnx.Linear(6, 4, rngs=rngs)

    def __call__(self, tokens):
        x = self.embed(tokens)
        x = x + self.attention(self.norm(x))
        x = x + self.down(nnx.gelu(self.up(x)))
        return self.embed.attend(x.mean(1))


class Tied(nnx.Module):
    """One layer under two names."""

    def __init__(self, rngs):
        self.first = nnx.Linear(4, 4, rngs=rngs)
        self.second = self.first
        self.last = nnx.Linear(4, 2, rngs=rngs)

    def __call__(self, x):
        return self.last(jnp.tanh(self.second(jnp.tanh(self.first(x)))))


class Recurrent(nnx.Module):
    def __init__(self, rngs):
        # The carry begins in the dtype of the parameters.
        self.rnn = nnx.RNN(nnx.GRUCell(3, 4, param_dtype=jnp.float64, rngs=rngs))
        self.last = nnx.Linear(4, 2, rngs=rngs)

    def __call__(self, x):
        return self.last(self.rnn(x)[:, -1])


class Scanned(nnx.Module):
    def __init__(self, rngs):
        self.layers = nnx.vmap(lambda rngs: nnx.Linear(4, 4, rngs=rngs))(rngs.split(3))
        self.last = nnx.Linear(4, 2, rngs=rngs)

    def __call__(self, x):
        x = nnx.scan(lambda x, layer: jnp.tanh(layer(x)), in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)(x, self.layers)
        return self.last(x)


class Custom(nnx.Module):
    def __init__(self, rngs):
        self.layers = nnx.List([nnx.Linear(4, 4, rngs=rngs) for _ in range(3)])

    def __call__(self, x):
        return self.layers[2](steep(self.layers[1](twice_backward(self.layers[0](x)))))


class Adapted(nnx.Module):
    """A layer whose other parameters are of a subclass of `Param`."""

    def __init__(self, rngs):
        self.layer = nnx.LoRALinear(4, 2, lora_rank=1, rngs=rngs)

    def __call__(self, x):
        return jnp.tanh(self.layer(x))


MODELS = {
    "mlp": (Mlp, X),
    "cnn with stride": (Cnn, IMAGES),
    "residual block with layer norm": (Residual, IMAGES),
    "residual block with batch norm and dropout": (lambda rngs: Residual(rngs, averaged=True), IMAGES),
    "transformer block with tied embedding": (Transformer, points(3, integers=7)),
    "layers that are one": (Tied, X),
    "rnn": (Recurrent, points(4, 3)),
    "scanned layers": (Scanned, X),
    "custom derivatives": (Custom, X),
    "parameters of low rank": (Adapted, X),
}


def made(build):
    """The module that `build` makes, with values at random."""
    with jax.enable_x64(True):
        graph, state = nnx.split(nnx.eval_shape(lambda: build(nnx.Rngs(0))))
        return nnx.merge(graph, filled(state))


@pytest.mark.parametrize("name", MODELS)
def test_kernel_is_that_of_the_module_s_own_evaluation(name):
    build, x = MODELS[name]
    module = made(build)
    evaluated = made(build)
    evaluated.eval()

    graph, params, rest = nnx.split(evaluated, nnx.Param, ...)
    # Variables are made anew where they are written to: the cell of an RNN counts its random keys.
    check(module, lambda params, x: nnx.merge(graph, params, jax.tree.map(jnp.asarray, rest))(x), params, x)


def test_a_parameter_with_two_names_counts_once():
    assert len(jax.tree.leaves(as_model(made(Tied)).params["params"])) == 4


def test_the_module_itself_stays_as_it_is():
    module = made(lambda rngs: Residual(rngs, averaged=True))
    before = jax.tree.leaves(nnx.state(module, nnx.Not(nnx.RngState)))
    model = as_model(module)
    empirical.ntk(model, IMAGES)
    assert not module.dropout.deterministic
    assert not module.norm.use_running_average
    jax.tree.map(np.testing.assert_array_equal, jax.tree.leaves(nnx.state(module, nnx.Not(nnx.RngState))), before)
    assert model.notes == ("dropout off", "batch statistics: running averages")


def test_notes_say_only_what_is_true():
    class Shifted(nnx.Module):
        def __init__(self, rngs):
            self.layer, self.shift = nnx.Linear(4, 2, rngs=rngs), nnx.Cache(jnp.ones(2))

        def __call__(self, x, train=True):
            return self.layer(x) + self.shift

    assert as_model(made(Residual)).notes == ()
    assert as_model(Shifted(nnx.Rngs(0))).notes == ("variables of the class Cache held fixed", "evaluation mode: train=False")


def test_values_changed_in_place_change_the_kernel():
    module = made(lambda rngs: Residual(rngs, averaged=True))
    first = empirical.ntk(module, IMAGES)
    module.norm.var[...] = 3 * module.norm.var[...]
    second = empirical.ntk(module, IMAGES)
    module.last.kernel[...] = 2 * module.last.kernel[...]
    third = empirical.ntk(module, IMAGES)
    module.norm.epsilon = 1.0
    fourth = empirical.ntk(module, IMAGES)
    for before, after in ((first, second), (second, third), (third, fourth)):
        assert not np.allclose(before, after, rtol=1e-3)


def test_modules_of_one_structure_are_traced_once():
    traces = []

    class Counted(Mlp):
        def __call__(self, x):
            traces.append(x.shape)
            return super().__call__(x)

    empirical.ntk(made(Counted), X)
    once = len(traces)
    again = made(Counted)
    again.first.bias[...] = again.first.bias[...] + 1
    empirical.ntk(again, X + 1)
    assert len(traces) == once
    empirical.ntk(made(lambda rngs: Counted(rngs, 5)), X)
    assert len(traces) > once


def test_attributes_that_tell_of_training_are_set_for_evaluation():
    class Told(Mlp):
        def __init__(self, rngs, training):
            super().__init__(rngs)
            self.training = training

        def __call__(self, x):
            return super().__call__(x - x.mean(0) if self.training else x)

    trained = made(lambda rngs: Told(rngs, True))
    np.testing.assert_array_equal(empirical.ntk(trained, X), empirical.ntk(made(Mlp), X))
    assert trained.training


def test_modules_that_cannot_be_evaluated_are_refused_with_advice():
    class Centred(Mlp):
        def __call__(self, x):
            return super().__call__(x - x.mean(0))

    class Noisy(Mlp):
        def __init__(self, rngs):
            super().__init__(rngs)
            self.rngs = rngs

        def __call__(self, x):
            return super().__call__(x + jax.random.normal(self.rngs.noise(), x.shape, x.dtype))

    class Masked(Mlp):
        def __call__(self, x, mask):
            return super().__call__(x * mask)

    module = made(Mlp)
    refused = [
        (made(Centred), "each row of x on its own.*running averages"),
        (made(Noisy), "each row of x on its own.*dropout"),
        (made(Masked), "also needs 'mask'; pass .f, params."),
        ((module, X), "module alone.*got a pair; give the module"),
        (nnx.split(module), "module alone.*got a pair; give the module"),
        (nnx.state(module), "module alone.*got a State"),
        (nnx.eval_shape(lambda: Mlp(nnx.Rngs(0))), "whose variables hold arrays; got a ShapeDtypeStruct"),
    ]
    for given, message in refused:
        with pytest.raises(InputError, match=message):
            empirical.ntk(given, X)


def test_embeddings_follow_the_precision_asked_for():
    class Single(nnx.Module):
        def __init__(self, rngs):
            self.embed = nnx.Embed(7, 4, rngs=rngs)  # which fixes its dtype when it is made

        def __call__(self, tokens):
            return jnp.tanh(self.embed(tokens).sum(1))

    module, tokens = Single(nnx.Rngs(0)), points(3, integers=7)
    table = np.asarray(module.embed.embedding[...])
    check(module, lambda table, tokens: jnp.tanh(table[tokens].sum(1)), table.astype(np.float64), tokens)
    assert module.embed.dtype == np.float32


def test_functions_of_parameters_by_nnx_are_functions():
    params = {"w": np.ones((4, 2))}
    np.testing.assert_allclose(empirical.ntk((nnx.jit(lambda params, x: x @ params["w"]), params), X), X @ X.T, rtol=1e-12)
