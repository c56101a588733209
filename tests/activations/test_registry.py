import pickle

import jax
import jax.numpy as jnp
import pytest
from registry import ACTIVATIONS

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
    powers = activations.get("polynomial", coef=(0.3, 0.8, 0.2))
    for name in ("polynomial(coef=0.3 0.8 0.2)", "polynomial(coef = 0.3  8e-1 0.2 )", "polynomial(c2=0.2, c0=0.3, c1=0.8)"):
        assert activations.get(name) == powers
    assert activations.get("polynomial(c2=2)").values == (0.0, 0.0, 2.0)


@pytest.mark.parametrize("coef", ["0.3,0.8,0.2", "0.3, 0.8, 0.2", "0.3 0.8, 0.2", "[0.3, 0.8, 0.2]", "(0.3 0.8 0.2)", "0.3,0.8,0.2,"])
def test_coefficients_are_apart_by_commas_as_by_spaces(coef):
    assert activations.get(f"polynomial(coef={coef})") == activations.get("polynomial", coef=(0.3, 0.8, 0.2))


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_the_name_of_every_activation_gives_it_again(name):
    phi = ACTIVATIONS[name]
    again = activations.get(phi.name)
    assert again == phi
    assert again.name == phi.name


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("leaky_relu(0.1)", "name every parameter"),
        ("leaky_relu(alpha=0.1, 0.2)", "name every parameter"),
        ("polynomial(0.3, 0.8)", "name every parameter"),
        ("polynomial(coef=0.3, x)", "coef to be a finite number"),
        ("leaky_relu(alpha=x)", "alpha to be a finite number"),
        ("leaky_relu(slope=1)", "parameter of leaky_relu"),
        ("monomial", "monomial with degree="),
        ("monomial(degree=1.5)", "degree to be an integer"),
        ("polynomial", r"polynomial with coef="),
        ("polynomial(coef=)", r"polynomial with coef="),
        ("polynomial(coef=0.3 x)", "coef to be a finite number"),
        ("polynomial(k0=1)", r"polynomial with coef="),
    ],
)
def test_parameters_that_cannot_be_read_are_refused(given, words):
    with pytest.raises(InputError, match=words):
        activations.get(given)


def test_a_kernel_without_a_function_is_refused_where_values_are_needed():
    with pytest.raises(InputError, match="kernel only"):
        activations.get("exp_normalized")(jnp.ones(3))


def power_two(x):
    return x * x


@pytest.mark.parametrize("name", [*ACTIVATIONS, "a function"])
def test_a_pickled_activation_is_the_same_one(name):
    phi = activations.from_function(power_two) if name == "a function" else ACTIVATIONS[name]
    again = pickle.loads(pickle.dumps(phi))
    assert again == phi
    assert again.kind is phi.kind


def test_what_another_process_cannot_make_is_refused():
    kind = Kind("power", jnp.square, lambda x: 2 * x, lambda q: 3 * q * q, lambda a, b, w, v: Dual(w, v, w))
    with pytest.raises(InputError, match="an activation that another process can make; got the Kind 'power'; give it maker="):
        pickle.dumps(Nonlinearity(kind))


@pytest.mark.parametrize("family", ["hermite", "monomial", "rectified_monomial"])
def test_a_degree_is_one_kind_however_it_is_given(family):
    make = activations.FAMILIES[family]
    assert make(2) is make(degree=2) is activations.get(f"{family}(degree=2)").kind
