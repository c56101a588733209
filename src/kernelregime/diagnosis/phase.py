"""Evidence (d): where the initialization lies on the phase diagram, and whether signals measured in the network agree."""

import math
from functools import partial
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np

from kernelregime import _precision, theory
from kernelregime.activations import Nonlinearity
from kernelregime.claims import Estimate
from kernelregime.data import Dataset
from kernelregime.diagnosis.findings import Findings, positive
from kernelregime.diagnosis.limit import Limit
from kernelregime.diagnosis.randomness import first_output
from kernelregime.diagnosis.run import Run
from kernelregime.diagnosis.settings import Settings
from kernelregime.diagnosis.subject import Subject
from kernelregime.results import Evidence

GROUP: Final = "phase"
POINTS = 32  # on which gradients with respect to the input are measured


def phase(subject: Subject, run: Run, dataset: Dataset, settings: Settings, at: Limit | None) -> Findings:
    """χ per layer from input gradients, the output variance against the NNGP kernel, the phase and its depth scales."""
    spec = subject.spec
    found = _output_variance(run, at)
    if spec is None:
        return found + Findings(missing=("phase and depth scales: need a fully-connected spec whose layers share φ and their variances",))
    if spec.activation is None:
        return found + Findings(missing=("phase and depth scales: a single layer has none",))
    q1 = spec.sigma_w2 * float(np.mean(dataset.x_train**2)) + (spec.sigma_b2 or 0.0)
    known = theory.phase(spec.activation, sigma_w2=spec.sigma_w2, sigma_b2=spec.sigma_b2, q1=q1)
    edge_w2, edge_b2 = edge_curve(spec.activation, largest=max(0.5, 2 * (spec.sigma_b2 or 0.0)))
    arrays = {"phase_sigma_w2": edge_w2, "phase_sigma_b2": edge_b2}
    items = []
    if spec.sigma_w2 > 0:
        items.append(_chi(subject, run, dataset, settings))
    for key, label, value in (
        ("chi1", "χ₁ = σ_w² E φ'(√q* z)² (below 1 ordered, above 1 chaotic)", known.chi1),
        ("q_star", "Fixed point q* of the variance", known.q_star),
        ("depth_scale", "Depth scale ξ_c of correlations (layers)", known.xi_c),
    ):
        if math.isfinite(value):
            items.append(
                Evidence(
                    key,
                    GROUP,
                    label,
                    Estimate(float(value), 0.0, 0),
                    source="mean-field theory (Schoenholz et al. 2017)",
                    comment=known.name,
                )
            )
    missing = () if math.isfinite(known.q_star) else (f"fixed point of the variance: {known.status}",)
    return found + Findings(tuple(items), arrays, missing)


def edge_curve(phi: Nonlinearity, *, largest: float) -> tuple[np.ndarray, np.ndarray]:
    """The edge of chaos (σ_w² (K,), σ_b² (K,)) up to the bias variance `largest`."""
    if phi.homogeneous:  # χ₁ does not depend on the variance: a vertical line
        [edge] = theory.edge_of_chaos(phi)
        return np.full(2, edge), np.array([0.0, largest])
    curve = theory.edge_of_chaos_curve(phi)
    shown = curve.sigma_b2 <= largest
    return curve.sigma_w2[shown], curve.sigma_b2[shown]


def _output_variance(run: Run, at: Limit | None) -> Findings:
    if at is None:
        return Findings()
    predicted = float(np.mean(np.diag(np.asarray(at.nngp.test))))
    measured, caution = positive(np.mean(run.initial.test.astype(np.float64) ** 2, axis=(1, 2)))
    label, source = "Variance of the outputs at initialization", "NNGP kernel (Lee et al. 2018, eq. 5)"
    return Findings((Evidence("output_variance", GROUP, label, measured, predicted, source, comment=caution),))


def _chi(subject: Subject, run: Run, dataset: Dataset, settings: Settings) -> Evidence:
    """Growth per layer of the squared input gradient: (Σ_i (∂f/∂x_i)²/σ_w²)^(1/(L-1)), with E = σ_w² Π χ(q^l)."""
    spec = subject.spec
    assert spec is not None  # the caller has checked
    assert spec.activation is not None
    x = dataset.x_train[:POINTS]
    one = first_output(subject.f)

    @jax.jit
    def square(params: Any, points: Any) -> Any:
        slope = jax.vmap(lambda p, q: jax.grad(lambda r: one(p, r[None])[0])(q), in_axes=(None, 0))
        return jax.vmap(lambda p: jnp.mean(jnp.sum(slope(p, points) ** 2, axis=1)))(params)

    with _precision.enter(settings.dtype):
        growth = np.asarray(square(run.initial.params, jnp.asarray(x, settings.dtype)), np.float64) / spec.sigma_w2
    exponent = 1 / (spec.depth - 1)
    mean, caution = positive(growth)
    value = mean.mean**exponent
    measured = Estimate(value, value * exponent * mean.sem / mean.mean, mean.n)
    q1 = spec.sigma_w2 * np.mean(x**2, axis=1) + (spec.sigma_b2 or 0.0)
    follow = partial(theory.variances, spec.activation, sigma_w2=spec.sigma_w2, sigma_b2=spec.sigma_b2, depth=spec.depth - 1)
    norms, counts = np.unique(np.round(q1, 12), return_counts=True)
    layers = np.array([follow(float(q)) for q in norms])
    growths = np.prod(theory.chi(spec.activation, layers, sigma_w2=spec.sigma_w2), axis=1)
    return Evidence(
        "chi_measured",
        GROUP,
        "Growth of squared gradients per layer (geometric mean χ)",
        measured,
        predicted=float(np.average(growths, weights=counts) ** exponent),
        source="Schoenholz et al. 2017, eq. 17, at this depth and these inputs",
        comment=caution,
    )
