"""PyTorch modules as they are given: what stays as it was, what is stored, what is refused."""

import copy

import numpy as np
import pytest

from kernelregime import empirical, grams
from kernelregime._checks import InputError

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812
from torch_modules import POINT, ROUNDING, TOKENS, Own, batch_norm, built, close, mlp, naive, points  # noqa: E402

from kernelregime.empirical.adapters import as_jax, as_model  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("name", ["batch norm", "transformer", "gru"])
@pytest.mark.parametrize("method", ["jacobian", "products"])
def test_module_is_left_as_it_was(name, method):
    module, x1, x2 = built(name)
    module.train()
    next(iter(module.children())).eval()
    next(module.parameters()).grad = torch.ones_like(next(module.parameters()))
    flags = [part.training for part in module.modules()]
    state = {key: value.clone() for key, value in module.state_dict().items()}
    identities = [(key, id(value), value.requires_grad) for key, value in module.named_parameters()]
    globally = torch.get_default_dtype(), torch.backends.mha.get_fastpath_enabled(), torch.is_grad_enabled(), torch.get_rng_state()
    empirical.ntk(module, x1, x2, method=method, dtype="float64")
    assert [part.training for part in module.modules()] == flags
    assert [(key, id(value), value.requires_grad) for key, value in module.named_parameters()] == identities
    assert all(torch.equal(value, state[key]) and value.dtype == state[key].dtype for key, value in module.state_dict().items())
    assert [parameter.grad is None for parameter in module.parameters()] == [False] + [True] * (len(identities) - 1)
    assert torch.equal(next(module.parameters()).grad, torch.ones_like(next(module.parameters())))
    assert (torch.get_default_dtype(), torch.backends.mha.get_fastpath_enabled(), torch.is_grad_enabled()) == globally[:3]
    assert torch.equal(torch.get_rng_state(), globally[3])


def test_module_that_counts_its_calls_or_changes_its_weights_is_left_as_it_was():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.calls, self.layer, self.table = 0, nn.Linear(2, 2), nn.Embedding(7, 2, max_norm=0.1)
            self.register_buffer("steps", torch.zeros(()))

        def forward(self, x):
            self.calls += 1
            self.steps += 1
            return self.layer(self.table(x[:, 0]))

    module, x = Counting(), points(TOKENS, 4, 1)
    before = module.table.weight.detach().clone()
    expected = naive(copy.deepcopy(module), x, x)["trace"]
    assert close(empirical.ntk(module, x, dtype="float64"), expected)
    assert (module.calls, module.steps) == (0, 0)
    assert torch.equal(module.table.weight, before)


def test_kernel_does_not_depend_on_the_state_of_torch_around_the_call():
    module, x1, x2 = built("transformer")
    expected = empirical.ntk(module, x1, x2)
    for state in (torch.no_grad(), torch.inference_mode(), torch.autocast("cpu", torch.bfloat16)):
        with state:
            np.testing.assert_array_equal(empirical.ntk(module, x1, x2), expected)


def test_precision_follows_the_parameters_unless_given():
    x = points(POINT, 3, 1)
    module = mlp()
    exact = naive(module, x, x)["trace"]
    single = empirical.ntk(module, x)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, exact, rtol=1e-4)
    assert close(empirical.ntk(copy.deepcopy(module).double(), x), exact)
    assert close(empirical.ntk(copy.deepcopy(module).double(), torch.tensor(x, requires_grad=True)), exact)
    assert empirical.ntk(copy.deepcopy(module).double(), x, dtype="float32").dtype == np.float32
    assert empirical.ntk(copy.deepcopy(module).half(), torch.tensor(x).half()).dtype == np.float32
    with pytest.raises(InputError, match="float32 or float64"):
        empirical.ntk(module, x, dtype="float16")


def test_store_resumes_and_refuses_another_module(tmp_path):
    module, x = mlp(), points(POINT, 9, 1)

    class Stopped(Exception):  # noqa: N818
        pass

    def stop(done, total):
        if done == 2:
            raise Stopped

    def stored(given=module, progress=None, **options):
        return empirical.ntk(given, x, memory=8_000, dtype="float64", store=tmp_path / "ntk.zarr", progress=progress, **options)

    with pytest.raises(Stopped):
        stored(progress=stop)
    seen = []
    found = stored(progress=lambda done, total: seen.append((done, total)))
    assert seen[0][0] == 2
    assert seen[-1][0] == seen[-1][1] > 2
    whole = empirical.ntk(module, x, dtype="float64")
    np.testing.assert_allclose(found.to_numpy(), whole, rtol=ROUNDING)
    np.testing.assert_array_equal(grams.store.open(tmp_path / "ntk.zarr").ntk, found)
    other = copy.deepcopy(module)
    with torch.no_grad():
        other[0].bias[0] += 1
    frozen = copy.deepcopy(module)
    frozen[0].bias.requires_grad_(False)
    for given, options in ((other, {}), (frozen, {}), (module, {"output": "pseudo"}), (module, {"by_layer": True})):
        with pytest.raises(InputError, match="another"):
            stored(given, **options)


def test_layers_in_a_store_are_read_one_by_one(tmp_path):
    module, x = mlp(), points(POINT, 5, 1)
    here = empirical.ntk(module, x, output="full", by_layer=True)
    found = empirical.ntk(module, x, output="full", by_layer=True, store=tmp_path / "ntk.zarr")
    assert list(found) == ["0", "2", "4"]
    for name, value in found.items():
        assert value.dims == ("x1", "x2", "output1", "output2")
        np.testing.assert_allclose(value.to_numpy(), here[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("engine", ["threads", "processes"])
def test_engines_give_the_same(engine):
    module, x = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)), points(POINT, 9, 1)
    found = empirical.ntk(module, x, engine=engine, workers=2, memory=24_000, dtype="float64")
    assert close(found, empirical.ntk(module, x, dtype="float64"))


def test_notes_say_what_is_held():
    module = batch_norm()
    module[3].bias.requires_grad_(False)
    notes = " | ".join(as_model(module).notes)
    for words in ("without dropout", "running statistics", "requires_grad=False: 3.bias", "buffers: 0.parts.1.running_mean"):
        assert words in notes
    assert as_model(nn.Linear(4, 2)).notes == ()


def bad(change):
    module = nn.Linear(4, 2)
    change(module)
    return module


REFUSED = {
    "batch statistics": (lambda: nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3, track_running_stats=False)), "batch statistics in '1'"),
    "mean over rows": (lambda: Own(lambda layer, x: layer(x) - layer(x).mean(0)), "rows that change with another row"),
    "number of rows": (lambda: Own(lambda layer, x: layer(x) / len(x)), "rows that change with their place or number"),
    "dropout": (lambda: Own(lambda layer, x: F.dropout(layer(x))), "outputs that change from call to call"),
    "not finite": (lambda: bad(lambda module: module.weight.data.fill_(np.nan)), "NaN or infinite values in 'weight'"),
    "complex": (lambda: nn.Linear(4, 2, dtype=torch.complex64), "'weight' of dtype torch.complex64"),
    "nothing trained": (lambda: mlp().requires_grad_(False), "6 parameters, none of them trained"),
    "no parameters": (nn.Tanh, "0 parameters, none of them trained"),
    "without values": (lambda: nn.LazyLinear(2), "'weight' without any"),
    "on the meta device": (lambda: nn.Linear(4, 2, device="meta"), "'weight' without any"),
    "several outputs": (lambda: Own(lambda layer, x: (layer(x), x)), "got a tuple"),
    "outputs with positions": (lambda: Own(lambda layer, x: layer(x)[:, :, None]), r"\(1, 3, 1\) for 1 point and \(3, 3, 1\) for 3"),
    "one number for all": (lambda: Own(lambda layer, x: layer(x).sum()), r"\(\) for 1 point"),
    "other shape": (lambda: nn.Linear(5, 2), "mat1 and mat2 shapes cannot be multiplied"),
    "own precision": (lambda: Own(lambda layer, x: layer(x).half()), "float16 outputs"),
    "cannot be copied": (lambda: bad(lambda module: setattr(module, "rows", (i for i in range(3)))), "copy.deepcopy"),
    "no gradient": (lambda: Own(lambda layer, x: layer(x).sqrt()), "values"),
    "a pair": (lambda: (nn.Linear(4, 2), {}), "a PyTorch module alone; got a tuple"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_kernel_is_refused(name):
    make, words = REFUSED[name]
    with pytest.raises(InputError, match=words):
        empirical.ntk(make(), points(POINT, 3, 1))


def test_script_of_torch_jit_is_refused():
    with pytest.warns(DeprecationWarning, match="torch.jit.script"):
        module = torch.jit.script(nn.Linear(4, 2))
    with pytest.raises(InputError, match="give the one that it was made from"):
        empirical.ntk(module, points(POINT, 3, 1))


def test_options_and_points_are_checked():
    module, x = nn.Linear(4, 2), points(POINT, 3, 1)
    for options, words in (({"output": "ful"}, "'full'"), ({"method": "product"}, "'products'"), ({"engine": "mpi"}, "engine")):
        with pytest.raises(InputError, match=words):
            empirical.ntk(module, x, **options)
    with pytest.raises(InputError, match="points of one shape"):
        empirical.ntk(module, x, x[:, :3])
    with pytest.raises(InputError, match="x1 to be finite"):
        empirical.ntk(module, np.full((2, 4), np.nan))
    with pytest.raises(InputError, match="index out of range"):
        empirical.ntk(nn.Sequential(nn.Embedding(3, 2), nn.Flatten()), np.full((2, 4), 5))


def test_products_refuse_what_has_no_forward_derivative_and_auto_does_without():
    module, x1, x2 = built("parametrized")
    with pytest.raises(InputError, match=r"forward derivatives .*use method='jacobian'"):
        empirical.ntk(module, x1, x2, method="products")
    assert close(empirical.ntk(module, x1, x2, memory=3_000, dtype="float64"), naive(module, x1, x2)["trace"])


def test_functions_in_jax_take_no_module():
    with pytest.raises(InputError, match=r"use empirical\.ntk"):
        as_jax(nn.Linear(4, 2))
