import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernelregime import _precision
from kernelregime._checks import InputError


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        (["float32"], "float32"),
        (["float64"], "float64"),
        (["float32", "float64"], "float64"),
        (["float16"], "float32"),
        (["bfloat16", "float32"], "float32"),
        (["int64"], "float64"),
        (["uint8", "float32"], "float64"),
        ([], "float64"),
    ],
)
def test_the_precision_follows_the_finest_input(kinds, expected):
    arrays = [jnp.ones(2, kind) if kind == "bfloat16" else np.ones(2, kind) for kind in kinds]
    assert _precision.resolve(None, *arrays) == np.dtype(expected)


def test_lists_count_as_float64_and_absent_arrays_do_not_count():
    assert _precision.resolve(None, [1.0]) == np.float64
    assert _precision.resolve(None, np.ones(1, np.float32), None) == np.float32


@pytest.mark.parametrize("asked", ["float32", np.float32, jnp.float32, np.dtype("float32")])
def test_an_explicit_precision_wins(asked):
    assert _precision.resolve(asked, np.ones(2)) == np.float32


@pytest.mark.parametrize("bad", ["float16", "int32", "double precision", jnp.bfloat16, complex])
def test_other_precisions_are_refused(bad):
    with pytest.raises(InputError, match="expected dtype to be float32 or float64; got "):
        _precision.resolve(bad)


def test_float64_holds_inside_the_context_only():
    before = jnp.ones(1).dtype
    with _precision.enter("float64"):
        assert jnp.asarray([1.0]).dtype == jnp.float64
        with _precision.enter("float32"):
            assert jnp.asarray([1.0]).dtype == jnp.float32
    assert jnp.ones(1).dtype == before


def test_a_thread_does_not_inherit_float64_and_enters_it_itself():
    found = {}

    def work():
        found["outside"] = jnp.asarray([1.0]).dtype
        with _precision.enter("float64"):
            found["inside"] = jnp.asarray([1.0]).dtype

    with jax.enable_x64(False), _precision.enter("float64"):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert found == {"outside": jnp.float32, "inside": jnp.float64}


def test_a_result_of_another_precision_cannot_leave():
    assert _precision.to_host(jnp.ones(2, jnp.float32), "float32").dtype == np.float32
    with pytest.raises(RuntimeError, match="internal: a float32 result under a float64 request"):
        _precision.to_host(jnp.ones(2, jnp.float32), "float64")
