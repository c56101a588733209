import jax
import jax.numpy as jnp
import pytest

from kernelregime.empirical import model as models_of
from kernelregime.empirical.entrances import entrances
from kernelregime.empirical.plan import program_of


def entrances_of(f, params, point):
    held = models_of.parameters(params)
    program = program_of(f, held, point)
    return entrances(program, held.trained, [len(held.leaves)])


def test_every_product_is_found_and_no_other(model):
    params, x = model.params(dtype="float32"), model.points(1, dtype="float32")
    found = entrances_of(model.f, params, jax.eval_shape(lambda x: x[0], x))
    assert sum(entrance.product for entrance in found) == model.products


def test_weight_and_bias_of_a_layer_share_one_site(models):
    model = models["mlp"]
    found = entrances_of(model.f, model.params(dtype="float32"), jnp.ones(4))
    names = sorted(model.params())  # the order of leaves in a dict
    sites = dict(zip(names, (entrance.uses[0].site for entrance in found), strict=True))
    assert sites["w0"] == sites["b0"]
    assert sites["w1"] == sites["b1"]
    assert sites["w2"] == sites["b2"]
    assert len(set(sites.values())) == 3


def test_parameter_without_influence_has_no_entrance(models):
    model = models["unused branch"]
    assert len(entrances_of(model.f, model.params(dtype="float32"), jnp.ones(4))) == 1


@pytest.mark.parametrize(
    ("change", "products"),
    [
        (lambda w, x: (2 * w.T / 3).T, 1),
        (lambda w, x: -w[::-1], 1),
        (lambda w, x: w.reshape(2, 2, 6).reshape(4, 6), 1),
        (lambda w, x: w + 1, 1),
        (lambda w, x: w * jnp.arange(6.0), 0),
        (lambda w, x: w * x.sum(), 1),
        (lambda w, x: w * jnp.broadcast_to(x.sum(), w.shape), 1),
        (lambda w, x: w * jnp.broadcast_to(x.T, w.shape), 0),
        (lambda w, x: w * w, 0),
        (lambda w, x: 1 / w, 0),
        (lambda w, x: jnp.abs(w), 0),
        (lambda w, x: jnp.tril(w), 0),
        (lambda w, x: w[:, :3], 1),
        (lambda w, x: jnp.concatenate([w, w]).reshape(4, 12), 0),
        (lambda w, x: w.astype("bfloat16").astype("float32"), 0),
    ],
)
def test_only_isometries_and_constant_scales_are_passed_on_the_way_to_a_product(change, products):
    found = entrances_of(lambda w, x: jnp.tanh(x @ change(w, x)), jnp.ones((4, 6)), jnp.ones(4))
    assert sum(entrance.product for entrance in found) == products
