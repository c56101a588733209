import json
import textwrap

import jax
import numpy as np
import pytest

from kernelregime import data, empirical, grams, networks

FACTORIES = """
    import jax
    from kernelregime import networks

    CALLS = []

    def build(shape, seed=0, classes=10):
        CALLS.append((shape, seed, classes))
        net = networks.mlp(outputs=classes, depth=2, width=8) if len(shape) == 1 else networks.cnn(outputs=2, depth=2, channels=3)
        return net, net.init(jax.random.key(seed), shape)

    def needs(width):
        return width

    NUMBER = 3
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a module `ownmodel`, where the command is run."""
    (tmp_path / "ownmodel.py").write_text(textwrap.dedent(FACTORIES))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "ownmodel", raising=False)
    return tmp_path


def test_the_store_holds_the_kernel_of_the_model_that_the_factory_makes(answer, folder):
    code, out, errors = answer(
        "empirical", "--model", "ownmodel:build", "--data", "digits", "--points", "20", "--flat", "--dtype", "float64"
    )
    assert code == 0, errors
    assert errors.splitlines()[0] == "structured: 2 of 2 parameters enter by products, whose Jacobians need not be found by derivatives"
    assert "λ_max" in out
    x = data.points("digits", count=20).x
    net = networks.mlp(outputs=10, depth=2, width=8)
    here = empirical.ntk((net, net.init(jax.random.key(0), (64,))), x, dtype="float64")
    np.testing.assert_allclose(grams.store.open(folder / "runs" / "empirical.zarr").ntk.values, here, rtol=1e-12)


def test_images_stay_images_and_kernels_by_layer_add_up(answer, folder):
    options = ["empirical", "--model", "ownmodel:build", "--data", "digits", "--points", "10", "--seed", "3", "--quiet"]
    code, out, errors = answer(*options, "--by-layer", "--json", "--store", "parts.zarr")
    assert (code, errors) == (0, "")
    shown = json.loads(out)
    assert shown["shapes"] == {"0": [10, 10], "3": [10, 10]}
    assert shown["0"]["negative"] == 0
    assert answer(*options, "--store", "whole.zarr")[0] == 0
    parts, whole = grams.store.open("parts.zarr"), grams.store.open("whole.zarr")
    np.testing.assert_allclose(parts["0"].values + parts["3"].values, whole.ntk.values, rtol=1e-5)


def test_explain_says_what_would_be_done_and_computes_nothing(answer, folder):
    code, out, _ = answer("empirical", "--model", "ownmodel:build", "--data", "digits", "--points", "10", "--explain")
    assert code == 0
    assert out.startswith("structured: ")
    assert "0.w" in out
    assert not (folder / "runs").exists()
    code, out, _ = answer("empirical", "--model", "ownmodel:build", "--data", "digits", "--points", "10", "--explain", "--json")
    assert json.loads(out)["method"] == "structured"


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("ownmodel", "expected --model package.module:factory; got 'ownmodel'"),
        (
            "nowhere.here:build",
            "expected a module nowhere.here that can be imported; got none of this name; run in the folder of nowhere/here.py",
        ),
        ("ownmodel:nothing", "expected a function nothing in ownmodel; got build, needs in it"),
        ("ownmodel:NUMBER", "expected a function NUMBER in ownmodel"),
        ("ownmodel:needs", "expected a factory of no arguments, or of shape, seed, classes; got one that needs width"),
    ],
)
def test_what_is_no_factory_is_refused(refused, folder, model, told):
    assert told in refused("empirical", "--model", model, "--data", "digits", "--points", "10")
