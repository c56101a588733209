"""The NTK of PyTorch modules: against plain autograd, and against JAX with the same weights."""

import copy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernelregime import empirical
from kernelregime._checks import InputError

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch_modules import MODULES, OUTPUTS, POINT, built, close, gradients, mlp, naive, points, trained  # noqa: E402

from kernelregime.empirical.adapters.torch import gram as driver  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


# torch has no forward derivative of weight_norm
WAYS = [(name, method) for name in MODULES for method in ("jacobian", "products") if (name, method) != ("parametrized", "products")]


@pytest.mark.parametrize(("name", "method"), WAYS)
def test_kernel_is_that_of_gradients_by_plain_autograd(name, method):
    module, x1, x2 = built(name)
    expected = naive(module, x1, x2)
    for output in OUTPUTS:
        assert close(empirical.ntk(module, x1, x2, output=output, method=method, dtype="float64"), expected[output])


@pytest.mark.parametrize("method", ["auto", "structured"])
def test_other_methods_give_the_same(method):
    module, x1, x2 = built("cnn")
    assert close(empirical.ntk(module, x1, x2, method=method, dtype="float64"), naive(module, x1, x2)["trace"])


def weights(module):
    return {name: parameter.detach().double().numpy() for name, parameter in module.named_parameters()}


def linear(p, name, x):
    return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]


def mlp_in_jax(p, x):
    return linear(p, "4", jax.nn.relu(linear(p, "2", jnp.tanh(linear(p, "0", x)))))


def convolution(p, name, x, stride, padding):
    axes = ("NCHW", "OIHW", "NCHW")
    found = jax.lax.conv_general_dilated(x, p[f"{name}.weight"], (stride,) * 2, [(padding,) * 2] * 2, dimension_numbers=axes)
    return found + p[f"{name}.bias"][:, None, None]


def cnn_in_jax(p, x):
    h = jax.nn.gelu(convolution(p, "0", x, 2, 1), approximate=False)
    return linear(p, "4", convolution(p, "2", h, 1, 0).reshape(len(x), -1))


def normalized(p, name, x):
    return (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-5) * p[f"{name}.weight"] + p[f"{name}.bias"]


def transformer_in_jax(p, x):
    block = {name.removeprefix("block."): value for name, value in p.items()}
    h = p["embedding.weight"][x]
    n, length, width = h.shape
    joint = h @ block["self_attn.in_proj_weight"].T + block["self_attn.in_proj_bias"]
    q, k, v = (part.reshape(n, length, 2, 4).swapaxes(1, 2) for part in jnp.split(joint, 3, -1))
    mixed = (jax.nn.softmax(q @ k.swapaxes(2, 3) / 2) @ v).swapaxes(1, 2).reshape(n, length, width)
    h = normalized(block, "norm1", h + linear(block, "self_attn.out_proj", mixed))
    h = normalized(block, "norm2", h + linear(block, "linear2", jax.nn.relu(linear(block, "linear1", h))))
    return h.mean(1) @ p["embedding.weight"].T


@pytest.mark.parametrize("name", ["mlp", "cnn", "transformer"])
def test_kernel_is_that_of_the_same_network_in_jax(name):
    module, x1, x2 = built(name)
    f = {"mlp": mlp_in_jax, "cnn": cnn_in_jax, "transformer": transformer_in_jax}[name]
    there = empirical.ntk((f, weights(module)), x1, x2, output="full", method="jacobian")
    assert close(empirical.ntk(module, x1, x2, output="full", dtype="float64"), there, 1e-10)
    trace = np.einsum("ijoo->ij", there) / there.shape[-1]
    assert close(empirical.ntk(module, x1, x2, dtype="float64"), trace, 1e-10)


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("method", ["jacobian", "products"])
def test_kernel_does_not_depend_on_the_memory_budget(output, method):
    budget = {"jacobian": 12_000, "products": 6_000}[method]
    module, x1, x2 = mlp(), points(POINT, 11, 1), points(POINT, 7, 2)
    for pair in ((x1, x2), (x1,)):
        (small, tiles), (large, one) = (counted(module, pair, output, method, memory) for memory in (budget, None))
        assert tiles > one
        assert close(small, large)
        if len(pair) == 1:
            assert close(small, small.transpose({"full": (1, 0, 3, 2), "diagonal": (1, 0, 2)}.get(output, (1, 0))))


def counted(module, pair, output, method, memory):
    done = []
    options = {"output": output, "method": method, "memory": memory, "dtype": "float64"}
    result = empirical.ntk(module, *pair, progress=lambda *count: done.append(count), **options)
    assert done == [(i + 1, len(done)) for i in range(len(done))]
    return result, len(done)


def test_with_little_memory_gradients_of_one_output_at_a_time_make_larger_tiles():
    """And where not even those of some points fit, products with vectors need no more than the parameters."""
    module, x, plans = nn.Sequential(nn.Linear(4, 100), nn.Tanh(), nn.Linear(100, 50)), points(POINT, 8, 1), []
    parameters = 8 * sum(parameter.numel() for parameter in module.parameters())
    expected = naive(module, x, x)
    original = driver.plan
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver, "plan", lambda *given: plans.append(original(*given)) or plans[-1])
        for memory in (10**9, 30 * parameters, 10 * parameters):
            assert close(empirical.ntk(module, x, memory=memory, dtype="float64"), expected["trace"])
        with pytest.raises(InputError, match=r"at least \d+ bytes \(one pair of points\).*or method='products'"):
            empirical.ntk(module, x, output="full", method="jacobian", memory=30 * parameters, dtype="float64")
        assert close(empirical.ntk(module, x, output="full", memory=30 * parameters, dtype="float64"), expected["full"])
        with pytest.raises(InputError, match=r"at least \d+ bytes \(one pair of points\).*; give a larger memory="):
            empirical.ntk(module, x, method="products", memory=2 * parameters, dtype="float64")
    assert [(plan.products, plan.block) for plan in plans] == [(False, 50), (False, 1), (True, 1), (True, 1)]


@pytest.mark.parametrize("name", ["transformer", "frozen", "lstm", "batch norm"])
@pytest.mark.parametrize("method", ["jacobian", "products"])
def test_layers_add_up_to_the_kernel_and_each_is_that_of_its_parameters(name, method):
    module, x1, x2 = built(name)
    names = {}
    for parameter in trained(module):
        names.setdefault(parameter.rpartition(".")[0], []).append(parameter)
    whole, parts = naive(module, x1, x2), {layer: naive(module, x1, x2, group) for layer, group in names.items()}
    for output in OUTPUTS:
        found = empirical.ntk(module, x1, x2, output=output, by_layer=True, method=method, dtype="float64")
        assert list(found) == list(names)
        assert close(sum(found.values()), whole[output])
        assert all(close(found[layer], part[output]) for layer, part in parts.items())


def test_layers_of_a_symmetric_kernel_in_tiles_are_those_of_the_whole():
    module, x = mlp(), points(POINT, 9, 1)
    for output in OUTPUTS:
        small, large = (empirical.ntk(module, x, output=output, by_layer=True, memory=memory, dtype="float64") for memory in (14_000, None))
        assert all(close(small[name], large[name]) for name in ("0", "2", "4"))


def test_parameters_of_the_module_itself_have_parts_of_their_own():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale, self.inner = nn.Parameter(torch.tensor(1.5)), nn.ModuleList([nn.Linear(4, 3)])

        def forward(self, x):
            return torch.tanh(self.inner[0](x)) * self.scale

    found = empirical.ntk(Scaled(), points(POINT, 3, 1), by_layer=True)
    assert list(found) == ["scale", "inner.0"]


def test_tied_parameter_is_counted_once_with_all_its_uses():
    module, x1, x2 = built("transformer")
    untied = copy.deepcopy(module)
    untied.out.weight = nn.Parameter(module.out.weight.detach().clone())
    apart, tied = (empirical.ntk(given, x1, x2, by_layer=True, dtype="float64") for given in (untied, module))
    assert set(apart) - set(tied) == {"out"}
    by_parts = [gradients(untied, x, [name]) for name in ("embedding.weight", "out.weight") for x in (x1, x2)]
    first, second = by_parts[0] + by_parts[2], by_parts[1] + by_parts[3]
    assert close(tied["embedding"], np.einsum("iop,jop->ij", first, second) / 7)
    assert not np.allclose(tied["embedding"], apart["embedding"] + apart["out"])


def test_parameter_under_a_name_unknown_to_torch_is_found_where_vmap_misses_it():
    class Hidden(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4, 4))
            self.again = [self.weight]

        def forward(self, x):
            return torch.tanh(x @ self.weight) @ self.again[0]

    module, x = Hidden(), points(POINT, 4, 1)
    assert close(empirical.ntk(module, x, output="full", dtype="float64"), naive(module, x, x)["full"])
    with pytest.raises(InputError, match="forward derivatives that differ from those of autograd"):
        empirical.ntk(module, x, method="products", dtype="float64")
