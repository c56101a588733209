"""The worst error of every dual activation over a grid of variances and correlations, as a table: `python benchmarks/accuracy.py [NAME …]`.

References: closed forms in 60 digits (tests/comparison/closed_forms.py), and Gauss-Legendre panels in polar coordinates for the rest
(tests/laws/gaussian.py), or of kinks elsewhere than at 0 integrals of conditional means in 27 digits (tests/activations/test_piecewise.py),
none of which share code with the library.
"""

import math
import sys
from functools import cache, partial
from pathlib import Path

import jax.numpy as jnp
import mpmath
import numpy as np

TESTS = Path(__file__).parents[1] / "tests"
sys.path += [str(TESTS), str(TESTS / "laws"), str(TESTS / "activations")]

from comparison import closed_forms, exact  # noqa: E402
from gaussian import expectation  # noqa: E402
from registry import ACTIVATIONS  # noqa: E402
from test_piecewise import CASES, expected, moment  # noqa: E402

from kernelregime import _precision, activations  # noqa: E402
from kernelregime.activations.analytic import SIGMOID_LIKE_SCALE  # noqa: E402

VARIANCES = [
    (1e-6, 1e-6),
    (1e-3, 1e-3),
    (1.0, 1.0),
    (10.0, 10.0),
    (100.0, 100.0),
    (1e4, 1e4),
    (1e-6, 1e4),
    (1e-3, 1.0),
    (1.0, 1.0001),
    (1.0, 100.0),
]
GAPS = (0.0, 1e-12, 1e-8, 1e-4, 1e-2, 0.3, 1.0)
CLOSED = {
    "abrelu": lambda: closed_forms.two_slopes(*activations.get("abrelu").values),
    "abrelu(a=-0.5, b=1.2)": lambda: closed_forms.two_slopes(-0.5, 1.2),
    "abs": lambda: closed_forms.two_slopes(-1.0, 1.0),
    "cos": closed_forms.cosine,
    "erf": closed_forms.erf,
    "erf(a=1.1, b=0.8, c=0.1)": partial(closed_forms.erf, 1.1, 0.8, 0.1),
    "exp": closed_forms.exponential,
    "exp_normalized": closed_forms.exp_normalized,
    "gabor": closed_forms.gabor,
    "gaussian": closed_forms.gaussian,
    "gaussian(a=1.1, b=0.02)": partial(closed_forms.gaussian, 1.1, 0.02),
    "gelu": closed_forms.gelu,
    "identity": exact.ACTIVATIONS["Identity"],
    "leaky_relu": lambda: closed_forms.two_slopes(activations.get("leaky_relu").values[0], 1.0),
    "leaky_relu(alpha=0.3)": lambda: closed_forms.two_slopes(0.3, 1.0),
    "rbf": closed_forms.rbf,
    "rectified_monomial(degree=2)": lambda: closed_forms.rectified_monomial(2),
    "rectified_monomial(degree=3)": lambda: closed_forms.rectified_monomial(3),
    "relu": exact.ACTIVATIONS["Relu"],
    "sigmoid_like": partial(closed_forms.erf, 0.5, SIGMOID_LIKE_SCALE, 0.5),
    "sign": closed_forms.sign,
    "sin": closed_forms.sine,
    "sin(a=1.2, b=0.7, c=0.3)": partial(closed_forms.sine, 1.2, 0.7, 0.3),
}


def in_many_digits(expectations, a, b, w):
    """(ρ', E φ'φ', √(E φ'(u)² E φ'(v)²)) from 60 digits."""
    with mpmath.workdps(60):
        a, b, w = (mpmath.mpf(float(value)) for value in (a, b, w))
        c = mpmath.sqrt(a * b) * (1 - w)
        value, slope = expectations(a, c, b)
        (aa, da), (bb, db) = expectations(a, a, a), expectations(b, b, b)
        return float(value / mpmath.sqrt(aa * bb)), float(slope), float(mpmath.sqrt(da * db))


def by_conditional_means(kinks, lines, a, b, w):
    """The same of a piecewise linear φ, from 27 digits."""
    with mpmath.workdps(27):
        angle = min(max(mpmath.acos(1 - mpmath.mpf(float(w))), mpmath.mpf(10) ** -24), mpmath.pi - mpmath.mpf(10) ** -24)
        value, slope = expected(kinks, lines, mpmath.mpf(a), mpmath.mpf(b), angle)
        squares = [moment(kinks, lines, mpmath.mpf(q)) for q in (a, b)]
        slopes = [expected(kinks, lines, q, q, mpmath.mpf(10) ** -24)[1] for q in map(mpmath.mpf, (a, b))]
        return float(value / mpmath.sqrt(squares[0] * squares[1])), float(slope), float(mpmath.sqrt(slopes[0] * slopes[1]))


def by_panels(phi, a, b, w):
    """The same by quadrature; more nodes for larger variances."""
    moment = _moments(phi)
    value, slope = moment(a, b, w)
    (aa, da), (bb, db) = moment(a, a, 0.0), moment(b, b, 0.0)
    return value / math.sqrt(aa * bb), slope, math.sqrt(da * db)


@cache
def _moments(phi):
    functions = [lambda x, f=f: np.asarray(f(jnp.asarray(x))) for f in (phi, phi.derivative)]

    @cache
    def moment(a, b, w):
        more = int(12 * math.sqrt(max(a, b)))
        nodes = {"radial": 400 + more, "angular": 160 + more}
        return [expectation(f, a, b, w, 2 - w, **nodes) for f in functions]

    return moment


def row(name, phi):
    """Worst errors of value and slope, the worst of the library's own estimates, and the largest variance with finite moments."""
    if name in CLOSED:
        reference, expectations = "60 digits", partial(in_many_digits, CLOSED[name]())
    elif name in CASES:
        reference, expectations = "27 digits", partial(by_conditional_means, *CASES[name][1:])
    else:
        reference, expectations = "panels", partial(by_panels, phi)
    worst, largest = np.zeros(3), 0.0
    for a, b in VARIANCES:
        if not np.isfinite(np.asarray(phi.second_moment(jnp.asarray([a, b])))).all():
            continue
        largest = max(largest, a, b)
        w = np.array([*GAPS, *(2 - gap for gap in GAPS[-2::-1])])
        dual = phi.dual(jnp.full(w.shape, a), jnp.full(w.shape, b), jnp.asarray(w), jnp.asarray(2 - w))
        for i, gap in enumerate(w):
            rho, slope, scale = expectations(a, b, gap)
            value = max(abs(float(dual.one_minus[i]) - (1 - rho)), abs(float(dual.one_plus[i]) - (1 + rho)))
            worst = np.maximum(worst, [value, abs(float(dual.derivative[i]) - slope) / (scale or 1.0), float(dual.error)])
    route = "closed form" if phi.kind.bytes_per_point(np.float64) == 0 else "quadrature"
    return f"| {name} | {route} | {reference} | {worst[0]:.0e} | {worst[1]:.0e} | {worst[2]:.0e} | {largest:g} |"


def main():
    """Print the table."""
    print("| φ | route | reference | worst error of ρ' | worst error of E φ'φ' | worst own estimate | variances up to |")
    print("|---|---|---|---|---|---|---|")
    with _precision.enter("float64"):
        known = {**ACTIVATIONS, "exp_normalized": activations.get("exp_normalized")}
        for name in sys.argv[1:] or known:
            print(row(name, known[name]), flush=True)


if __name__ == "__main__":
    main()
