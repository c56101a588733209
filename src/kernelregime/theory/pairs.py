"""Gaussian expectations over a pair of points of equal variance, in the gap u = 1 - c, so that nothing is lost near c = 1.

With α = √(1 - u/2), β = √(u/2) and s, t independent standard normals, x = √q(αs + βt) and y = √q(αs - βt) have variance q and
correlation 1 - u. Smooth φ: the trapezoidal rule in s and t. Kinks: for every t the line of s is cut where x or y meets a kink,
and t where two cuts cross, so that every piece is smooth; for u > 1 s and t change places.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np

from kernelregime.activations import Nonlinearity
from kernelregime.theory.gaussian import REACH, density, pieces
from kernelregime.theory.jumps import jumps
from kernelregime.theory.values import evaluate

LINEAR = 1e-12  # gaps u with u·max(1, q) below are expanded about zero: what is left out is of this order relative to what is kept
_SMOOTH_RULES = (26, 52, 104, 208, 416, 832, 1664)
_PIECE_RULES = (12, 24, 48, 96)
_AGREED = 1e-13
_CHUNK = 1 << 19
_AVERAGE = (0.5 - math.sqrt(0.15), 0.5, 0.5 + math.sqrt(0.15))  # Gauss-Legendre nodes on [0, 1], weights 5/18, 8/18, 5/18
_AVERAGE_WEIGHTS = (5 / 18, 8 / 18, 5 / 18)


@dataclass(frozen=True)
class PairMoments:
    """Expectations over (x, y), each N(0, q) with correlation 1 - u.

    φ' is taken where it exists: what jumps of φ add to E φ'(x)φ'(y) is in `PairRule.slope`.
    `difference` = ½E(φ(x) - φ(y))² = E φ(x)² - E φ(x)φ(y); `derivative` = E φ'(x)φ'(y);
    `derivative_difference` = ½E(φ'(x) - φ'(y))². The differences keep their relative accuracy as u -> 0.
    """

    difference: float
    derivative: float
    derivative_difference: float


@dataclass(frozen=True)
class PairRule:
    """The rule for one φ at variances up to some q: its resolution, and the relative error estimated at that q."""

    phi: Nonlinearity
    nodes: int
    error: float

    @classmethod
    def choose(cls, phi: Nonlinearity, q: float) -> "PairRule":
        """The coarsest rule that agrees with one of twice its nodes at gaps 1 and 1e-3; the finest there is otherwise."""
        ladder = _PIECE_RULES if phi.kinks else _SMOOTH_RULES
        probes = (1.0, 1e-3)
        coarse = [_pair_at(phi, q, gap, ladder[0]) for gap in probes]
        error = math.inf
        for nodes, finer in itertools.pairwise(ladder):
            fine = [_pair_at(phi, q, gap, finer) for gap in probes]
            error = max(_disagreement(a, b) for a, b in zip(coarse, fine, strict=True))
            if error < _AGREED:
                return cls(phi, nodes, error)
            coarse = fine
        return cls(phi, ladder[-1], error)

    def moments(self, q: float, gap: float) -> PairMoments:
        """Expectations at variance q > 0 and gap u in [0, 2]."""
        start = LINEAR / max(1.0, q)
        if gap >= start:
            return _pair_at(self.phi, q, gap, self.nodes)
        return self._near(q, gap, start)

    def slope(self, q: float, gap: float) -> float:
        """E φ'(x)φ'(y) with the jumps J_k of φ, = d(difference)/du / q; inf at u = 0 where φ jumps.

        φ' = φ'_0 + Σ_k J_k δ(x - k): to E φ'_0(x)φ'_0(y) come 2 Σ_k J_k p(k) E[φ'_0(y) | x = k] and Σ_kl J_k J_l p(k, l).
        """
        smooth, (at, below, above) = self.moments(q, gap).derivative, jumps(self.phi)
        if at.size == 0:
            return smooth
        if gap == 0:
            return math.inf
        spread, root = math.sqrt(q * gap * (2 - gap)), math.sqrt(q)  # of y given x = k, about (1 - u)k
        weight = (above - below) * density(at / root) / root
        cuts = np.sort((np.asarray(self.phi.kinks) - at[:, None] + gap * at[:, None]) / spread, axis=1)
        z, w = pieces(np.clip(cuts, -REACH, REACH), min(1.0, 1 / spread), self.nodes)
        mean = np.sum(w * density(z) * evaluate(self.phi, (1 - gap) * at[:, None] + spread * z)[1], axis=1)
        both = density((at - at[:, None] + gap * at[:, None]) / spread) / spread
        return smooth + float(2 * weight @ mean + weight @ both @ (above - below))

    def _near(self, q: float, gap: float, start: float) -> PairMoments:
        """Expansion at u -> 0, from the values at u = `start`.

        A jump J of φ' at k adds J²·n(k/√q)·√(u/π) to ½E(Δφ')², what is left is proportional to u; and d(difference)/du = q E φ'φ'.
        A jump of φ adds the same to ½E(Δφ)², and again what is left is proportional to u.
        """
        base = _pair_at(self.phi, q, start, self.nodes)
        bends = _jump_density(self.phi, q) / math.sqrt(math.pi)
        smooth = (base.derivative_difference - bends * math.sqrt(start)) / start
        total = base.derivative + base.derivative_difference
        apart = bends * math.sqrt(gap) + smooth * gap
        found = jumps(self.phi)
        if found.at.size:
            steps = float(np.sum(found.squares * density(found.at / math.sqrt(q)))) / math.sqrt(math.pi)
            difference = steps * math.sqrt(gap) + (base.difference - steps * math.sqrt(start)) / start * gap
        else:
            difference = q * gap * (total - 2 / 3 * bends * math.sqrt(gap))
        return PairMoments(difference, total - apart, apart)


def _disagreement(a: PairMoments, b: PairMoments) -> float:
    difference = abs(a.difference - b.difference) / (b.difference or 1)
    total = b.derivative + b.derivative_difference
    return max(difference, abs(a.derivative - b.derivative) / (total or 1))


def _jump_density(phi: Nonlinearity, q: float) -> float:
    """Σ_k J_k² n(k/√q) over the kinks k, with n the standard normal density and J_k the jump of φ'."""
    if not phi.kinks:
        return 0.0
    kinks = np.sort(np.asarray(phi.kinks))
    step = 1e-7 * np.maximum(1, np.abs(kinks))
    jump = evaluate(phi, kinks + step)[1] - evaluate(phi, kinks - step)[1]
    jump = np.where(np.abs(jump) > 1e-4, jump, 0)  # a smooth φ' changes by φ''·2e-7 only
    return float(np.sum(jump**2 * density(kinks / math.sqrt(q))))


def _smooth_grid(nodes: int, rows: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """The trapezoidal rule under the normal density: on t >= 0 (even integrands), or on the whole line for every row."""
    step = REACH / nodes
    if rows is not None:
        s = np.linspace(-REACH, REACH, 2 * nodes + 1)[None, :]
        return s, density(s) * step
    t = np.linspace(0, REACH, nodes + 1)
    w = np.full(t.size, 2 * step)
    w[0] = step
    return t, w * density(t)


def _outer(q: float, alpha: float, beta: float, kinks: tuple[float, ...], nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Outer nodes and weights: t >= 0 (the integrand is even in t) where β <= α, else s on the whole line.

    They are cut where two cuts of the inner line cross: 2βt√q = |k - k'|, or 2αs√q = k + k'.
    """
    if not kinks:
        return _smooth_grid(nodes, None)
    far = beta > alpha
    width = 2 * math.sqrt(q) * min(alpha, beta)
    tops = {k + m if far else abs(k - m) for k in kinks for m in kinks}
    breaks = sorted({0.0} | {top / width for top in tops if abs(top) < REACH * width})
    x, w = pieces(np.array(breaks), min(1.0, 2 / width) if width > 0 else 1.0, nodes, left=far)
    return x, w * density(x) * (1 if far else 2)


def _inner(q: float, alpha: float, beta: float, kinks: tuple[float, ...], nodes: int, outer: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights (rows, columns) of the other variable, for every outer node; cut where x or y meets a kink."""
    if not kinks:
        return _smooth_grid(nodes, outer)
    far, root = beta > alpha, math.sqrt(q)
    if far:
        cuts = [np.zeros_like(outer), *(np.abs(kink / root - alpha * outer) / beta for kink in kinks)]
    else:
        cuts = [(sign * beta * outer + kink / root) / alpha for kink in kinks for sign in (-1, 1)]
    breaks = np.clip(np.sort(np.stack(cuts, axis=-1), axis=-1), -REACH, REACH)
    x, w = pieces(breaks, min(1.0, 1 / (root * max(alpha, beta))), nodes, left=not far)
    return x, w * density(x) * (2 if far else 1)


def _differences(phi: Nonlinearity, x: np.ndarray, steps: np.ndarray, close: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """φ(x) - φ(y), φ'(x) and φ'(y) for y = x - steps; close points take the mean of φ' between them, unless a kink lies there."""
    y = x - steps
    f, g = evaluate(phi, np.stack([x, y]))
    apart = f[0] - f[1]
    if close:
        _, slopes = evaluate(phi, np.stack([y + tau * steps for tau in _AVERAGE]))
        mean = sum(weight * slope for weight, slope in zip(_AVERAGE_WEIGHTS, slopes, strict=True))
        straddle = np.zeros(x.shape, dtype=bool)
        for kink in phi.kinks:
            straddle |= (np.maximum(x, y) > kink) & (np.minimum(x, y) < kink)
        apart = np.where(straddle, apart, mean * steps)
    return apart, g[0], g[1]


def _pair_at(phi: Nonlinearity, q: float, gap: float, nodes: int) -> PairMoments:
    """The expectations by the rule with this many nodes."""
    alpha, beta, root = math.sqrt(max(1 - gap / 2, 0.0)), math.sqrt(gap / 2), math.sqrt(q)
    nodes_out, weights_out = _outer(q, alpha, beta, phi.kinks, nodes)
    columns = 4 * len(phi.kinks) * nodes if phi.kinks else 2 * nodes + 1
    rows = max(1, _CHUNK // columns)
    close = beta * root < 5e-3  # the three-point mean of φ' is then exact to rounding, the bare difference no longer
    swapped = bool(phi.kinks) and beta > alpha
    total = np.zeros(3)
    for start in range(0, nodes_out.size, rows):
        part = nodes_out[start : start + rows]
        inner, weights_in = _inner(q, alpha, beta, phi.kinks, nodes, part)
        s, t = (part[:, None], inner) if swapped else (inner, part[:, None])
        steps = np.broadcast_to(2 * root * beta * t, np.broadcast_shapes(s.shape, t.shape))
        apart, slope_x, slope_y = _differences(phi, root * alpha * s + steps / 2, steps, close)
        weight = weights_in * weights_out[start : start + rows, None]
        total += [np.sum(weight * 0.5 * apart**2), np.sum(weight * slope_x * slope_y), np.sum(weight * 0.5 * (slope_x - slope_y) ** 2)]
    return PairMoments(*(float(value) for value in total))
