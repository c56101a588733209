"""G1: which least-squares solution gradient descent finds."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kernelregime.claims import Claim, Estimate
from kernelregime.experiments.experiment import Arrays, Experiment, Measured, Params, Scale
from kernelregime.experiments.papers.background.paper import PAPER
from kernelregime.theory import least_squares_limit

SHAPES = {"wide": (50, 100, 0), "tall": (100, 50, 0), "dependent": (120, 40, 10)}  # points, parameters, columns that repeat others
RATES = (1.0, 1.9, 2.1)  # learning rates times λ_max(XᵀX)
SIZES: Mapping[Scale, Mapping[str, int]] = {
    "smoke": {"draws": 3, "steps": 1200},
    "laptop": {"draws": 20, "steps": 3000},
    "paper": {"draws": 300, "steps": 10_000},
}
CLOSE = 1e-9  # a distance that counts as none: the way is (1 - ηλ_min)^k long, and rounding ends it at about 1e-15
MIDWAY = 100  # the step at which the way itself is compared


def cells(scale: Scale) -> Mapping[str, Params]:
    """A cell for each shape of the problem."""
    return {
        name: {"shape": name, "points": points, "parameters": parameters, "repeated": repeated, **SIZES[scale]}
        for name, (points, parameters, repeated) in SHAPES.items()
    }


def seconds(*, draws: int, steps: int, **_: Any) -> float:
    """About how long a cell takes."""
    return len(RATES) * steps * (2e-5 + 1e-5 * draws)


def run(*, shape: str, points: int, parameters: int, repeated: int, draws: int, steps: int, seed: int) -> Arrays:
    """Distances of w^(k) from the solution of least norm and from that nearest to w^(0), by rate, step, start (zero, normal) and draw.

    All are divided by |w^(0) - its limit|. `predicted`: the way from the singular values of X.
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(draws, points, parameters))
    x[:, :, parameters - repeated :] = x[:, :, :repeated]
    y, start = rng.normal(size=(draws, points)), np.stack([np.zeros((draws, parameters)), rng.normal(size=(draws, parameters))], -1)
    shown = np.unique(np.r_[0, MIDWAY, np.geomspace(1, steps, 40).astype(int)])
    # (2.44), the solution of least norm
    least = (np.linalg.pinv(np.swapaxes(x, 1, 2) @ x, hermitian=True) @ np.swapaxes(x, 1, 2) @ y[..., None])[..., 0]
    nearest = np.array([[least_squares_limit(a, b, w) for w in both.T] for a, b, both in zip(x, y, start, strict=True)]).swapaxes(1, 2)
    _, singular, right = np.linalg.svd(x)
    squares = np.zeros((draws, parameters))
    squares[:, : singular.shape[1]] = singular**2
    way = np.linalg.norm(start - nearest, axis=1)
    to_least, to_nearest, predicted = [], [], []
    for rate in RATES:
        path = _descent(x, y, start, rate / squares.max(1), shown)
        to_least.append(np.linalg.norm(path - least[..., None], axis=2) / way)
        to_nearest.append(np.linalg.norm(path - nearest, axis=2) / way)
        factors = np.abs(1 - rate * squares / squares.max(1, keepdims=True)) ** shown[:, None, None]
        predicted.append(np.linalg.norm(factors[..., None] * (right @ (start - nearest)), axis=2) / way)
    arrays = {"to_least": to_least, "to_nearest": to_nearest, "predicted": predicted}
    kept = np.linalg.norm(nearest[..., 1] - least, axis=1) / way[:, 1]  # |(1 - X⁺X) w^(0)|
    return {name: np.moveaxis(np.array(value, np.float32), 2, -1) for name, value in arrays.items()} | {"steps": shown, "kept": kept}


def _descent(x: np.ndarray, y: np.ndarray, start: np.ndarray, rate: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """The iterates (2.42) at the steps `shown`, from every start (the last axis)."""
    transposed = rate[:, None, None] * np.swapaxes(x, 1, 2)
    w, path = start.copy(), []
    for step in range(int(shown[-1]) + 1):
        if step:
            w -= transposed @ (x @ w - y[..., None])
        if step in shown:
            path.append(w.copy())
    return np.array(path)


# source, what is said, array, rate, start
ENDS: Sequence[tuple[str, str, str, int, int]] = (
    ("theorem 2.4", "from zero at η = 1/λ_max to the solution of least norm (2.44)", "to_least", 0, 0),
    ("theorem 2.4, from any start", "from a normal w^(0) at η = 1/λ_max to the solution nearest to it", "to_nearest", 0, 1),
    (
        "theorem 2.4, larger steps",
        "from zero at η = 1.9/λ_max, beyond the theorem's 1/λ_max, to the solution of least norm",
        "to_least",
        1,
        0,
    ),
)


def claims(measured: Measured) -> Sequence[Claim]:
    """Where descent ends, from zero and from elsewhere, and how it gets there, for every shape."""
    return [claim for params, arrays in measured.where() for claim in _ends(params, arrays) + _ways(params, arrays)]


def _where(params: Params) -> str:
    return f"{params['points']} points, {params['parameters']} parameters" + ", some columns repeated" * (params["repeated"] > 0)


def _ends(params: Params, arrays: Arrays) -> list[Claim]:
    """The distance that is left."""
    made = []
    for source, said, name, rate, start in ENDS:
        statement = f"{said}, |w^(k) - solution|/|w^(0) - solution| after {params['steps']} steps; {_where(params)}"
        found = Estimate.of(arrays[name][rate, -1, start])
        made.append(Claim(source, statement, CLOSE, found, relation="at most", origin="printed" if source == "theorem 2.4" else "ours"))
    return made


def _ways(params: Params, arrays: Arrays) -> list[Claim]:
    """What is left from another start, and the distance midway."""
    where, midway = _where(params), int(np.searchsorted(arrays["steps"], MIDWAY))
    rounding = 1e-6
    far = Estimate.of(np.log(arrays["to_least"][2, midway, 0]))
    said = (
        f"from zero at η = 2.1/λ_max, beyond 2/λ_max: log of |w^(k) - solution|/|w^(0) - solution| after {MIDWAY} steps, above 0; {where}"
    )
    made = [Claim("theorem 2.4, larger steps", said, 0.0, far, relation="at least", origin="ours")]
    ratio = Estimate.of(arrays["to_nearest"][0, midway, 0] / arrays["predicted"][0, midway, 0])
    said = f"distance from the limit at step k = {MIDWAY} over √(Σ_i (1 - ηλ_i)^2k c_i²); from zero, η = 1/λ_max; {where}"
    made.append(Claim("theorem 2.4, rate", said, 1.0, ratio, rounding, origin="ours"))
    if params["shape"] != "tall":  # with more points than parameters there is one solution
        left = Estimate.of(arrays["to_least"][0, -1, 1] / arrays["kept"])
        said = f"from a normal w^(0), distance left to the solution of least norm over |(1 - X⁺X) w^(0)|; {where}"
        made.append(Claim("theorem 2.4, from any start", said, 1.0, left, rounding, origin="ours"))
    return made


EXPERIMENT = Experiment(
    key="G1",
    paper=PAPER,
    title="Gradient descent finds the solution of least norm",
    statement="Gradient descent on least squares from zero converges to the solution of least norm; from elsewhere, to the solution "
    "nearest to its start.",
    source="theorem 2.4",
    cells=cells,
    run=run,
    claims=claims,
    seconds=seconds,
    choices=("normal features and targets; shapes, starts other than zero and learning rates above 1/λ_max are ours",),
)
