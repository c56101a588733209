import math

import jax.numpy as jnp
import numpy as np
import pytest

from kernelregime import _checks
from kernelregime._checks import InputError


def message(function, *args, **kwargs):
    with pytest.raises(InputError) as caught:
        function(*args, **kwargs)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_every_message_says_expected_got_and_what_to_do():
    assert str(_checks.fail("a", "b", "do c")) == "expected a; got b; do c"
    assert issubclass(InputError, ValueError)


def test_what_is_counted_is_one_or_several():
    assert [_checks.counted(n, "row") for n in (0, 1, 2)] == ["0 rows", "1 row", "2 rows"]
    assert [_checks.counted(n, "class", "classes") for n in (1, 2)] == ["1 class", "2 classes"]
    assert "x to have 1 row;" in message(_checks.array, "x", np.ones((2, 3)), rows=1)


def test_the_nearest_name_is_suggested_and_a_distant_one_is_not():
    assert (
        message(_checks.one_of, "color", "gren", ["red", "green"])
        == "expected color to be one of green, red; got 'gren'; did you mean 'green'?"
    )
    assert message(_checks.one_of, "color", "GREEN", ["red", "green"]).endswith("did you mean 'green'?")
    assert message(_checks.one_of, "activation", "swish", ["silu", "sin"]).endswith("choose one of them")
    assert message(_checks.one_of, "color", "xyz", ["red", "green"]).endswith("choose one of them")
    assert _checks.one_of("color", "red", ["red", "green"]) == "red"


def test_an_entry_of_a_registry_is_found_by_name():
    assert _checks.from_registry("n", "one", {"one": 1}) == 1
    assert "did you mean 'one'?" in message(_checks.from_registry, "n", "On", {"one": 1})


@pytest.mark.parametrize("bad", [0, -3, 2.0, 1.5, True, "3", None, math.nan, np.float64(3)])
def test_only_integers_from_the_least_on_are_integers(bad):
    assert (
        message(_checks.integer, "depth", bad)
        == f"expected depth to be an integer of at least 1; got {bad!r}; give an integer, for example 1"
    )


def test_integers_of_numpy_become_python_integers():
    value = _checks.integer("n", np.int32(4))
    assert (value, type(value)) == (4, int)
    assert _checks.integer("n", 0, least=0) == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, "x", None, True, [1.0, 2.0]])
def test_only_finite_numbers_are_real(bad):
    assert message(_checks.real, "rate", bad).startswith(f"expected rate to be a finite number; got {bad!r}; ")


def test_the_bounds_of_a_number_are_named_and_kept():
    assert message(_checks.real, "s", -1, least=0).startswith("expected s to be a finite number, at least 0; got -1")
    assert message(_checks.real, "s", 0, above=0).startswith("expected s to be a finite number, above 0; got 0")
    assert message(_checks.real, "s", 2, least=0, most=1).startswith("expected s to be a finite number, at least 0, at most 1; got 2")
    assert _checks.real("s", 0, least=0) == 0.0
    assert _checks.real("s", np.float32(0.5), above=0, most=0.5) == 0.5
    assert _checks.real("s", "0.5") == 0.5


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.int64, np.uint8, bool])
def test_arrays_of_numbers_keep_their_kind(kind):
    out = _checks.array("x", np.ones((2, 3), kind), ndim=2, rows=2)
    assert (out.dtype, out.shape) == (np.dtype(kind), (2, 3))


def test_lists_and_jax_arrays_are_arrays():
    assert _checks.array("x", [[1, 2]], ndim=2).shape == (1, 2)
    assert isinstance(_checks.array("x", jnp.ones(3, jnp.bfloat16)), np.ndarray)


@pytest.mark.parametrize(
    ("value", "options", "wanted", "got"),
    [
        (["a"], {}, "x to hold real numbers", "dtype <U1"),
        ([[1.0], [1.0, 2.0]], {}, "x to be an array", "a list with rows of several lengths"),
        ([1j], {}, "x to hold real numbers", "dtype complex128"),
        ([1.0], {"ndim": 2}, "x to be 2-dimensional", "shape (1,)"),
        (1.0, {"ndim": (1, 2)}, "x to be 1-dimensional or 2-dimensional", "shape ()"),
        (np.ones((0, 3)), {}, "x to hold at least one value", "shape (0, 3)"),
        (np.ones((2, 3)), {"rows": 3}, "x to have 3 rows", "shape (2, 3)"),
        ([1.0, math.nan, math.inf], {}, "x to be finite", "2 NaN or infinite values"),
        (jnp.asarray([1.0, math.nan], jnp.bfloat16), {}, "x to be finite", "1 NaN or infinite value"),
    ],
)
def test_what_is_wrong_with_an_array_is_named(value, options, wanted, got):
    assert message(_checks.array, "x", value, **options).startswith(f"expected {wanted}; got {got}; ")


def test_values_that_are_not_finite_pass_where_they_are_allowed():
    assert np.isnan(_checks.array("x", [math.nan], finite=False)).all()
