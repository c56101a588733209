"""Against neural-tangents: finite MLPs with their kernels and expansions."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from kernelregime import empirical

TOLERANCE = 1e-10
ORACLE = np.load(Path(__file__).parents[1] / "oracle" / "empirical.npz")
CASES = json.loads(str(ORACLE["__index__"]))
ACTIVATIONS = {"Relu": jax.nn.relu, "Erf": jax.scipy.special.erf, "Gelu": lambda x: jax.nn.gelu(x, approximate=False)}


def network(spec):
    """f(params, x) of a list of layers, and the names of its parameters."""

    def f(params, x):
        index = 0
        for layer, options in spec:
            if layer != "Dense":
                x = ACTIVATIONS[layer](x)
                continue
            w = params[f"W{index}"]
            ntk = options["parameterization"] == "ntk"
            x = x @ w * (options["W_std"] / w.shape[0] ** 0.5 if ntk else 1.0)
            if options["b_std"] is not None:
                x = x + params[f"b{index}"] * (options["b_std"] if ntk else 1.0)
            index += 1
        return x

    return f


def close(ours, reference):
    return np.abs(ours - reference).max() <= TOLERANCE * np.abs(reference).max()


@pytest.fixture(params=CASES)
def case(request):
    arrays = {name: ORACLE[f"{request.param}/{name}"] for name in CASES[request.param]["arrays"]}
    params = {name: value for name, value in arrays.items() if name[0] in "Wb"}
    return network(CASES[request.param]["spec"]), params, arrays


def test_there_are_twelve_cases():
    assert len(CASES) == 12


def test_kernels_are_those_of_neural_tangents(case, jit):
    f, params, arrays = case
    n, x = len(arrays["x1"]), np.concatenate([arrays["x1"], arrays["x2"]])

    def kernels(params):
        return [empirical.ntk_function(f, output=output)(params, x) for output in ("full", "trace", "diagonal")]

    with jax.enable_x64(True):
        full, trace, diagonal = (np.asarray(kernel) for kernel in jit(kernels)(params))
    assert close(full[:n, :n], arrays["ntk_11_full"])
    assert close(full[:n, n:], arrays["ntk_12_full"])
    assert close(trace[:n, :n], arrays["ntk_11_trace"])
    assert close(trace[:n, n:], arrays["ntk_12_trace"])
    assert close(diagonal[:n, n:], arrays["ntk_12_diag"])


@pytest.mark.parametrize("method", ["jacobian", "structured"])
def test_kernel_on_the_host_is_that_of_neural_tangents(method):
    name = "mlp_standard_erf_bias"
    x1, x2, reference = (ORACLE[f"{name}/{array}"] for array in ("x1", "x2", "ntk_12_trace"))
    params = {array: ORACLE[f"{name}/{array}"] for array in CASES[name]["arrays"] if array[0] in "Wb"}
    assert close(empirical.ntk((network(CASES[name]["spec"]), params), x1, x2, method=method), reference)


def test_expansions_are_those_of_neural_tangents(case, jit):
    f, params, arrays = case

    def expansions(params):
        moved = jax.tree.map(lambda value: value + 0.01, params)
        return [g(moved, arrays["x1"]) for g in (empirical.linearize((f, params)), empirical.taylor((f, params), order=2))]

    with jax.enable_x64(True):
        linear, quadratic = jit(expansions)(params)
        assert close(linear, arrays["f1_linearized"])
        assert close(quadratic, arrays["f1_taylor2"])
