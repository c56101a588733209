"""The variance over initializations of what a wide network computes once it is trained, from means over the data alone."""

from kernelregime._checks import integer, real


def trained_variance(*, q: float, q_pair: float, kappa_ratio: float, samples: int) -> float:
    """Var f(x) over initializations after training to the end on S = `samples` points, for a test input x.

    (1 + A²/S)(q - q_pair) + (A - 1)² q_pair, A = S/(κ₁/κ₂ + S - 1): `q`, `q_pair` the variance of the output at initialization and its
    covariance for two inputs, `kappa_ratio` = Θ(x, x)/Θ(x, x'). Exact, within the kernel regime, where every pair of inputs (x and the
    train points) has the same covariance; else an approximation with means over pairs.
    Raises: `InputError` for bad input. Source: Seleznova and Kutyniok 2021, theorem 3.

    >>> trained_variance(q=2.0, q_pair=1.0, kappa_ratio=1.0, samples=10)  # A = 1
    1.1
    """
    size = integer("samples", samples)
    own, pair = real("q", q, least=0), real("q_pair", q_pair)
    a = size / (real("kappa_ratio", kappa_ratio) + size - 1)
    return (1 + a**2 / size) * (own - pair) + (a - 1) ** 2 * pair
