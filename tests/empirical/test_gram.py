from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hidden_layer import net, params_of, points

from kernelregime import empirical, networks
from kernelregime._checks import InputError

ROUNDING = 1e-12


class Counted:
    """A function that counts how often JAX traces it."""

    def __init__(self):
        self.calls = 0

    def __call__(self, p, x):
        self.calls += 1
        return net(p, x)


def naive(p, x1, x2):
    """Gradients of tanh(x w / 2 + b) v written out by hand."""

    def gradients(x):
        h = np.tanh(x @ p["w"] / 2 + p["b"])
        delta = (1 - h**2)[:, :, None] * p["v"]  # (N, hidden, O)
        w = np.einsum("ni,nho->noih", x / 2, delta)
        v = np.einsum("nh,op->nohp", h, np.eye(3))
        return np.concatenate([part.reshape(len(x), 3, -1) for part in (w, np.swapaxes(delta, 1, 2), v)], -1)

    return np.einsum("iop,jqp->ijoq", gradients(x1), gradients(x2))


@pytest.fixture(scope="module")
def reference():
    x1, x2 = points(7), points(5, 2)
    return x1, x2, naive(params_of(), x1, x2)


def close(a, b):
    return a.shape == b.shape and a.dtype == b.dtype and np.abs(a - b).max() <= ROUNDING * np.abs(b).max()


def test_kernel_is_that_of_gradients_written_by_hand(reference):
    x1, x2, full = reference
    params = params_of()
    assert close(empirical.ntk((net, params), x1, x2, output="full"), full)
    assert close(empirical.ntk((net, params), x1, x2), np.einsum("ijoo->ij", full) / 3)
    assert close(empirical.ntk((net, params), x1, x2, output="diagonal"), np.einsum("ijoo->ijo", full))


@pytest.mark.parametrize("output", ["trace", "full", "diagonal"])
def test_kernel_does_not_depend_on_the_memory_budget(output, models):
    # Two hidden layers: with one, the full kernel would be symmetric in its outputs.
    f, params, x1, x2 = models["mlp"].f, models["mlp"].params(), points(7), points(5, 2)

    def kernel(*points, memory):
        done = []
        result = empirical.ntk((f, params), *points, output=output, memory=memory, progress=lambda *count: done.append(count))
        assert done == [(i + 1, len(done)) for i in range(len(done))]
        return result, len(done)

    (small, tiles), (large, one) = kernel(x1, x2, memory=12_000), kernel(x1, x2, memory=None)
    assert tiles > one == 1
    assert close(small, large)
    many = points(40)
    (small, half), (large, one) = kernel(many, memory=12_000), kernel(many, memory=None)
    assert half > one == 1
    assert close(small, large)
    assert close(small, small.transpose((1, 0, 3, 2) if output == "full" else (1, 0, 2)[: small.ndim]))


def test_budget_too_small_for_a_pair_is_refused():
    with pytest.raises(InputError, match=r"at least \d+ bytes"):
        empirical.ntk((net, params_of()), points(3), memory=2000)


def test_budget_counts_what_is_computed_from_parameters_alone():
    params = {"a": np.ones((100, 1)), "b": np.ones((1, 100))}
    product = 8 * 100 * 100
    with pytest.raises(InputError, match=r"at least \d+ bytes"):
        empirical.ntk((lambda p, x: (x @ (p["a"] @ p["b"]))[:, :1], params), np.ones((3, 100)), memory=2 * product)


def test_gradients_are_found_for_fewer_points_than_a_tile_where_they_need_the_memory():
    def low_rank(p, x):
        return jnp.tanh(x @ (p["a"] @ p["b"])) @ p["o"]

    rng, shapes = np.random.default_rng(0), {"a": (60, 1), "b": (1, 60), "o": (60, 1)}
    params, x, tiles = {name: rng.standard_normal(shape) for name, shape in shapes.items()}, rng.standard_normal((40, 60)), []
    product = 8 * 60 * 60
    small = empirical.ntk((low_rank, params), x, memory=30 * product, progress=lambda done, total: tiles.append(total))
    assert len(tiles) == 1
    assert close(small, empirical.ntk((low_rank, params), x))


def batch_norm(p, x):
    h = x @ p["w"]
    return ((h - h.mean(0)) / jnp.sqrt(h.var(0) + 1e-5)) @ p["v"]


def dropout(p, x):
    h = x @ p["w"]
    return (h * jax.random.bernoulli(jax.random.key(0), 0.5, h.shape)) @ p["v"]


@pytest.mark.parametrize(
    ("f", "change"),
    [
        (batch_norm, "another row"),
        (lambda p, x: net(p, x) + net(p, x).sum(0), "another row"),
        (lambda p, x: net(p, jnp.flip(x, 0)), "another row"),
        (dropout, "their place or number"),
        (lambda p, x: net(p, x) / len(x), "their place or number"),
    ],
)
def test_function_whose_rows_depend_on_one_another_is_refused(f, change):
    for x1, x2 in ((points(3), None), (points(1), points(2, 2)), (np.concatenate([points(1), points(2)]), None)):
        with pytest.raises(InputError, match=f"each row of x on its own; got rows that change with {change}"):
            empirical.ntk((f, params_of()), x1, x2)


def test_rounding_that_depth_amplifies_is_not_taken_for_rows_that_depend_on_one_another():
    def chaotic(p, x):
        for _ in range(60):
            x = jnp.tanh(x @ p)
        return x

    def coarse(p, x):
        return (x.astype("bfloat16") @ p.astype("bfloat16")).astype(p.dtype)

    rng = np.random.default_rng(0)
    p, x = rng.standard_normal((32, 32)).astype("float32"), rng.standard_normal((3, 32)).astype("float32")
    for f in (chaotic, coarse):
        assert empirical.ntk((f, p), x).shape == (3, 3)


def test_later_calls_and_tiles_do_not_trace_the_function_again():
    f = Counted()
    x1, x2 = points(7), points(5, 2)
    once = empirical.ntk((f, params_of()), x1, x2)
    first, f.calls = f.calls, 0
    assert first > 0
    again = empirical.ntk((f, params_of(1)), x1, x2)
    assert f.calls == 0
    assert not np.allclose(once, again)
    g, tiles = Counted(), []
    empirical.ntk((g, params_of()), x1, x2, memory=7_000, progress=lambda done, total: tiles.append(total))
    assert len(tiles) >= 4
    assert g.calls == first


def test_method_of_an_object_is_compiled_once():
    class Network:
        calls = 0

        def apply(self, p, x):
            self.calls += 1
            return net(p, x)

    network = Network()
    empirical.ntk((network.apply, params_of()), points(3))
    before = network.calls
    empirical.ntk((network.apply, params_of(1)), points(3))
    assert network.calls == before


def test_float64_is_computed_in_a_worker_thread_and_equals_that_of_the_main_thread():
    params = params_of(dtype="float32")
    x = points(4)
    assert not jax.config.jax_enable_x64
    here = empirical.ntk((net, params), x, dtype="float64")
    with ThreadPoolExecutor(1) as pool:
        there = pool.submit(empirical.ntk, (net, params), x, dtype="float64").result()
    exact = {name: value.astype("float64") for name, value in params.items()}
    assert close(there, np.einsum("ijoo->ij", naive(exact, x, x)) / 3)
    np.testing.assert_array_equal(here, there)


def test_precision_follows_params_unless_given():
    x = points(3)
    assert empirical.ntk((net, params_of(dtype="float32")), x).dtype == np.float32
    assert empirical.ntk((net, params_of(dtype="float64")), x.astype("float32")).dtype == np.float64
    assert empirical.ntk((net, params_of(dtype="float64")), x, dtype="float32").dtype == np.float32
    assert empirical.ntk((net, jax.tree.map(jnp.asarray, params_of(dtype="float16"))), x).dtype == np.float32
    with jax.enable_x64(True):
        on_device = jax.tree.map(jnp.asarray, params_of(dtype="float64"))
    assert close(empirical.ntk((net, on_device), x), empirical.ntk((net, params_of()), x))


def test_function_that_fixes_its_own_precision_is_refused():
    with pytest.raises(InputError, match="f to compute in float64"):
        empirical.ntk((lambda p, x: net(p, x).astype("float32"), params_of()), points(3))


def test_outputs_without_an_axis_count_as_one_output():
    def f(p, x):
        return x @ p["w"][:, 0]

    def g(p, x):
        return x @ p["w"][:, :1]

    x = points(3)
    for output, shape in (("trace", (3, 3)), ("full", (3, 3, 1, 1)), ("diagonal", (3, 3, 1))):
        a, b = (empirical.ntk((h, params_of()), x, output=output) for h in (f, g))
        assert a.shape == shape
        assert close(a, b)


def test_points_of_integers_stay_integers():
    table = {"table": np.random.default_rng(0).standard_normal((9, 2))}
    x = np.array([0, 3, 3])
    kernel = empirical.ntk((lambda p, x: p["table"][x], table), x)
    np.testing.assert_array_equal(kernel, (x[:, None] == x).astype(float))


@pytest.mark.parametrize(
    ("x1", "x2", "says"),
    [
        (np.full((2, 4), np.nan), None, "x1 to be finite"),
        (points(2), np.full((2, 4), np.inf), "x2 to be finite"),
        (points(2), points(2)[:, :3], "points of one shape"),
        (np.float64(1.0), None, "one row for every point"),
        (points(2)[:, :3], None, r"x of shape \(N, 3\)"),
        (np.array([["a", "b"]]), None, "real numbers"),
        ([[1.0, 2.0], [3.0]], None, "rows of several lengths"),
        (params_of(), None, "got a dict, as of params; give f, params and x1 in this order"),
    ],
)
def test_points_that_cannot_be_used_are_refused(x1, x2, says):
    with pytest.raises(InputError, match=says):
        empirical.ntk((net, params_of()), x1, x2)


def test_params_and_kernels_that_are_not_finite_are_refused():
    broken = params_of()
    broken["v"][0, 0] = np.nan
    with pytest.raises(InputError, match="finite params"):
        empirical.ntk((net, broken), points(2))
    with pytest.raises(InputError, match="finite kernel"):
        empirical.ntk((lambda p, x: jnp.linalg.norm(x @ p["w"], axis=1), params_of()), np.zeros((1, 4)))


def test_unknown_options_are_refused():
    with pytest.raises(InputError, match="'full'"):
        empirical.ntk((net, params_of()), points(2), output="ful")
    with pytest.raises(InputError, match="'jacobian'"):
        empirical.ntk((net, params_of()), points(2), method="jacobi")
    with pytest.raises(InputError, match="float32 or float64"):
        empirical.ntk((net, params_of()), points(2), dtype="float16")


def test_gradients_of_some_parameters_after_others_give_the_whole_kernel(tmp_path):
    net = networks.cnn(outputs=4, depth=6, channels=12)
    x = np.random.default_rng(0).standard_normal((40, 8, 8, 3)).astype("float32")
    model, tiles = (net, net.init(jax.random.key(0), (8, 8, 3))), []
    told = empirical.explain(model, x, memory=4_500_000)
    assert told.passes > 1
    assert told.tiles == 1
    assert f"in {told.passes} passes" in str(told)
    whole = empirical.ntk(model, x)
    small = empirical.ntk(model, x, memory=4_500_000, progress=lambda done, total: tiles.append(total))
    assert tiles == [1]
    np.testing.assert_allclose(small, whole, rtol=1e-4, atol=1e-5 * np.abs(whole).max())
    parts = empirical.ntk(model, x, memory=4_500_000, by_layer=True)
    np.testing.assert_allclose(sum(parts.values()), whole, rtol=1e-4, atol=1e-5 * np.abs(whole).max())


@pytest.mark.parametrize("output", ["trace", "full", "diagonal", "pseudo"])
def test_blocks_of_a_symmetric_kernel_are_those_of_the_whole(output):
    params, x = params_of(), points(520 if output != "full" else 180)
    assert close(empirical.ntk((net, params), x, output=output), empirical.ntk((net, params), x, x.copy(), output=output))


def test_kernels_by_layer_are_named_by_the_parents_of_their_parameters_and_add_up(tmp_path):
    params = {"body": {"w": np.ones((4, 3)), "b": np.ones(3)}, "heads": [{"w": np.ones((3, 2))}], "scale": np.ones(2), "unused": np.ones(1)}

    def f(p, x):
        return jnp.tanh(x @ p["body"]["w"] + p["body"]["b"]) @ p["heads"][0]["w"] * p["scale"]

    x = points(3)
    parts = empirical.ntk((f, params), x, by_layer=True)
    assert list(parts) == ["body", "heads.0", "scale", "unused"]
    assert not parts["unused"].any()
    assert close(sum(parts.values()), empirical.ntk((f, params), x))
    stored = empirical.ntk((f, params), x, by_layer=True, store=tmp_path / "k.zarr")
    assert all(np.array_equal(stored[name], parts[name]) for name in parts)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda x: empirical.ntk((params_of(), net), x), "exchange them"),
        (lambda x: empirical.ntk(x, (net, params_of())), "give the model first, and then the points"),
        (lambda x: empirical.ntk(net, params_of(), x), "give it with its parameters"),
        (lambda x: empirical.ntk((lambda p, x: net(p, x)[:, :0], params_of()), x), "at least one output a point"),
    ],
)
def test_arguments_in_another_order_are_refused_with_the_right_one(call, told):
    with pytest.raises(InputError, match=told):
        call(points(2))
