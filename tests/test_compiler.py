import subprocess
import sys
from dataclasses import make_dataclass
from functools import partial

import jax
import jax.numpy as jnp

from kernelregime import _compiler


def test_a_compiler_that_lacks_an_option_is_given_none(monkeypatch):
    assert _compiler.understood({"xla_no_such_option": 1}) == {}
    monkeypatch.setattr(_compiler, "WIDEST", {"xla_no_such_option": 1})

    @_compiler.compiled(static=("power",))
    def raised(x, *, power):
        return x**power

    assert raised(jnp.float32(3), power=2) == 9


def test_an_import_starts_no_device():
    code = "import kernelregime, kernelregime.infinite, jax; jax.config.update('jax_platforms', 'nowhere'); print(jax.numpy.ones(1))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "Unable to initialize backend 'nowhere'" in done.stderr


def test_programs_are_compiled_with_the_widest_vectors(monkeypatch):
    asked = []
    jit = jax.jit
    monkeypatch.setattr(jax, "jit", lambda function, **options: asked.append(options.get("compiler_options")) or jit(function, **options))
    assert _compiler.compiled()(lambda x: x + 1)(jnp.float32(1)) == 2
    assert asked[-1] == _compiler.understood(_compiler.WIDEST)


def test_records_of_two_types_are_two_programs():
    """JAX 0.10 takes dataclasses with equal fields for equal: of 150 such a program would be that of another in some 20."""
    one = partial(jax.tree_util.register_dataclass, data_fields=("value",), meta_fields=())
    kinds = [one(make_dataclass(f"Kind{number}", ["value"], frozen=True, namespace={"number": number})) for number in range(150)]
    read = _compiler.compiled()(lambda record: record.value * 0 + record.number)
    assert [int(read(kind(jnp.float32(1)))) for kind in kinds] == list(range(150))
    assert _compiler.form(kinds[0](1.0)) == _compiler.form(kinds[0](2.0)) != _compiler.form(kinds[1](1.0))
