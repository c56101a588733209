"""The second half of G2: solutions that fit the train set, and their risk, eq. 2.47."""

from collections.abc import Sequence

import numpy as np

from kernelregime.claims import Claim, Estimate
from kernelregime.experiments.experiment import Arrays, Params

RATIO = 2.0  # P/N
ALPHAS = (0.0, 1.0, 10.0, 100.0, 1000.0)  # distances gone along a direction in the kernel of X


def least_squares(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The solution of least norm for normal rows, by the smaller of the two Gram matrices."""
    if x.shape[0] < x.shape[1]:
        return x.T @ np.linalg.solve(x @ x.T, y)
    found: np.ndarray = np.linalg.solve(x.T @ x, x.T @ y)
    return found


def run(*, ratio: float, points: int, draws: int, fresh: int, seed: int) -> Arrays:
    """Errors on train and on new noisy points of w* + αΔw and of ŵ + αΔw, XΔw = 0, by draw and α; noise of variance 1.

    `direction`: ‖Δw‖²_Σ, the part of (2.47) that grows; `excess`: ‖ŵ - w*‖²_Σ and twice ⟨ŵ - w*, ΣΔw⟩, for ŵ + αΔw.
    """
    parameters, rng = round(ratio * points), np.random.default_rng(seed)
    variances = np.linspace(0.2, 1.8, parameters)
    found: dict[str, list[np.ndarray]] = {name: [] for name in ("test", "train", "test_fit", "train_fit", "direction", "excess")}
    for _ in range(draws):
        x, new = (rng.normal(size=(rows, parameters)) * np.sqrt(variances) for rows in (points, fresh))
        target = rng.normal(size=parameters) / np.sqrt(parameters)
        noise, later = rng.normal(size=points), rng.normal(size=fresh)
        y = x @ target + noise
        free = rng.normal(size=parameters)
        free -= least_squares(x, x @ free)
        free /= np.linalg.norm(free)
        fit = least_squares(x, y)
        for ending, start in (("", target), ("_fit", fit)):
            moved = start[:, None] + free[:, None] * np.array(ALPHAS)
            found["train" + ending].append(np.mean((x @ moved - y[:, None]) ** 2, axis=0))
            found["test" + ending].append(np.mean((new @ moved - (new @ target + later)[:, None]) ** 2, axis=0))
        found["direction"].append(np.asarray(np.sum(variances * free**2)))
        found["excess"].append(np.array([np.sum(variances * (fit - target) ** 2), 2 * np.sum(variances * (fit - target) * free)]))
    return {name: np.array(value) for name, value in found.items()} | {"alphas": np.array(ALPHAS)}


def claims(params: Params, arrays: Arrays) -> Sequence[Claim]:
    """(2.47) and that there is no bound; that w* + αΔw does not fit noisy targets, and what does."""
    where = f"N = {params['points']}, P = {round(params['ratio'] * params['points'])}, σ² = 1"
    return [*_risks(arrays, where), *_fits(arrays, where)]


def _risks(arrays: Arrays, where: str) -> list[Claim]:
    made = []
    excess, cross = arrays["excess"].T
    for index in (2, 4):
        alpha = ALPHAS[index]
        predicted = alpha**2 * arrays["direction"] + 1
        found = Estimate.of(arrays["test"][:, index] / predicted)
        said = f"risk of w* + αΔw over α²‖Δw‖²_Σ + σ²; α = {alpha:g}, {where}"
        made.append(Claim("eq. 2.47", said, 1.0, found))
        found = Estimate.of(arrays["test_fit"][:, index] / (predicted + excess + alpha * cross))
        said = f"risk of ŵ + αΔw over α²‖Δw‖²_Σ + 2α⟨ŵ - w*, ΣΔw⟩ + ‖ŵ - w*‖²_Σ + σ²; α = {alpha:g}, {where}"
        made.append(Claim("eq. 2.47, for interpolators", said, 1.0, found, origin="corrected"))
    return made


def _fits(arrays: Arrays, where: str) -> list[Claim]:
    moved, fit = Estimate.of(arrays["train"][:, 0]), Estimate.of(arrays["train_fit"][:, -1])
    growth = Estimate.of(arrays["test_fit"][:, -1] / np.mean(arrays["test_fit"][:, 0]))
    said = f"w* + αΔw minimizes the empirical risk: its mean squared error on the train set; α = 0, {where}"
    right = f"ŵ + αΔw does: its mean squared error on the train set; α = 1000, {where}"
    large = f"empirical risk minimizers of arbitrarily large risk: risk at α = 1000 over that at α = 0; {where}"
    return [
        Claim("before eq. 2.47", said, 0.0, moved),
        Claim("before eq. 2.47, corrected", right, 1e-15, fit, relation="at most", origin="corrected"),
        Claim("after eq. 2.47", large, 1e4, growth, relation="at least"),
    ]
