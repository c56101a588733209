from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernelregime import empirical, networks
from kernelregime._checks import InputError

WIDTHS = (3, 24, 16, 1)


def init(key):
    shapes = list(pairwise(WIDTHS))
    ends = np.cumsum([a * b for a, b in shapes])
    parts = jnp.split(jax.random.normal(key, ends[-1:]), ends[:-1])
    return [part.reshape(shape) * (2 / shape[0]) ** 0.5 for part, shape in zip(parts, shapes, strict=True)]


def relu_net(params, x):
    for w in params[:-1]:
        x = jnp.maximum(x @ w, 0)
    return x @ params[-1]


X = np.array([[0.6, 0.0, -0.8], [1.0, 0.0, 0.0]])
KEY = jax.random.key(3)


def test_draws_are_the_kernels_of_the_initializations():
    ours = empirical.sample_at_init(init, relu_net, X, draws=5, key=KEY, output="full", dtype="float64")
    with jax.enable_x64(True):
        kernels = [empirical.ntk((relu_net, init(key)), X, output="full") for key in jax.random.split(KEY, 5)]
    np.testing.assert_allclose(ours, np.stack(kernels), rtol=1e-12)
    assert ours.shape == (5, 2, 2, 1, 1)
    assert ours.dtype == np.float64


def test_draws_do_not_depend_on_memory_or_chunks():
    done = []
    small = empirical.sample_at_init(init, relu_net, X[:1], X, draws=40, key=KEY, memory=30_000, progress=lambda *count: done.append(count))
    large = empirical.sample_at_init(init, relu_net, X[:1], X, draws=40, key=KEY)
    assert small.shape == (40, 1, 2)
    np.testing.assert_array_equal(small, large)
    assert done == [(16, 40), (32, 40), (40, 40)]


def test_mean_over_initializations_is_the_exact_one():
    # Weights of variance 2/fan-in, no biases, |x| = 1: E Θ(x, x) = Σ_l n_{l-1}/n_0, exact at any width.
    sample = empirical.sample_at_init(init, relu_net, X[:1], draws=1000, key=jax.random.key(0))[:, 0, 0]
    sem = sample.std(ddof=1) / len(sample) ** 0.5
    assert abs(sample.mean() - sum(WIDTHS[:-1]) / WIDTHS[0]) <= 4 * sem
    assert sem < 0.5


def test_later_samples_do_not_trace_again():
    calls = []

    def f(params, x):
        calls.append(1)
        return relu_net(params, x)

    first = empirical.sample_at_init(init, f, X, draws=16, key=KEY)
    count = len(calls)
    second = empirical.sample_at_init(init, f, X, draws=16, key=jax.random.key(9))
    assert len(calls) == count
    assert not np.allclose(first, second)


def test_last_and_smaller_chunk_is_not_compiled_apart():
    def traces(draws):
        calls = []

        def f(params, x):
            calls.append(1)
            return x @ params[0]

        empirical.sample_at_init(init, f, X, draws=draws, key=KEY, memory=100_000)
        return len(calls)

    assert traces(20) == traces(16) > 0


def test_function_whose_rows_depend_on_one_another_is_refused():
    def centred(params, x):
        out = relu_net(params, x)
        return out - out.mean(0)

    with pytest.raises(InputError, match="each row of x on its own"):
        empirical.sample_at_init(init, centred, X, draws=2, key=KEY)


def test_precision_follows_the_initialization_unless_given():
    def half(key):
        return {"w": jax.random.normal(key, (3, 1), "float16")}

    def linear(params, x):
        return x @ params["w"]

    assert empirical.sample_at_init(half, linear, X, draws=1, key=KEY).dtype == np.float32
    assert empirical.sample_at_init(half, linear, X, draws=1, key=KEY, dtype="float64").dtype == np.float64


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"draws": 0}, "draws"),
        ({"key": 0}, "random key"),
        ({"memory": 100}, "one draw"),
        ({"output": "sum"}, "output"),
        ({"method": "fast"}, "method"),
        ({"x1": np.ones((2, 4))}, "to accept x of shape"),
        ({"x2": np.ones((2, 4))}, "points of one shape"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(options, says):
    arguments = {"x1": X, "draws": 3, "key": KEY} | options
    with pytest.raises(InputError, match=says):
        empirical.sample_at_init(init, relu_net, arguments.pop("x1"), **arguments)


def test_an_initialization_that_asks_for_a_shape_is_refused():
    network = networks.mlp(depth=2, width=4)
    with pytest.raises(InputError, match=r"init\(key\) -> params; got .*'shape'.*; write lambda key: network.init\(key, shape\)"):
        empirical.sample_at_init(network.init, network, X, draws=2, key=KEY)
