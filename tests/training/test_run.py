"""The training loop against naive loops and closed forms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kernelregime import training
from kernelregime._checks import InputError

S, N, D, H, O = 3, 8, 4, 6, 2
RNG = np.random.default_rng(11)
X, Y = RNG.standard_normal((N, D)), RNG.standard_normal((N, O))
PARAMS = {"hidden": RNG.standard_normal((S, D, H)) / 2, "out": RNG.standard_normal((S, H, O)) / 2}
SMALL = jax.tree.map(lambda a: a.astype(np.float32), PARAMS)
EXACT = {"rtol": 1e-10, "atol": 1e-13}  # float64: a few hundred roundings


def mlp(params, x):
    return jnp.tanh(x @ params["hidden"]) @ params["out"]


def linear(params, x):
    return x @ params["w"]


def one(params, seed):
    return {name: value[seed] for name, value in params.items()}


def numpy_loss_and_gradient(params, x, y):
    """½ Σ (f - y)² of `mlp` for one seed and its gradient, by hand."""
    hidden = np.tanh(x @ params["hidden"])
    residual = hidden @ params["out"] - y
    back = (residual @ params["out"].T) * (1 - hidden**2)
    return 0.5 * np.sum(residual**2), {"hidden": x.T @ back, "out": hidden.T @ residual}


def naive_descent(params, steps, rate, momentum=0.0):
    """Losses (steps + 1,) and final params of a Python loop for one seed."""
    losses, velocity = [], {name: np.zeros_like(value) for name, value in params.items()}
    for _ in range(steps):
        loss, gradient = numpy_loss_and_gradient(params, X, Y)
        losses.append(loss)
        velocity = {k: momentum * velocity[k] + gradient[k] for k in params}
        params = {k: params[k] - rate * velocity[k] for k in params}
    return np.array([*losses, numpy_loss_and_gradient(params, X, Y)[0]]), params


def optax_loop(transformation, loss, steps, params):
    """A Python loop with optax for one seed: losses (steps + 1,) and final params."""

    @jax.jit
    def update(params, memory):
        value, gradient = jax.value_and_grad(loss)(params)
        updates, memory = transformation.update(gradient, memory, params)
        return value, optax.apply_updates(params, updates), memory

    with jax.enable_x64(True):
        memory, losses = transformation.init(params), []
        for _ in range(steps):
            value, params, memory = update(params, memory)
            losses.append(float(value))
        return np.array([*losses, float(loss(params))]), {k: np.asarray(v) for k, v in params.items()}


def half_squares(params):
    return 0.5 * jnp.sum((mlp(params, X) - Y) ** 2)


def assert_seed(trace, seed, losses, params):
    np.testing.assert_allclose(trace.losses[seed], losses, **EXACT)
    for name, value in params.items():
        np.testing.assert_allclose(trace.params[name][seed], value, **EXACT)


@functools.cache
def plain():
    return training.train(mlp, PARAMS, X, Y, steps=40, learning_rate=0.02)


def test_gradient_descent_is_that_of_a_naive_loop_for_every_seed():
    for seed in range(S):
        assert_seed(plain(), seed, *naive_descent(one(PARAMS, seed), 40, 0.02))
    assert plain().status == ("finished",) * S
    np.testing.assert_array_equal(plain().stopped_at, [-1] * S)


def test_momentum_is_the_heavy_ball_at_the_learning_rate_of_each_seed():
    rates = np.array([0.001, 0.003, 0.005])
    trace = training.train(mlp, PARAMS, X, Y, steps=40, learning_rate=rates, optimizer="momentum")
    for seed in range(S):
        assert_seed(trace, seed, *naive_descent(one(PARAMS, seed), 40, rates[seed], momentum=0.9))


def test_gradient_descent_on_a_linear_model_is_its_closed_form():
    # f_t - y = (I - η X Xᵀ)^t (f_0 - y)
    w = RNG.standard_normal((S, D, O))
    gram = X @ X.T
    rate = 1 / np.linalg.eigvalsh(gram)[-1]
    trace = training.train(linear, {"w": w}, X, Y, steps=150, learning_rate=rate)
    values, vectors = np.linalg.eigh(gram)
    modes = np.einsum("ni,sno->sio", vectors, X @ w - Y)
    decay = (1 - rate * values) ** np.arange(151)[:, None]
    np.testing.assert_allclose(trace.losses, 0.5 * np.einsum("ti,sio->st", decay**2, modes**2), **EXACT)


def test_the_mean_reduction_is_the_sum_divided_by_points_and_outputs():
    mean = training.train(mlp, PARAMS, X, Y, steps=40, learning_rate=0.02 * N * O, reduction="mean")
    np.testing.assert_allclose(mean.losses * N * O, plain().losses, **EXACT)
    np.testing.assert_allclose(mean.params["out"], plain().params["out"], **EXACT)


def test_adam_is_that_of_a_naive_loop_with_optax():
    trace = training.train(mlp, PARAMS, X, Y, steps=25, learning_rate=0.05, optimizer="adam")
    assert_seed(trace, 1, *optax_loop(optax.adam(0.05), half_squares, 25, one(PARAMS, 1)))


def decaying(rate):
    # branches on the rate, which a traced one would not allow; halves it, so that optax's float32 schedules are exact
    return optax.chain(optax.clip(1.0), optax.sgd(optax.piecewise_constant_schedule(rate, {5: 0.5 if rate > 0.01 else 1.0, 12: 0.5})))


def test_an_optax_factory_with_a_schedule_is_that_of_a_naive_loop_with_optax():
    trace = training.train(mlp, PARAMS, X, Y, steps=20, learning_rate=0.0625, optimizer=decaying)
    assert_seed(trace, 2, *optax_loop(decaying(0.0625), half_squares, 20, one(PARAMS, 2)))


def test_an_optax_factory_takes_a_rate_for_every_seed():
    trace = training.train(mlp, PARAMS, X, Y, steps=10, learning_rate=[0.01, 0.02, 0.05], optimizer=lambda rate: optax.adamw(rate))
    assert_seed(trace, 1, *optax_loop(optax.adamw(0.02), half_squares, 10, one(PARAMS, 1)))


@pytest.mark.parametrize("rates", [0.05, [0.01, 0.02, 0.05]])
def test_held_params_do_not_move_under_weight_decay_and_the_others_train_as_without_them(rates):
    def decayed(rate):
        return optax.adamw(rate, weight_decay=1.0)

    def shifted(params, x):
        return mlp(params["now"], x) + 0.0 * mlp(params["start"], x)

    both = training.holding(decayed, {"start": "hold", "now": "train"})
    trace = training.train(shifted, {"start": PARAMS, "now": PARAMS}, X, Y, steps=10, learning_rate=rates, optimizer=both)
    alone = training.train(mlp, PARAMS, X, Y, steps=10, learning_rate=rates, optimizer=decayed)
    for name, value in PARAMS.items():
        np.testing.assert_array_equal(trace.params["start"][name], value)
        np.testing.assert_allclose(trace.params["now"][name], alone.params[name], **EXACT)


HOT = np.eye(O)[RNG.integers(0, O, N)]


def test_cross_entropy_is_minus_the_log_probability_of_the_class():
    trace = training.train(mlp, PARAMS, X, HOT, steps=15, learning_rate=0.02, loss="cross_entropy")

    def loss(params):
        f = mlp(params, X)
        return -jnp.sum(HOT * (f - jnp.log(jnp.exp(f).sum(1, keepdims=True))))

    assert_seed(trace, 0, *optax_loop(optax.sgd(0.02), loss, 15, one(PARAMS, 0)))


def test_mean_cross_entropy_of_equal_outputs_is_the_log_of_the_number_of_classes():
    trace = training.train(linear, {"w": np.zeros((1, D, O))}, X, HOT, steps=1, learning_rate=0.1, loss="cross_entropy", reduction="mean")
    assert trace.losses[0, 0] == pytest.approx(np.log(O), rel=1e-14)
    # the gradient of the mean: xᵀ (softmax - y)/N
    np.testing.assert_allclose(trace.params["w"][0], -0.1 * X.T @ (1 / O - HOT) / N, rtol=1e-13)


def test_seeds_together_are_seeds_alone():
    options = {"steps": 30, "learning_rate": 0.02, "batch_size": 3, "key": jax.random.key(2)}
    w = RNG.standard_normal((S, D, O))
    together = training.train(linear, {"w": w}, X, Y, **options)
    alone = training.train(linear, {"w": w[1:2]}, X, Y, **options)
    assert_seed(together, 1, alone.losses[0], one(alone.params, 0))


def test_an_epoch_of_minibatches_goes_through_every_point_once_in_another_order_each_time():
    # one weight a point: a step moves the weights of its batch and no other
    trace = training.train(
        linear,
        {"w": np.zeros((1, 12, 1))},
        np.eye(12),
        np.arange(1.0, 13.0)[:, None],
        steps=8,
        learning_rate=0.5,
        batch_size=3,
        key=jax.random.key(5),
        probes={"w": lambda step, params: params["w"][:, :, 0]},
        probe_steps=range(9),
    )
    moved = np.diff(trace.records["w"][:, 0], axis=0) != 0  # (steps, points)
    np.testing.assert_array_equal(moved.sum(1), 3)
    np.testing.assert_array_equal(moved.reshape(2, 4, 12).sum(1), 1)
    assert (moved[:4] != moved[4:]).any()


def test_a_minibatch_divides_by_its_size_and_the_rest_of_an_epoch_is_left_out():
    # gradients of ½ (w - 1)²/2: a visit makes a weight ½; the losses are of all seven points
    options = {"steps": 3, "learning_rate": 1.0, "reduction": "mean", "batch_size": 2, "key": jax.random.key(0)}
    trace = training.train(linear, {"w": np.zeros((1, 7, 1))}, np.eye(7), np.ones((7, 1)), **options)
    np.testing.assert_allclose(sorted(trace.params["w"][0, :, 0]), [0, *[0.5] * 6], rtol=1e-14)
    np.testing.assert_allclose(trace.losses[0], [(7 - visited * 0.75) / 14 for visited in (0, 2, 4, 6)], rtol=1e-14)


@functools.cache
def in_precision(dtype):
    """A run from float32 params, and what the probe saw: the precision of its params, and of JAX arrays made of them."""
    seen = set()

    def probe(step, params):
        seen.add((params["out"].dtype.name, jnp.asarray(params["out"]).dtype.name))
        return params["out"]

    return training.train(mlp, SMALL, X, Y, steps=30, learning_rate=0.02, dtype=dtype, probes={"out": probe}), seen


@pytest.mark.parametrize(("dtype", "expected"), [(None, "float32"), ("float64", "float64")])
def test_the_precision_is_that_of_the_params_unless_asked_for(dtype, expected):
    trace, seen = in_precision(dtype)
    assert {trace.losses.dtype.name, trace.params["out"].dtype.name, trace.records["out"].dtype.name} == {expected}
    assert seen == {(expected, expected)}


def test_a_float64_run_is_not_a_float32_run_in_disguise():
    losses, _ = naive_descent(jax.tree.map(lambda a: a.astype(np.float64), one(SMALL, 0)), 30, 0.02)
    np.testing.assert_allclose(in_precision("float64")[0].losses[0], losses, **EXACT)
    narrow = in_precision(None)[0].losses[0]
    assert np.abs(narrow / losses - 1).max() > 1e-9
    np.testing.assert_allclose(narrow, losses, rtol=30 * 2.0**-23 * 8)  # 30 steps, some roundings in each


def test_training_runs_under_the_strict_promotion_of_its_caller():
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        trace = training.train(mlp, PARAMS, X, Y, steps=5, learning_rate=[0.01, 0.02, 0.03], optimizer="adam")
    assert_seed(trace, 1, *optax_loop(optax.adam(0.02), half_squares, 5, one(PARAMS, 1)))


def call(**changes):
    options = {"steps": 3, "learning_rate": 0.01} | changes
    given = [options.pop(name, default) for name, default in (("f", mlp), ("params", PARAMS), ("x", X), ("y", Y))]
    return training.train(*given, **options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"params": one(PARAMS, 0)}, "leading axis of seeds"),
        ({"params": {**PARAMS, "out": PARAMS["out"][:2]}}, "leading axis of seeds"),
        ({"params": {}}, "at least one array"),
        ({"params": {**PARAMS, "count": np.zeros(S, int)}}, "floating-point"),
        ({"params": {**PARAMS, "out": np.full((S, H, O), np.nan)}}, "finite"),
        ({"x": X[:5]}, "5 rows"),
        ({"x": np.where(X > 1, np.inf, X)}, "finite"),
        ({"y": Y[:, 0]}, "2-dimensional"),
        ({"y": Y[:, :1]}, "shape of y"),
        ({"f": lambda params, x: (mlp(params, x), 0)}, "shape of y"),
        ({"f": lambda params, x: mlp(params, x) / 0.0}, "finite initial loss"),
        ({"steps": 0}, "steps"),
        ({"learning_rate": 0.0}, "above zero"),
        ({"learning_rate": [0.1, 0.2]}, "each of 3 seeds"),
        ({"learning_rate": np.nan}, "finite"),
        ({"optimizer": "addam"}, "did you mean 'adam'"),
        ({"optimizer": 3}, "optimizer to be a name or a function"),
        ({"optimizer": lambda rate: 3}, "GradientTransformation"),
        ({"optimizer": decaying, "learning_rate": [0.1, 0.2, 0.3]}, "traced learning rate"),
        ({"optimizer": lambda rate: optax.noisy_sgd(rate, 0.1, 0.5, key=jax.random.key(0))}, "state is arrays"),
        ({"loss": "mes"}, "did you mean 'mse'"),
        ({"loss": "cross_entropy"}, "class probabilities"),
        ({"reduction": "average"}, "reduction"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": N + 1, "key": jax.random.key(0)}, "at most 8"),
        ({"batch_size": 2}, "key=jax.random.key"),
        ({"batch_size": 2, "key": jax.random.split(jax.random.key(0))}, "one JAX PRNG key"),
        ({"stop_fraction": 0.0}, "stop_fraction"),
        ({"probe_steps": [0, 4]}, "between 0 and 3"),
        ({"probe_steps": [0.5]}, "every probe step"),
        ({"dtype": "float16"}, "float32 or float64"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused_in_one_line(changes, message):
    with pytest.raises(InputError, match=message) as caught:
        call(**changes)
    assert str(caught.value).startswith("expected ")
    assert "\n" not in str(caught.value)
