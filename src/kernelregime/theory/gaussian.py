"""Gaussian expectations of a nonlinearity on one point and on a pair of points, each with an error estimate.

One point: E[·] over x = √q z by the trapezoidal rule in t with z = b sinh t, b = min(1, 1/√q). The rule converges geometrically for
functions analytic in a strip (Trefethen and Weideman 2014), and the substitution keeps the strip wide both for the density (of
width √q) and for a φ that varies on a scale of one, so that the number of nodes hardly depends on q. With kinks the line is cut at
them and every piece takes Gauss-Legendre nodes, graded in the same way from its kink. Two resolutions give the error estimate.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import jax.numpy as jnp
import numpy as np

from kernelregime import _precision
from kernelregime._checks import InputError, array, fail
from kernelregime.activations import Nonlinearity, get
from kernelregime.theory.jumps import jumps
from kernelregime.theory.values import evaluate

REACH = 13.0  # standard deviations: the density is 2e-37 of its peak beyond, which leaves room for φ that grow exponentially
SMALLEST_VARIANCE = 1e-30  # below, φ is linear to 1e-15: E φ² = φ(0)² + q·(slope here)
TOLERANCE = 1e-13  # two resolutions that agree to this end the search
USABLE = 1e-6  # estimated relative errors beyond this are refused: no digit that a phase or a depth scale needs is left
_SMOOTH_NODES = (129, 257, 513, 1025, 2049, 4097)
_PIECE_NODES = (16, 32, 64, 128, 256)
_CHUNK = 1 << 20


@lru_cache(maxsize=16)
def _legendre(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes and weights on [0, 1]."""
    x, w = np.polynomial.legendre.leggauss(nodes)
    return (x + 1) / 2, w / 2


def density(z: np.ndarray) -> np.ndarray:
    """The standard normal density."""
    return np.exp(-z * z / 2) / math.sqrt(2 * math.pi)


def pieces(breaks: np.ndarray, grading: np.ndarray | float, nodes: int, *, left: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights (…, J) for ∫ over [-REACH, REACH] cut at the sorted `breaks` (…, m), within that range.

    Every piece is graded, x = break ± b sinh t with b = `grading`. `left=False`: from the first break on only.
    """
    half = np.diff(breaks, axis=-1) / 2
    anchors = [breaks[..., :-1], breaks[..., 1:], breaks[..., -1:]]
    lengths = [half, -half, REACH - breaks[..., -1:]]
    if left:
        anchors.append(breaks[..., :1])
        lengths.append(-REACH - breaks[..., :1])
    anchor, length = np.concatenate(anchors, axis=-1)[..., None], np.concatenate(lengths, axis=-1)[..., None]
    b = np.asarray(grading)[..., None, None]
    t, weight = _legendre(nodes)
    top = np.arcsinh(np.abs(length) / b)
    x = anchor + np.sign(length) * b * np.sinh(top * t)
    w = b * top * np.cosh(top * t) * weight
    shape = (*x.shape[:-2], -1)
    return x.reshape(shape), w.reshape(shape)


def _line(root: np.ndarray, kinks: tuple[float, ...], nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes z and weights of E[·] under the standard normal, (Q, J), for integrands φ(root·z)."""
    grading = np.minimum(1.0, 1 / root)
    if kinks:
        z, w = pieces(np.clip(np.sort(kinks) / root[:, None], -REACH, REACH), grading, nodes)
    else:
        top = np.arcsinh(REACH / grading)[:, None]
        t = top * np.linspace(-1, 1, nodes)
        z = grading[:, None] * np.sinh(t)
        w = grading[:, None] * np.cosh(t) * (2 * top / (nodes - 1))
    return z, w * density(z)


def _moments_at(phi: Nonlinearity, root: np.ndarray, nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """(4, Q): E φ², E φ'², dE φ²/dq = E[zφφ']/√q, and the integrand of E φ² at the ends; and the same from every other node.

    The latter means something for the trapezoidal rule only, in which nodes are nested.
    """
    columns = (2 * len(phi.kinks) or 1) * nodes
    ends = [-1, -nodes - 1] if phi.kinks else [-1, 0]
    rows = max(1, _CHUNK // columns)
    fine, coarse = np.empty((4, root.size)), np.empty((4, root.size))
    for start in range(0, root.size, rows):
        part = root[start : start + rows]
        z, w = _line(part, phi.kinks, nodes)
        f, g = evaluate(phi, part[:, None] * z)
        with np.errstate(over="ignore", invalid="ignore"):
            terms = np.stack([w * f * f, w * g * g, w * f * g * z / part[:, None]])
            edge = terms[0][:, ends].max(1)
            fine[:, start : start + rows] = [*terms.sum(2), edge]
            coarse[:, start : start + rows] = [*(2 * terms[..., ::2].sum(2)), edge]
    return fine, coarse


def _change(fine: np.ndarray, coarse: np.ndarray) -> np.ndarray:
    """The relative change of E φ² and E φ'² between two rules, and what the line's ends miss; inf where φ overflows."""
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = np.where(fine[:2] > 0, fine[:2], 1)
        estimate = (np.abs(fine - coarse)[:2] / scale).max(0) + fine[3] / scale[0]
    return np.where(np.isfinite(estimate), estimate, np.inf)


@dataclass(frozen=True)
class GaussianMoments:
    """Expectations over x ~ N(0, q), arrays of the shape of q.

    `second_moment` = E φ(x)²; `slope` = dE φ(x)²/dq = E[x φ(x) φ'(x)]/q, with the jumps of φ; `derivative` = E φ'(x)² over where φ'
    exists: without the jumps, at which it is infinite (see `across_jumps`); `error`: the estimated relative error of these (inf where
    φ overflows).
    """

    second_moment: np.ndarray
    derivative: np.ndarray
    slope: np.ndarray
    error: np.ndarray


def gaussian_moments(phi: Nonlinearity | str, q: object) -> GaussianMoments:
    """E φ(x)², its derivative in q, and E φ'(x)², for x ~ N(0, q); elementwise in the variance q >= 0.

    Nothing is refused: read `error`, which compares two resolutions of the rule (about 1e-15 for smooth φ at any q).
    """
    phi, variance = get(phi), array("q", q)
    if (variance < 0).any():
        raise fail("variances q >= 0", f"{float(variance.min()):g}", "give squares, not deviations")
    root = np.sqrt(np.maximum(variance.astype(np.float64), SMALLEST_VARIANCE)).ravel()
    values, error = np.empty((4, root.size)), np.full(root.size, np.inf)
    rows, coarse = np.arange(root.size), None
    for nodes in _PIECE_NODES if phi.kinks else _SMOOTH_NODES:
        fine, nested = _moments_at(phi, root[rows], nodes)
        coarse = coarse if phi.kinks else nested
        values[:, rows] = fine
        if coarse is not None:
            error[rows] = _change(fine, coarse)
            left = error[rows] > TOLERANCE
            rows, fine = rows[left], fine[:, left]
        if rows.size == 0:
            break
        coarse = fine
    values[2] += _jump_slope(phi, root)
    small = variance.ravel() < SMALLEST_VARIANCE
    if small.any():
        values[0, small] = evaluate(phi, np.zeros(1))[0] ** 2 + values[2, small] * variance.ravel()[small]
    second, derivative, slope, _ = values.reshape(4, *variance.shape)
    return GaussianMoments(second, derivative, slope, error.reshape(variance.shape))


def _jump_slope(phi: Nonlinearity, root: np.ndarray) -> np.ndarray:
    """What the jumps of φ add to dE φ²/dq: ½[φ²]_k k n(k/√q)/q^{3/2} each, for (φ²)' holds [φ²]_k δ(x - k)."""
    at, below, above = jumps(phi)
    return np.asarray(((above**2 - below**2) * at / 2 * density(at / root[:, None])).sum(axis=1) / root**3)


def across_jumps(phi: Nonlinearity, q: object) -> np.ndarray:
    """Whether x ~ N(0, q) falls on both sides of a jump of φ (within 13 standard deviations), elementwise: E φ'² is then infinite."""
    root = np.sqrt(np.asarray(q, dtype=np.float64))
    return np.asarray((np.abs(jumps(phi).at) <= REACH * root[..., None]).any(axis=-1))


def squared_slope(phi: Nonlinearity, q: object, moments: GaussianMoments) -> np.ndarray:
    """E φ'(x)² for x ~ N(0, q) with the jumps of φ: inf where x crosses one, else the `derivative` of its `moments`."""
    return np.where(across_jumps(phi, q), np.inf, moments.derivative)


def unusable(error: float, q: float) -> InputError:
    """The error for integrals that do not converge at variance q."""
    return fail(
        "a φ whose Gaussian integrals converge",
        f"a relative error of {error:.1g} at q = {q:g}",
        "declare its kinks, or use smaller variances",
    )


def usable_moments(phi: Nonlinearity | str, q: object) -> GaussianMoments:
    """As `gaussian_moments`, but errors above 1e-6 raise `InputError`."""
    moments = gaussian_moments(phi, q)
    worst = float(np.max(moments.error))
    if worst > USABLE:
        raise unusable(worst, float(np.asarray(q, dtype=np.float64).ravel()[int(np.argmax(moments.error))]))
    return moments


def homogeneous_moment(phi: Nonlinearity) -> float:
    """E φ(x)²/q = E φ'(x)² of a homogeneous φ, the same at every variance q; closed form where the nonlinearity has one."""
    with _precision.enter("float64"):
        return float(_precision.to_host(phi.second_moment(jnp.ones(())), np.float64))
