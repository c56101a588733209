"""Evidence (d): where the initialization lies on the phase diagram, and whether signals measured in the network agree."""

import math
from dataclasses import dataclass
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
from kernelregime.networks import FullyConnected
from kernelregime.results import Evidence
from kernelregime.theory import criticality

GROUP: Final = "phase"
POINTS = 32  # on which gradients with respect to the input are measured


@dataclass(frozen=True)
class Place:
    """Where theory puts an initialization, before anything is measured: its phase, the edge of chaos as a curve, and the growth of squared
    input gradients per layer on the data (None where the weights are zero); why there is no edge at this bias variance, if so.
    """

    phase: theory.Phase
    edge: tuple[np.ndarray, np.ndarray]
    growth: float | None
    none: str | None = None


def place(spec: FullyConnected | None, dataset: Dataset) -> Place | None:
    """The place of a network with hidden layers on the phase diagram, for these inputs; None without such a spec, or without a variance.

    Raises: `InputError` for a φ whose Gaussian integrals do not converge.
    """
    if spec is None or spec.activation is None:
        return None
    q1 = spec.sigma_w2 * np.mean(dataset.x_train**2, axis=1) + (spec.sigma_b2 or 0.0)
    if not q1.any():
        return None
    known = theory.phase(spec.activation, sigma_w2=spec.sigma_w2, sigma_b2=spec.sigma_b2, q1=float(np.mean(q1)))
    edge = edge_curve(spec.activation, largest=max(0.5, 2 * (spec.sigma_b2 or 0.0)))
    none = None if theory.edge_of_chaos(spec.activation, sigma_b2=spec.sigma_b2) else _no_edge(spec)
    if spec.sigma_w2 == 0:
        return Place(known, edge, None, none)
    follow = partial(theory.variances, spec.activation, sigma_w2=spec.sigma_w2, sigma_b2=spec.sigma_b2, depth=spec.depth - 1)
    norms, counts = np.unique(np.round(q1[:POINTS], 12), return_counts=True)
    layers = np.array([follow(float(q)) for q in norms])
    growths = np.prod(theory.chi(spec.activation, layers, sigma_w2=spec.sigma_w2, backpropagated=True), axis=1)
    return Place(known, edge, float(np.average(growths, weights=counts) ** (1 / (spec.depth - 1))), none)


def _no_edge(spec: FullyConnected) -> str:
    """That no edge of chaos exists, and where χ₁ is 1 nevertheless."""
    assert spec.activation is not None  # the caller has checked
    out = f"edge of chaos: {spec.activation.name} with σ_b² = {spec.sigma_b2 or 0:g} has none"
    passing = theory.edge_of_chaos(spec.activation, sigma_b2=spec.sigma_b2, stable=False)
    if passing:
        out += f" (χ₁ = 1 at σ_w² = {', '.join(f'{value:.4g}' for value in passing)}, but at a variance that deep networks do not keep)"
    return out


def phase(subject: Subject, run: Run, dataset: Dataset, settings: Settings, at: Limit | None, where: Place | None) -> Findings:
    """χ per layer from input gradients, the output variance against the NNGP kernel, the phase and its depth scales."""
    found = _output_variance(run, at)
    if where is None:
        why = "need a fully-connected spec whose layers share φ and their variances"
        if subject.spec is not None:
            why = "a single layer has none" if subject.spec.depth == 1 else "the variance that enters the network is zero"
        return found + Findings(missing=(f"phase and depth scales: {why}",))
    known = where.phase
    if where.growth is not None:
        found += _chi(subject, run, dataset, settings, where.growth)
    items = []
    for key, label, value in (
        ("chi1", "χ₁ = σ_w² E φ'(√q* z)² (below 1 ordered, above 1 chaotic)", known.chi1),
        ("q_star", "Fixed point q* of the variance", known.q_star),
        ("depth_scale", "Depth scale ξ_c of correlations (layers)", known.xi_c),
    ):
        if math.isfinite(value):
            source = "mean-field theory (Schoenholz et al. 2017)"
            items.append(Evidence(key, GROUP, label, Estimate(float(value), 0.0, 0), source=source, comment=known.name))
    missing = []
    if math.isinf(known.chi1):
        missing.append(f"χ₁: infinite, for φ jumps; near inputs part in every layer, and the phase is {known.name}")
    elif where.none is not None:
        missing.append(where.none)
    if not math.isfinite(known.q_star):
        missing.append(f"fixed point of the variance: {known.status}")
    edge = {"phase_sigma_w2": where.edge[0], "phase_sigma_b2": where.edge[1]} if where.edge[0].size else {}
    return found + Findings(tuple(items), edge, tuple(missing))


def edge_curve(phi: Nonlinearity, *, largest: float) -> tuple[np.ndarray, np.ndarray]:
    """The edge of chaos (σ_w² (K,), σ_b² (K,)) up to the bias variance `largest`."""
    if phi.homogeneous:  # χ₁ does not depend on the variance: a vertical line
        [edge] = theory.edge_of_chaos(phi)
        return np.full(2, edge), np.array([0.0, largest])
    q = criticality.CURVE
    for _ in range(2):
        q = np.unique(np.concatenate([q, *_between(q, theory.edge_of_chaos_curve(phi, q), largest)]))
    curve = theory.edge_of_chaos_curve(phi, q)
    shown = curve.sigma_b2 <= largest
    return curve.sigma_w2[shown], curve.sigma_b2[shown]


def _between(q: np.ndarray, curve: theory.EdgeOfChaos, largest: float) -> list[np.ndarray]:
    """Variances between those of `q` where a step of the curve is long to look at, or leads into sight or out of it."""
    bias = np.full(q.size, -2 * largest)  # where there would have to be a negative variance
    bias[np.searchsorted(q, curve.q)] = curve.sigma_b2
    low, high = np.minimum(bias[:-1], bias[1:]), np.maximum(bias[:-1], bias[1:])
    long = (low <= largest) & (high >= 0) & (high - low > largest / 50)
    return [np.geomspace(q[i], q[i + 1], 17) for i in np.flatnonzero(long)]


def _output_variance(run: Run, at: Limit | None) -> Findings:
    if at is None:
        return Findings()
    predicted = float(np.mean(np.diag(np.asarray(at.nngp.test))))
    measured, caution = positive(np.mean(run.initial.test.astype(np.float64) ** 2, axis=(1, 2)))
    label, source = "Variance of the outputs at initialization", "NNGP kernel (Lee et al. 2018, eq. 5)"
    return Findings((Evidence("output_variance", GROUP, label, measured, predicted, source, comment=caution),))


def _chi(subject: Subject, run: Run, dataset: Dataset, settings: Settings, predicted: float) -> Findings:
    """Growth per layer of the squared input gradient: (Σ_i (∂f/∂x_i)²/σ_w²)^(1/(L-1)), with E = σ_w² Π χ(q^l)."""
    spec = subject.spec
    assert spec is not None  # the caller has checked
    one = first_output(subject.f)

    @jax.jit
    def square(params: Any, points: Any) -> Any:
        slope = jax.vmap(lambda p, q: jax.grad(lambda r: one(p, r[None])[0])(q), in_axes=(None, 0))
        return jax.vmap(lambda p: jnp.mean(jnp.sum(slope(p, points) ** 2, axis=1)))(params)

    with _precision.enter(settings.dtype):
        points = jnp.asarray(dataset.x_train[:POINTS], settings.dtype)
        growth = np.asarray(square(run.initial.params, points), np.float64) / spec.sigma_w2
    if not growth.any():
        why = f"all that were measured are zero in {settings.dtype}, because φ' is at the pre-activations; only the readout trains"
        return Findings(missing=(f"growth of gradients per layer: {why}",))
    exponent = 1 / (spec.depth - 1)
    mean, caution = positive(growth)
    value = mean.mean**exponent
    measured = Estimate(value, value * exponent * mean.sem / mean.mean, mean.n)
    label = "Growth of squared gradients per layer (geometric mean χ)"
    source = "Schoenholz et al. 2017, eq. 17, at this depth and these inputs"
    return Findings((Evidence("chi_measured", GROUP, label, measured, predicted, source, comment=caution),))
