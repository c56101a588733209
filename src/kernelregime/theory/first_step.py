"""The first step of gradient descent on one sample: what it does to the NTK of that sample, on average and as far as Θ is differentiable.

ReLU, one output, zero biases, loss (f - y)²/2 on the sample x; f, δ^l and x^l as in `ntk_moments`. A step of rate η moves Θ(x, x) by
-η (f - y) D while no unit switches, D the derivative of Θ along ∇f. On one input the network has the law of a linear one whose units are
masked by fair coins. There, with the masked product J of layers m … l-1 (so that x^{l-1} = J h^m and δ^m = Jᵀ W^lᵀ δ^l) and what a unit
of h^m moves by, c_m δ^m with c_m = s_m²|x^{m-1}|² (+ 1 with trained biases),

    D = 4 Σ_{m<l} c_m s_l² |δ^l|² x^{l-1}·J δ^m,    s = 1 (`standard`) or s_l² = σ_w²/n_{l-1} (`ntk`):

|x^{l-1}|² changes with W^m as |δ^m|² does with W^l. Of h^m and W^lᵀ δ^l, independent Gaussian vectors, f x^{l-1}·Jδ^m is a form of degree
two in each, whose mean is E tr((JJᵀ)²) up to their variances: the second component of the recursion of `ntk_moments`. So

    E[-η (f - y) D] = -4η Σ_{m<l} s_l² (a^{l-m})² n_{l-1}/n_{m-1} r(m, l) E|δ^l|⁴ E[c_m |x^{m-1}|²],

negative whatever the targets (f D is even in the weights of the last layer, D is odd), with r(m, l) = (0, 1)·Π_{k=m}^{l-1} A_k (1, 0)ᵀ,
A_k = [[1 + 1/n_k, 4/n_k], [2/n_k, 1 + 3/n_k]].

Units that switch make Θ jump. A share of them of order η E|f - y| does so in any step, most of them off: that lowers E Θ as well, by an
amount of the same order in η, which no derivative shows and which is not counted here. For y = 0 it is small in wide networks, whose f
is of order 1/√M; for y of order one, and in the ordered phase, it may prevail.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kernelregime._checks import fail, real
from kernelregime.theory.dispersion import Parameterization, log_growth, ntk_moments, setting, tied
from kernelregime.theory.dispersion_limits import second_remainder


@dataclass(frozen=True)
class FirstStep:
    """The mean change of Θ(x, x) over η, by its derivative: `log_change` = log(-E ΔΘ/η), -inf if nothing changes; `log_mean` = log E Θ."""

    log_change: float
    log_mean: float

    @property
    def change(self) -> float:
        """E ΔΘ/η, zero or negative (-inf beyond the range of floats)."""
        return -float(np.exp(np.float64(self.log_change)))

    @property
    def relative(self) -> float:
        """E ΔΘ/(η E Θ)."""
        return -float(np.exp(np.float64(self.log_change - self.log_mean)))


def first_step(
    widths: Sequence[int],
    *,
    sigma_w2: float,
    sigma_b2: float | None = None,
    parameterization: Parameterization = "ntk",
    input_norm2: float = 1.0,
    activation: str = "relu",
) -> FirstStep:
    """The mean of dΘ(x, x)/dη at the first step of gradient descent on (x, y), exactly for finite ReLU networks; O(L).

    The mean of the derivative: units that switch in the step are not counted (see the top of this module). Loss (f(x) - y)²/2, any y
    independent of the weights. Arguments as in `ntk_moments`; with trained biases (`standard`, `sigma_b2` = 0) these move as well.
    Returns: a `FirstStep`. Raises: `InputError` for bad input, other activations, and sigma_b2 > 0.
    Source: the sum at the top of this module; Seleznova and Kutyniok 2022, theorem 4.1, has its limits.

    >>> round(first_step((2, 1, 1), sigma_w2=2.0).relative, 3)
    -4.0
    """
    given = {"sigma_w2": sigma_w2, "sigma_b2": sigma_b2, "input_norm2": input_norm2, "activation": activation}
    net = setting(widths, parameterization=parameterization, **given)  # type: ignore[arg-type]
    log_mean = ntk_moments(widths, parameterization=parameterization, **given).log_mean  # type: ignore[arg-type]
    growth = log_growth(net.widths)
    squared = float(np.sum(net.kappa * tied(net.widths, net.kappa)[1]))
    if squared == 0:
        return FirstStep(-math.inf, log_mean)
    logs = [2 * net.log_weights + float(growth[-1]) + math.log(squared)]
    if net.biases:
        errors = net.log_errors + growth[-1] - growth  # of a^{L-m} X(m, L); the largest is taken out
        top = float(errors.max())
        logs.append(net.log_weights + top + math.log(float(np.sum(net.kappa * tied(net.widths, np.exp(errors - top))[1]))))
    return FirstStep(float(math.log(4) + np.logaddexp.reduce(logs) + 2 * net.scale), log_mean)


def first_step_limit(ratio: object, *, sigma_w2: float, sigma_b2: float | None = None, alpha0: float = 1.0) -> np.ndarray:
    """The limit of E ΔΘ/(η a^{L-1} L E Θ), a = σ_w²/2, in the `standard` parameterization as L, M -> ∞ with L/M = `ratio` (λ).

    Inputs of norm one, n_0 = `alpha0`·M. Without biases, and in the chaotic phase (σ_w² > 2), it is -(4/(3α₀)) e^{5λ}(1/2 - R(-6λ)) with
    R(x) = (e^x - 1 - x)/x²: at a fixed rate the relative change grows like a^L L, so that η = O(a^{-L}/L) keeps it bounded. With trained
    biases that start at zero it is -(4/(1 + α₀)) e^{5λ}[(1/2 - R(-6λ))/(3α₀) + 2(R(-5λ) - R(-6λ))] at σ_w² = 2, and 0 in the ordered phase.
    Returns: an array of the shape of `ratio`. Raises: `InputError` for bad input.
    Source: the limit of `first_step`; compare Seleznova and Kutyniok 2022, theorem A.10.
    """
    lam, alpha = np.asarray(ratio, dtype=np.float64), real("alpha0", alpha0, above=0)
    if not (np.isfinite(lam) & (lam >= 0)).all():
        raise fail("finite ratios L/M of at least 0", "others", "give depth over width")
    net = setting((1, 1), sigma_w2=sigma_w2, sigma_b2=sigma_b2, parameterization="standard", input_norm2=1.0, activation="relu")
    if net.biases and net.log_a < 0:
        return np.zeros_like(lam)
    weights = np.exp(5 * lam) * (0.5 - second_remainder(-6 * lam)) / 3
    if not net.biases or net.log_a > 0:
        return -4 * weights / alpha
    both = 2 * np.exp(5 * lam) * (second_remainder(-5 * lam) - second_remainder(-6 * lam))
    return -4 * (weights / alpha + both) / (1 + alpha)
