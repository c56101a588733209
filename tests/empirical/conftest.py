"""Small models, each with a way for parameters to enter that the others do not have, and the kernel by its definition."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import quick
from jax import lax
from jax.flatten_util import ravel_pytree

sys.path.append(str(Path(__file__).parent))


@dataclass(frozen=True)
class Model:
    """`products` counts the parameters, or slices of them, that enter by products alone."""

    f: Callable[[Any, Any], Any]
    shapes: dict[str, tuple[int, ...]]
    products: int
    point: tuple[int, ...] = (4,)
    integers: int = 0  # points are integers below this, where it is not 0

    def scaled(self, factor: int) -> "Model":
        """The model with every axis `factor` times as long, except those of length 1."""

        def longer(shape: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(length if length == 1 else factor * length for length in shape)

        return replace(self, shapes={name: longer(shape) for name, shape in self.shapes.items()}, point=longer(self.point))

    def params(self, seed: int = 0, dtype: str = "float64") -> dict[str, np.ndarray]:
        rng = np.random.default_rng(seed)
        return {name: rng.standard_normal(shape).astype(dtype) for name, shape in self.shapes.items()}

    def points(self, n: int, seed: int = 1, dtype: str = "float64") -> np.ndarray:
        rng = np.random.default_rng(seed)
        if self.integers:
            return rng.integers(self.integers, size=(n, *self.point))
        return rng.standard_normal((n, *self.point)).astype(dtype)


def naive(f: Callable[[Any, Any], Any], params: Any, x1: Any, x2: Any) -> Any:
    """Θ(x, x')_{oo'} = Σ_p ∂f_o(x)/∂θ_p ∂f_o'(x')/∂θ_p with the Jacobian of the whole batch over all parameters in one row."""
    flat, unravel = ravel_pytree(params)
    x = np.concatenate([x1, x2])
    rows = jax.jacrev(lambda p: f(unravel(p), x).reshape(len(x), -1))(flat)
    return jnp.einsum("iop,jqp->ijoq", rows[: len(x1)], rows[len(x1) :])


CONSTANT = np.random.default_rng(5).standard_normal((4, 6))
MASK = (np.random.default_rng(6).random((4, 6)) < 0.5) * 1.0


def mlp(p: Any, x: Any) -> Any:
    h = jnp.tanh(x @ ((1.3 / 4**0.5) * p["w0"]) + 0.3 * p["b0"])
    h = jnp.maximum((1.2 / 6**0.5) * (h @ p["w1"]) + p["b1"], 0)
    return 0.7 * (h @ p["w2"]) / 5**0.5 - p["b2"]


def left(p: Any, x: Any) -> Any:
    h = jnp.sin((p["w0"] @ x.T) / jnp.sqrt(4.0) + p["b0"][:, None])
    return (-(p["w1"].T.reshape(p["w1"].shape[::-1]).T @ h)).T


def per_point(p: Any, x: Any) -> Any:
    return jax.vmap(lambda u: p["w1"] @ jnp.tanh(p["w0"] @ u + p["b0"]) + p["b1"])(x)


def nested(p: Any, x: Any) -> Any:
    layer = jax.jit(lambda w, u: jnp.tanh(jax.jit(jnp.dot)(u, w)))
    return jax.checkpoint(layer)(p["w1"], layer(p["w0"], x))


def residual(p: Any, x: Any) -> Any:
    h = x @ p["w0"]
    h = h + jax.nn.gelu(h @ p["w1"])
    return (h - jnp.cos(h) @ p["w2"])[:, :3]


def shared(p: Any, x: Any) -> Any:
    h = jnp.tanh(x @ p["w0"])
    return jnp.tanh(h @ p["w1"]) @ p["w1"] + h @ p["w1"].T


def layer_norm(p: Any, x: Any) -> Any:
    h = x @ p["w0"] + p["b0"]
    h = (h - h.mean(1, keepdims=True)) / jnp.sqrt(h.var(1, keepdims=True) + 1e-5)
    return jnp.tanh(h * p["gain"] + p["shift"]) @ p["w1"]


def convolution(p: Any, x: Any) -> Any:
    h = lax.conv_general_dilated(x, p["w0"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return jnp.tanh(h + p["b0"]).mean((1, 2)) @ p["w1"]


def recurrent(p: Any, x: Any) -> Any:
    def cell(h: Any, u: Any) -> Any:
        return jnp.tanh(h @ p["w0"] + u @ p["u0"]), None

    h, _ = lax.scan(cell, jnp.zeros((len(x), len(p["w0"])), x.dtype), x.swapaxes(0, 1))
    return h @ p["w1"]


@jax.custom_vjp
def _twice(w: Any, x: Any) -> Any:
    return x @ w


_twice.defvjp(lambda w, x: (x @ w, (w, x)), lambda kept, g: (2 * kept[1].T @ g, g @ kept[0].T))


@jax.custom_jvp
def _steep(x: Any) -> Any:
    return jnp.sign(x)


_steep.defjvp(lambda at, along: (jnp.sign(at[0]), 3 * along[0]))


def masked(p: Any, x: Any) -> Any:
    return jnp.tanh(x @ (np.resize(MASK, p["w0"].shape) * p["w0"])) @ p["w1"]


def one_hot(p: Any, x: Any) -> Any:
    return jnp.tanh(jax.nn.one_hot(x, len(p["w0"])) @ p["w0"]) @ p["w1"]


def over_constant(p: Any, x: Any) -> Any:
    return jnp.tanh(x @ np.resize(CONSTANT, (x.shape[1], len(p["w0"])))) @ p["w0"]


def low_rank(p: Any, x: Any) -> Any:
    for i in range(3):
        x = jnp.tanh(x @ (p["w"] + p[f"a{i}"] @ p[f"b{i}"]))
    return x @ p["o"]


def attention(p: Any, x: Any) -> Any:
    q, k, v = (x @ p[name] for name in "qkv")
    x = x + jax.nn.softmax(q @ k.swapaxes(1, 2) / 2) @ v
    return (x + jnp.tanh(x @ p["u"]) @ p["u"].T).mean(1) @ p["o"]


def chosen_by_sign(p: Any, x: Any) -> Any:
    def one(u: Any) -> Any:
        return lax.cond(u[0] > 0, lambda: u @ p["w0"], lambda: 2 * u @ p["w1"]) @ p["w2"]

    return jax.vmap(one)(x)


def convolutions(p: Any, x: Any) -> Any:
    names = ("NHWC", "HWIO", "NHWC")
    h = lax.conv_general_dilated(x, p["s"], (2, 1), [(1, 0), (2, 1)], rhs_dilation=(1, 2), dimension_numbers=names) + p["b"]
    h = lax.conv_general_dilated(jnp.tanh(h), p["g"], (1, 1), "SAME", dimension_numbers=names, feature_group_count=2)
    h = lax.conv_transpose(jnp.tanh(h), p["t"], (2, 2), "SAME", dimension_numbers=names)
    h = lax.conv_general_dilated(jnp.tanh(h), p["d"], (1, 1), "SAME", dimension_numbers=names, feature_group_count=h.shape[-1])
    return h.mean((1, 2))


def channels_first(p: Any, x: Any) -> Any:
    h = lax.conv_general_dilated(x, 0.5 * p["w0"].transpose(3, 2, 0, 1), (1, 1), "SAME") - p["b0"][:, None, None]
    h = jnp.tanh(h).transpose(0, 2, 3, 1).reshape(len(x), -1, h.shape[1])
    return (jnp.tanh(h @ p["w1"] + p["b1"]) * h.mean(1, keepdims=True)[..., :1]).mean(1)


def stacked(p: Any, x: Any) -> Any:
    def layer(h: Any, each: Any) -> Any:
        w, b, table = each
        return jnp.tanh(h @ w / 2 + b + h @ p["all"] * table.sum()), h[:, :1]

    h, seen = lax.scan(layer, x @ p["in"], (p["w"], p["b"], p["scale"]))
    return jnp.concatenate([h[:, :2], seen[..., 0].T @ p["out"]], axis=1)


def loop_in_loop(p: Any, x: Any) -> Any:
    def outer(h: Any, w: Any) -> Any:
        def inner(h: Any, _: Any) -> Any:
            return jnp.tanh(-(h @ w) + p["b"] - h @ p["v"].T), None

        return lax.scan(inner, h, None, length=3, reverse=True)[0], None

    return lax.scan(outer, x, p["w"])[0][:, :2]


def loops_on_two_levels(p: Any, x: Any) -> Any:
    def outer(h: Any, w: Any) -> Any:
        inner = lambda g, _: (jnp.tanh(p["s"] * (g @ p["b"]) + g @ w), None)  # noqa: E731
        return lax.scan(inner, h @ p["a"], None, length=2)[0], None

    h = lax.scan(outer, x, p["w"])[0]
    return h @ p["b"] - lax.scan(lambda g, w: (jnp.tanh(g @ w), None), h, p["none"])[0] @ p["a"]


def rows_and_products(p: Any, x: Any) -> Any:
    return jnp.tanh(p["e"][x] + jax.nn.one_hot(x, len(p["e"]), dtype=p["e"].dtype) @ p["e"]).sum(1)


@jax.custom_vjp
def _rounded(w: Any) -> Any:
    return jnp.round(w)


_rounded.defvjp(lambda w: (jnp.round(w), None), lambda _, g: (g,))


def unrolled(p: Any, x: Any) -> Any:
    h = jnp.zeros((len(x), len(p["w0"])), x.dtype)
    for u in x.swapaxes(0, 1):
        h = jnp.tanh(h @ p["w0"] - (u @ p["u0"] - p["b"]))
    return h @ p["w0"][:, :2] - jnp.cos(h) @ p["w0"][:, :2]


def of_slices(p: Any, x: Any) -> Any:
    h = jnp.tanh(x @ p["w"][0] + p["w"][1, 0])
    return h @ p["w"][2] + (p["w"][3] @ h.T).T + p["tail"][: x.shape[1]] * 0.5


def transposed_slices(p: Any, x: Any) -> Any:
    w = p["w"]
    return jnp.tanh(x[:, :3] @ w[:3, 3:]) + jnp.sin(x[:, :3] @ w.T[:3, 3:])


def language(p: Any, x: Any) -> Any:
    h = 2 * p["table"][x] - p["place"][: x.shape[1]]
    h = h + jax.nn.softmax(jnp.einsum("npi,hij,nqj->nhpq", h, p["qk"], h), axis=-1).sum(1) @ h
    return (jnp.tanh(h) @ p["out"]).sum(1)


def outside(p: Any, x: Any) -> Any:
    kept = p["table"].at[x].get(mode="fill", fill_value=0) + p["table"].at[x].get(mode="clip")
    return jnp.tanh(kept.sum(1)) @ p["out"]


def heads(p: Any, x: Any) -> Any:
    return jnp.tanh(jnp.einsum("npk,hki->hpni", x, p["w0"]) + p["b0"][:, None, None]).sum((0, 1)) @ p["w1"]


MODELS = {
    "convolutions": Model(
        convolutions, {"s": (2, 2, 2, 4), "b": (4,), "g": (3, 1, 2, 6), "t": (2, 2, 6, 3), "d": (2, 2, 1, 6)}, 4, (5, 4, 2)
    ),
    "channels first": Model(channels_first, {"w0": (3, 3, 2, 4), "b0": (4,), "w1": (4, 3), "b1": (3,)}, 2, point=(2, 4, 3)),
    "stacked layers": Model(stacked, {"in": (4, 6), "w": (3, 6, 6), "b": (3, 6), "scale": (3, 2), "all": (6, 6), "out": (3, 2)}, 4),
    "loop in a loop": Model(loop_in_loop, {"w": (2, 4, 4), "b": (4,), "v": (4, 4)}, 2),
    "loops on two levels": Model(loops_on_two_levels, {"a": (4, 4), "b": (4, 4), "w": (2, 4, 4), "s": (), "none": (0, 4, 4)}, 3),
    "rows and products of one table": Model(rows_and_products, {"e": (7, 5)}, 0, point=(3,), integers=7),
    "rule of a weight alone": Model(lambda p, x: jnp.tanh(x @ _rounded(2 * p["w0"])) @ p["w1"], {"w0": (4, 6), "w1": (6, 2)}, 1),
    "empty convolution": Model(
        lambda p, x: (
            x[:, 0] @ p["w1"] + lax.conv_general_dilated(x, p["w0"], (1,), "VALID", dimension_numbers=("NHC", "HIO", "NHC")).sum(1)
        ),
        {"w0": (4, 2, 3), "w1": (2, 3)},
        1,
        point=(3, 2),
    ),
    "unrolled loop": Model(unrolled, {"w0": (5, 5), "u0": (3, 5), "b": (5,)}, 1, point=(4, 3)),
    "slices of one array": Model(of_slices, {"w": (4, 4, 4), "tail": (9,)}, 3),
    "transposed slices": Model(transposed_slices, {"w": (6, 6)}, 0),
    "language model": Model(language, {"table": (7, 5), "place": (9, 5), "qk": (2, 5, 5), "out": (5, 2)}, 3, point=(3,), integers=7),
    "indices outside": Model(outside, {"table": (5, 4), "out": (4, 2)}, 2, point=(3,), integers=7),
    "heads": Model(heads, {"w0": (2, 4, 3), "b0": (2, 3), "w1": (3, 2)}, 2, point=(3, 4)),
    "mlp": Model(mlp, {"w0": (4, 6), "b0": (6,), "w1": (6, 5), "b1": (5,), "w2": (5, 3), "b2": (3,)}, 3),
    "weights on the left, column points": Model(left, {"w0": (6, 4), "b0": (6,), "w1": (2, 6)}, 2),
    "one point at a time inside": Model(per_point, {"w0": (6, 4), "b0": (6,), "w1": (3, 6), "b1": (3,)}, 2),
    "nested jit and checkpoint": Model(nested, {"w0": (4, 6), "w1": (6, 3)}, 2),
    "skip connections": Model(residual, {"w0": (4, 6), "w1": (6, 6), "w2": (6, 6)}, 3),
    "one matrix three times": Model(shared, {"w0": (4, 6), "w1": (6, 6)}, 1),
    "squared matrix": Model(lambda p, x: jnp.tanh(x @ p["w0"] ** 2) @ p["w1"], {"w0": (4, 6), "w1": (6, 2)}, 1),
    "masked matrix": Model(
        lambda p, x: jnp.tanh(x @ (np.resize(MASK, p["w0"].shape) * p["w0"])) @ p["w1"], {"w0": (4, 6), "w1": (6, 2)}, 1
    ),
    "layer norm": Model(layer_norm, {"w0": (4, 6), "b0": (6,), "gain": (6,), "shift": (6,), "w1": (6, 2)}, 2),
    "convolution": Model(convolution, {"w0": (3, 3, 2, 4), "b0": (4,), "w1": (4, 3)}, 2, point=(4, 4, 2)),
    "several positions": Model(lambda p, x: jnp.tanh(x @ p["w0"]).mean(1) @ p["w1"], {"w0": (4, 6), "w1": (6, 2)}, 2, point=(3, 4)),
    "scan": Model(recurrent, {"w0": (5, 5), "u0": (3, 5), "w1": (5, 2)}, 3, point=(4, 3)),
    "branches": Model(chosen_by_sign, {"w0": (4, 6), "w1": (4, 6), "w2": (6, 2)}, 1),
    "embedding": Model(lambda p, x: jnp.tanh(p["table"][x].sum(1)) @ p["w0"], {"table": (7, 5), "w0": (5, 2)}, 2, point=(3,), integers=7),
    "one-hot tokens": Model(
        lambda p, x: jnp.tanh(jax.nn.one_hot(x, len(p["w0"])) @ p["w0"]) @ p["w1"], {"w0": (7, 5), "w1": (5, 2)}, 2, (), 7
    ),
    "constants in a closure": Model(
        lambda p, x: jnp.tanh(x @ np.resize(CONSTANT, (x.shape[1], len(p["w0"])))) @ p["w0"], {"w0": (6, 2)}, 1
    ),
    "custom vjp": Model(lambda p, x: jnp.tanh(_twice(p["w0"], x)) @ p["w1"], {"w0": (4, 6), "w1": (6, 2)}, 1),
    "custom jvp": Model(lambda p, x: _steep(x @ p["w0"]) @ p["w1"], {"w0": (4, 6), "w1": (6, 2)}, 2),
    "stopped gradient": Model(lambda p, x: jnp.tanh(x @ lax.stop_gradient(p["w0"])) @ p["w1"], {"w0": (4, 6), "w1": (6, 2)}, 1),
    "linear layers": Model(lambda p, x: x @ p["w0"] @ p["w1"] @ p["w2"], {"w0": (4, 6), "w1": (6, 5), "w2": (5, 2)}, 3),
    "product of matrices": Model(lambda p, x: x @ (p["w0"] @ p["w1"]), {"w0": (4, 6), "w1": (6, 2)}, 0),
    "product of low rank": Model(lambda p, x: jnp.tanh(x @ (p["a"] @ p["b"])) @ p["o"], {"a": (6, 1), "b": (1, 6), "o": (6, 1)}, 1, (6,)),
    "updates of low rank": Model(
        low_rank,
        {"w": (6, 6), "o": (6, 1)} | {f"a{i}": (6, 1) for i in range(3)} | {f"b{i}": (1, 6) for i in range(3)},
        2,
        point=(6,),
    ),
    "attention": Model(attention, {"q": (4, 4), "k": (4, 4), "v": (4, 4), "u": (4, 6), "o": (4, 2)}, 4, point=(3, 4)),
    "scale that is trained": Model(lambda p, x: jnp.tanh(x @ (p["g"] * p["w0"] / p["s"])), {"g": (), "w0": (4, 3), "s": (1,)}, 1),
    "scale that is a point's": Model(lambda p, x: jnp.tanh(x.sum(1, keepdims=True) * (x @ p["w0"])), {"w0": (4, 3)}, 1),
    "one number a point": Model(lambda p, x: jnp.tanh(x @ p["w0"]) @ p["v"], {"w0": (4, 6), "v": (6,)}, 2),
    "output without parameters": Model(lambda p, x: jnp.tanh(x), {"w0": (4, 3)}, 0),
    "output that is a parameter": Model(lambda p, x: 0 * x[:, : len(p["b"])] + 2 * p["b"] + x[:, :1] * p["b"], {"b": (3,)}, 0),
    "unused branch": Model(lambda p, x: (x @ p["w0"], jnp.sin(x @ p["w0"]))[0], {"w0": (4, 3), "w1": (2, 2)}, 1),
    "matrices side by side": Model(lambda p, x: jnp.tanh(jnp.einsum("nki,kij->nkj", x, p["w0"])).sum(1), {"w0": (3, 4, 2)}, 1, (3, 4)),
    "matrix with three axes": Model(lambda p, x: jnp.tanh(jnp.einsum("ni,kij->nkj", x, p["w0"])).sum(1), {"w0": (3, 4, 2)}, 1),
    "scalar product": Model(lambda p, x: p["a"] * jnp.tanh(x * p["c"]).sum(1), {"a": (), "c": ()}, 0),
}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> Model:
    return MODELS[request.param]


@pytest.fixture
def models() -> dict[str, Model]:
    return MODELS


@pytest.fixture
def by_definition() -> Callable[..., Any]:
    return naive


@pytest.fixture(scope="session")
def jit() -> Callable[..., Any]:
    """`jax.jit` that spends little on compilation, four times less than usual: what is compiled here runs once."""
    return quick


class QuickJax:
    """JAX with the `jit` above; the functions of other libraries, whose programs are in others, keep their own."""

    jit = staticmethod(quick)

    def __getattr__(self, name: str) -> Any:
        return getattr(jax, name)


@pytest.fixture
def compiling_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for the programs of this package: for tests of many models."""
    for module in ("tiles", "model"):
        monkeypatch.setattr(f"kernelregime.empirical.{module}.jax", QuickJax())


@pytest.fixture
def one_thread():
    """The threads of torch wait for one another busily, which takes long where other processes use the cores."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
