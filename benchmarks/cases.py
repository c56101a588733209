"""The work that is timed: one record a case, our code and the peer's side by side. Nothing is imported before a case is built."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Case:
    """`ours` and `peer` take the case's parameters and return a function of no arguments that does the work and waits for it.

    `share`: how much of our work the peer does, where it does not manage all of it.
    """

    ours: Callable[..., Callable[[], Any]]
    peer: Callable[..., Callable[[], Any]]
    parameters: dict[str, Any]
    dtype: str
    share: float = 1.0


def _points(n, d, dtype, sphere=False):
    import numpy as np

    x = np.random.RandomState(0).randn(n, d)
    if sphere:
        x *= d**0.5 / np.linalg.norm(x, axis=1, keepdims=True)
    return x.astype(dtype)


def _fc_ours(n, depth, activation, sigma_b2, dtype, sphere=False):
    from kernelregime import infinite, networks

    network = networks.mlp(depth=depth + 1, width=512, activation=activation, sigma_b2=sigma_b2)
    x = _points(n, 784, dtype, sphere)
    return lambda: infinite.gram(network, x, dtype=dtype)


def _fc_peer(n, depth, activation, sigma_b2, dtype, sphere=False):
    import jax
    from neural_tangents import stax

    def tanh():
        return stax.ElementwiseNumerical(jax.numpy.tanh, deg=25)  # it has no closed form: its own quadrature

    phi = {"relu": stax.Relu, "erf": stax.Erf, "gelu": stax.Gelu, "tanh": tanh}[activation]
    weights = {"W_std": 2**0.5, "b_std": None if sigma_b2 is None else sigma_b2**0.5}
    hidden = [layer for _ in range(depth) for layer in (stax.Dense(512, **weights), phi())]
    _, _, kernel = stax.serial(*hidden, stax.Dense(1, **weights))
    both = jax.jit(lambda x: (lambda k: (k.nngp, k.ntk))(kernel(x, None, ("nngp", "ntk"))))
    x = jax.numpy.asarray(_points(n, 784, dtype, sphere))
    return lambda: jax.block_until_ready(both(x))


def _images(n, side, channels, dtype):
    return _points(2 * n, side * side * channels, dtype).reshape(2, n, side, side, channels)


def _conv_ours(n, side, channels, depth, readout, peer_n, dtype):
    from kernelregime import infinite, networks

    network, (x1, x2) = networks.cnn(depth=depth + 1, channels=1, readout=readout), _images(n, side, channels, dtype)
    return lambda: infinite.gram(network, x1, x2, dtype=dtype)


def _conv_peer(n, side, channels, depth, readout, peer_n, dtype):
    import jax
    from neural_tangents import stax

    end = stax.GlobalAvgPool() if readout == "pool" else stax.Flatten()
    hidden = [layer for _ in range(depth) for layer in (stax.Conv(1, (3, 3), padding="SAME", W_std=2**0.5), stax.Relu())]
    _, _, kernel = stax.serial(*hidden, end, stax.Dense(1, W_std=2**0.5))
    both = jax.jit(lambda x1, x2: (lambda k: (k.nngp, k.ntk))(kernel(x1, x2, ("nngp", "ntk"))))
    x1, x2 = (jax.numpy.asarray(x) for x in _images(peer_n, side, channels, dtype))
    return lambda: jax.block_until_ready(both(x1, x2))


def _empirical_ours(network, n, outputs, output, depth, width, dtype):
    import jax

    from kernelregime import empirical, layers, networks

    if network == "mlp":
        net, x = networks.mlp(depth=depth + 1, width=width, outputs=outputs, sigma_b2=0.01), _points(n, 784, dtype)
    else:
        hidden = (layers.Conv(width, (3, 3), 2.0), layers.Activation("relu")) * depth
        net, x = layers.Sequential((*hidden, layers.GlobalPool(), layers.Dense(outputs))), _images(n, 16, 3, dtype)[0]
    with jax.enable_x64(dtype == "float64"):
        params = net.init(jax.random.PRNGKey(0), x.shape[1:], dtype)
    return lambda: empirical.ntk((net, params), x, output=output, dtype=dtype)


def _empirical_peer(network, n, outputs, output, depth, width, dtype):
    import jax
    import neural_tangents as nt
    from neural_tangents import stax

    if network == "mlp":
        hidden = [layer for _ in range(depth) for layer in (stax.Dense(width, W_std=2**0.5, b_std=0.1), stax.Relu())]
        layers, x = [*hidden, stax.Dense(outputs, W_std=2**0.5, b_std=0.1)], _points(n, 784, dtype)
    else:
        hidden = [layer for _ in range(depth) for layer in (stax.Conv(width, (3, 3), padding="SAME", W_std=2**0.5), stax.Relu())]
        layers, x = [*hidden, stax.GlobalAvgPool(), stax.Dense(outputs)], _images(n, 16, 3, dtype)[0]
    init, apply, _ = stax.serial(*layers)
    x = jax.numpy.asarray(x)
    _, params = init(jax.random.PRNGKey(0), x.shape)
    axes = () if output == "full" else (-1,)
    # with vmap over points, the peer's best mode is implementation 3 for dense networks and 1 for convolutions
    kernel = jax.jit(nt.empirical_ntk_fn(apply, trace_axes=axes, implementation=3 if network == "mlp" else 1, vmap_axes=0))
    return lambda: jax.block_until_ready(kernel(x, None, params))


def _kernels(n):
    """Train, cross and test blocks of a linear-plus-identity kernel, the same for both sides."""
    import numpy as np

    rng = np.random.RandomState(0)
    x, z = rng.randn(n, 50), rng.randn(n, 50)
    return x @ x.T / 50 + np.eye(n), z @ x.T / 50, z @ z.T / 50 + np.eye(n), rng.randn(n, 1)


def _ensemble_ours(n, dtype):
    from kernelregime import prediction

    train, cross, test, y = _kernels(n)
    spectrum = prediction.eigen(train)
    ntk, nngp = prediction.Blocks(spectrum, cross, test), prediction.Blocks(train, cross, test)
    return lambda: prediction.ensemble(ntk, nngp, y, times=[10.0], reduction="mean")


def _ensemble_peer(n, dtype):
    from collections import namedtuple

    import jax
    import neural_tangents as nt

    train, cross, test, y = (jax.numpy.asarray(a) for a in _kernels(n))
    kinds = namedtuple("kinds", "nngp ntk")
    x_train, x_test = [0], [1]

    def kernel(x1, x2, get, **_):
        block = cross if x2 is not None else train if x1 is x_train else test
        return block if isinstance(get, str) else kinds(block, block)

    predict = nt.predict.gradient_descent_mse_ensemble(kernel, x_train, y)
    return lambda: jax.block_until_ready(predict(t=10.0, x_test=x_test, get="ntk", compute_cov=True))


def _dispersion_law(width, depth, inputs, draws, dtype):
    from kernelregime import theory

    return lambda: theory.sample_ntk((inputs, *(width,) * depth, 1), sigma_w2=2.0, draws=draws, seed=0)


def _dispersion_dense(width, depth, inputs, draws, dtype):
    import jax

    from kernelregime import empirical, networks

    network, x = networks.mlp(depth=depth + 1, width=width), _points(1, inputs, dtype)[0]
    return lambda: empirical.sample_fully_connected(network, x, draws=draws, key=jax.random.key(0), method="dense", dtype=dtype)


def _dispersion_peer(width, depth, inputs, draws, dtype):
    import jax
    import neural_tangents as nt
    from neural_tangents import stax

    hidden = [layer for _ in range(depth) for layer in (stax.Dense(width, W_std=2**0.5), stax.Relu())]
    init, apply, _ = stax.serial(*hidden, stax.Dense(1, W_std=2**0.5))
    x, keys = jax.numpy.asarray(_points(1, inputs, dtype)), jax.random.split(jax.random.PRNGKey(0), draws)
    kernel = nt.empirical_ntk_fn(apply, implementation=1)
    sample = jax.jit(lambda keys: jax.lax.map(lambda key: kernel(x, None, init(key, x.shape)[1]), keys))
    return lambda: jax.block_until_ready(sample(keys))


def _fc(n, depth, dtype, activation="relu", **more):
    return Case(_fc_ours, _fc_peer, {"n": n, "depth": depth, "activation": activation, "sigma_b2": None, **more}, dtype)


def _conv(n, side, depth, readout, peer_n, dtype):
    parameters = {"n": n, "side": side, "channels": 3, "depth": depth, "readout": readout, "peer_n": peer_n}
    return Case(_conv_ours, _conv_peer, parameters, dtype, share=(peer_n / n) ** 2)


def _empirical(n, outputs, output, dtype="float32", *, network="mlp"):
    depth, width = (20, 300) if network == "mlp" else (3, 32)
    parameters = {"network": network, "n": n, "outputs": outputs, "output": output, "depth": depth, "width": width}
    return Case(_empirical_ours, _empirical_peer, parameters, dtype)


DISPERSION = {"width": 100, "depth": 100, "inputs": 100, "draws": 500}
CASES = {
    **{f"fc_relu_L{depth}_{dtype}": _fc(5000, depth, dtype) for depth in (3, 10, 50) for dtype in ("float32", "float64")},
    **{f"fc_relu_L10_biases_{dtype}": _fc(5000, 10, dtype, sigma_b2=0.1) for dtype in ("float32", "float64")},
    **{f"fc_{phi}_L10_{dtype}": _fc(2000, 10, dtype, phi) for phi in ("erf", "gelu") for dtype in ("float32", "float64")},
    **{f"fc_tanh_L10_sphere_{dtype}": _fc(400, 10, dtype, "tanh", sphere=True) for dtype in ("float32", "float64")},
    **{f"conv_pool_16_L3_{dtype}": _conv(32, 16, 3, "pool", 8, dtype) for dtype in ("float32", "float64")},
    "conv_pool_32_L5_float32": _conv(8, 32, 5, "pool", 2, "float32"),
    **{f"conv_flatten_16_L5_{dtype}": _conv(64, 16, 5, "flatten", 64, dtype) for dtype in ("float32", "float64")},
    "empirical_mlp_O1": _empirical(100, 1, "trace"),
    "empirical_mlp_O1_float64": _empirical(100, 1, "trace", "float64"),
    "empirical_mlp_500_O1": _empirical(500, 1, "trace"),
    "empirical_mlp_500_O10_trace": _empirical(500, 10, "trace"),
    "empirical_mlp_500_O10_full": _empirical(500, 10, "full"),
    "empirical_cnn_O1": _empirical(100, 1, "trace", network="cnn"),
    "empirical_cnn_50_O10": _empirical(50, 10, "trace", network="cnn"),
    "dispersion_law": Case(_dispersion_law, _dispersion_peer, DISPERSION, "float32"),
    "dispersion_dense": Case(_dispersion_dense, _dispersion_peer, DISPERSION, "float32"),
    "ensemble_covariance": Case(_ensemble_ours, _ensemble_peer, {"n": 2000}, "float64"),
}
