"""Networks of the source of bound 2.62: two layers, the first trained, outputs zero at the start."""

import jax
import jax.numpy as jnp
import numpy as np

from kernelregime.experiments.experiment import Arrays
from kernelregime.experiments.training import train_cell
from kernelregime.theory import arora_bound
from kernelregime.theory.depth_limits import angle

ENOUGH = 1e-3  # fraction of the initial loss at which training stops


def errors(outputs: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Mean of min(|f - y|, 1), `loss`, and the fraction of wrong signs, `error`, over the points (the first axis)."""
    return {
        "loss": np.mean(np.minimum(np.abs(outputs - labels), 1.0), axis=0),
        "error": np.mean(outputs * labels <= 0, axis=0),
    }


def first_layer(x: np.ndarray) -> np.ndarray:
    """The kernel at infinite width of the first of two layers alone, x̂·x̂' (π - θ)/(2π), x̂ of norm 1; points (N, d) with |x|² = d."""
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    gap = np.clip(1 - unit @ unit.T, 0.0, 2.0)
    np.fill_diagonal(gap, 0.0)
    return (1 - gap) * (np.pi - angle(gap)) / (2 * np.pi)


def outputs(params: jax.Array, x: jax.Array) -> jax.Array:
    """Σ_r a_r (φ(w_r·x) - φ(v_r·x))/√(2m) with a_r = ±1 in turn, so that equal halves w and v give 0; x of norm 1."""
    hidden = jax.nn.relu(jnp.einsum("nd,hdm->hnm", x, params))
    signs = jnp.where(jnp.arange(hidden.shape[-1]) % 2 == 0, 1.0, -1.0).astype(hidden.dtype)
    return ((hidden[0] - hidden[1]) @ signs / np.sqrt(2 * hidden.shape[-1]))[:, None]


def run(x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray, *, width: int, steps: int, seed: int) -> Arrays:
    """The bound, the loss and error of a network of this width after training, of the kernel, and the fraction of the loss that is left."""
    unit, unit_test = (points / np.sqrt(points.shape[1]) for points in (x, x_test))
    gram = first_layer(np.concatenate([x, x_test]))
    n = len(x)
    weights = np.random.default_rng(seed).normal(size=(x.shape[1], width // 2))
    start = np.repeat(weights[None, None], 2, axis=1).astype(np.float32)  # one network of two equal halves
    rate = float(1 / np.linalg.eigvalsh(gram[:n, :n])[-1])
    trace = train_cell(
        outputs,
        start,
        unit.astype(np.float32),
        y[:, None].astype(np.float32),
        steps=steps,
        learning_rate=rate,
        optimizer="momentum",
        stop_fraction=ENOUGH,
    )
    final = np.asarray(outputs(jnp.asarray(trace.params[0]), jnp.asarray(unit_test, jnp.float32)))[:, 0]
    kernel = gram[n:, :n] @ np.linalg.solve(gram[:n, :n], y)
    by_kernel = {f"{name}_kernel": value for name, value in errors(kernel, y_test).items()}
    left = np.array(trace.losses[0, -1] / trace.losses[0, 0])
    return {"printed": np.array(arora_bound(gram[:n, :n], y)), "left": left, **errors(final, y_test), **by_kernel}
