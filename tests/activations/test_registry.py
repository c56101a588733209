import jax
import jax.numpy as jnp
import pytest

from kernelregime import activations
from kernelregime._checks import InputError
from kernelregime.activations import Dual, Kind, Nonlinearity


def test_each_name_gives_the_kind_of_that_name():
    for name, kind in activations.REGISTRY.items():
        assert activations.get(name).kind is kind
        assert kind.name == name


def test_a_nonlinearity_passes_through_and_a_function_becomes_one():
    relu = activations.get("relu")
    assert activations.get(relu) is relu
    assert isinstance(activations.get(jnp.cos), Nonlinearity)


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(InputError, match=r"got 'rellu'; did you mean 'relu'\?"):
        activations.get("rellu")


def test_an_unknown_parameter_is_refused():
    with pytest.raises(InputError, match=r"no parameters for relu; got slope; leave it out"):
        activations.get("relu", slope=0.1)


def test_parameters_of_a_kind_are_named_numeric_leaves():
    kind = Kind(
        "power",
        lambda x, s: s * x,
        lambda x, s: s + 0 * x,
        lambda q, s: s * s * q,
        lambda a, b, w, v, s: Dual(w, v, s * s + 0 * w),
        (("s", 2.0),),
    )
    phi = Nonlinearity(kind, (3.0,))
    assert phi.name == "power(s=3.0)"
    assert jax.tree.leaves(phi) == [3.0]
    assert float(phi(jnp.asarray(2.0))) == 6.0
    assert float(phi.dual(*map(jnp.asarray, (1.0, 1.0, 0.5, 1.5))).derivative) == 9.0
    assert float(jax.grad(lambda p: p.second_moment(jnp.asarray(2.0)))(phi).values[0]) == 12.0


def test_a_name_may_carry_its_parameters():
    assert activations.get("leaky_relu(alpha=0.1)").values == (0.1,)
    assert activations.get("monomial(degree=3)").kind is activations.get("monomial", degree=3).kind
    for name in ("leaky_relu(alpha=0.1)", "hermite(degree=4)"):
        assert activations.get(activations.get(name).name).name == name


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("leaky_relu(0.1)", "name every parameter"),
        ("leaky_relu(alpha=x)", "alpha to be a finite number"),
        ("leaky_relu(slope=1)", "parameter of leaky_relu"),
        ("monomial", "monomial with degree="),
        ("monomial(degree=1.5)", "degree to be an integer"),
    ],
)
def test_parameters_that_cannot_be_read_are_refused(given, words):
    with pytest.raises(InputError, match=words):
        activations.get(given)


def test_a_kernel_without_a_function_is_refused_where_values_are_needed():
    with pytest.raises(InputError, match="kernel only"):
        activations.get("exp_normalized")(jnp.ones(3))
