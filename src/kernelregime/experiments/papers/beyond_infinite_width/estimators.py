"""B10: the bias of estimators of the dispersion E θ²/(E θ)² from N draws."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kernelregime.claims import Claim, Estimate
from kernelregime.experiments.experiment import Arrays, Experiment, Measured, Params, Scale
from kernelregime.experiments.papers.beyond_infinite_width.paper import PAPER
from kernelregime.theory import dispersion_estimate, ntk_moments, sample_ntk
from kernelregime.theory.dispersion_estimate import Method

METHODS: tuple[Method, ...] = ("printed", "disjoint", "plug-in", "jackknife")
DEVIATIONS = (0.25, 0.5, 0.75)  # of log θ
DEPTH, WIDTH = 10, 100  # of networks at the edge of chaos whose log Θ has a deviation of about 0.5
BLOCK = 20_000  # samples made at one time
SIZES: Mapping[Scale, Mapping[str, Any]] = {  # `more`: draws of all samples of the expansion's cells
    "smoke": {"counts": (20,), "samples": 1500, "deviations": (0.5,), "more": 1_000_000},
    "laptop": {"counts": (10, 20, 50, 100, 500), "samples": 2500, "deviations": DEVIATIONS, "more": 100_000_000},
    "paper": {"counts": (10, 20, 50, 100, 500), "samples": 100_000, "deviations": DEVIATIONS, "more": 1_000_000_000},
}


def cells(scale: Scale) -> Mapping[str, Params]:
    """A cell for each law of θ and number N of draws: log-normal by the deviation of log θ, Θ(x, x) of networks by depth."""
    deviations, counts, samples = (SIZES[scale][name] for name in ("deviations", "counts", "samples"))
    laws = [("log-normal", deviation) for deviation in deviations] + [("NTK", DEPTH)]
    made: dict[str, Params] = {}
    for (law, parameter), count in itertools.product(laws, counts):
        more = SIZES[scale]["more"] // count if (law, parameter) == ("log-normal", 0.5) and 20 <= count <= 100 else 0
        settings = {"law": law, "parameter": parameter, "count": count, "samples": samples}
        made[f"{law.lower()}-{parameter:g}-n{count}"] = settings | ({"more": more} if more else {})
    return made


def seconds(*, count: int, samples: int, more: int = 0, **_: Any) -> float:
    """About how long a cell takes."""
    return samples * (3e-4 + 5e-7 * count) + 4e-8 * more * count


def run(*, law: str, parameter: float, count: int, samples: int, seed: int, more: int = 0) -> Arrays:
    """Each method's estimate over the true dispersion, on the same samples: mean, standard error, quartiles; and the plug-in's bias."""
    if law == "log-normal":
        log_theta = parameter * np.random.default_rng(seed).standard_normal((samples, count))
        truth = math.exp(parameter**2)
    else:
        widths = (WIDTH,) * int(parameter) + (1,)
        setting: dict[str, Any] = {"sigma_w2": 2.0, "sigma_b2": 0.0, "parameterization": "standard"}
        log_theta = sample_ntk(widths, draws=samples * count, seed=seed, **setting).log_theta.reshape(samples, count)
        truth = ntk_moments(widths, **setting).dispersion
    theta = np.exp(log_theta)
    found = np.array([[dispersion_estimate(row, method=method).mean for method in METHODS] for row in theta]) / truth
    sizes, signs = np.abs(np.mean(found, axis=0) - 1), np.sign(np.mean(found, axis=0) - 1)
    return {
        "mean": found.mean(axis=0),
        "sem": found.std(axis=0, ddof=1) / math.sqrt(samples),
        "quartiles": np.quantile(found, (0.25, 0.5, 0.75), axis=0),
        # of the bias, plug-in less jackknife: on the same samples, each with the sign of its bias
        "gain": np.array([sizes[2] - sizes[3], np.std(found[:, 2] * signs[2] - found[:, 3] * signs[3], ddof=1) / math.sqrt(samples)]),
        "truth": np.array(truth),
        "log_deviation": np.array(log_theta.std()),
        "plug_in": np.array(-(2 * truth - 1) * (truth - 1) / count),
        **({"bias": _bias(parameter, count, more, seed)} if more else {}),
    }


def _bias(deviation: float, count: int, samples: int, seed: int) -> np.ndarray:
    """The relative bias of mean(θ²)/mean(θ)² of log-normal draws, and its standard error: so small that it takes many samples."""
    rng, values = np.random.default_rng([seed, 1]), []
    for start in range(0, samples, BLOCK):
        theta = np.exp(deviation * rng.standard_normal((min(BLOCK, samples - start), count)))
        values.append(np.mean(theta**2, axis=1) / np.mean(theta, axis=1) ** 2)
    found = Estimate.of(np.concatenate(values) / math.exp(deviation**2))
    return np.array([found.mean - 1, found.sem, found.n])


def claims(measured: Measured) -> Sequence[Claim]:
    """Of N = 20 draws, which show it clearly: what is printed, without its misprint, and ours."""
    made = []
    for params, arrays in measured.where(count=20):
        law = f"log-normal θ, deviation {params['parameter']:g} of log θ"
        if params["law"] == "NTK":
            law = f"Θ(x, x), σ_w² = 2, M = n_0 = {WIDTH}, L = {params['parameter']:g}"
        where = f"{law}, N = 20"
        by = {
            method: Estimate(float(mean), float(sem), params["samples"])
            for method, mean, sem in zip(METHODS, arrays["mean"], arrays["sem"], strict=True)
        }
        gain = Estimate(float(arrays["gain"][0]), float(arrays["gain"][1]), params["samples"])
        made += [
            Claim("C.3", f"the printed estimator is unbiased: its mean over the true dispersion; {where}", 1.0, by["printed"]),
            Claim(
                "C.3, corrected",
                f"with the prefactor 1/N its mean is still above the true dispersion; {where}",
                1.0,
                by["disjoint"],
                relation="at least",
                origin="corrected",
            ),
            Claim(
                "ours: jackknife",
                f"the jackknife's bias is smaller than that of mean(θ²)/mean(θ)²: by how much; {where}",
                0.0,
                gain,
                relation="at least",
                origin="ours",
            ),
        ]
    for params, arrays in measured.where(law="log-normal", parameter=0.5):
        if "bias" in arrays:
            found = Estimate(float(arrays["bias"][0]), float(arrays["bias"][1]), int(arrays["bias"][2]))
            said = f"relative bias of mean(θ²)/mean(θ)² is -(2r - 1)(r - 1)/N; log-normal θ, deviation 0.5, N = {params['count']}"
            # the next order is smaller by a factor of order 1/N
            made.append(Claim("ours: expansion in 1/N", said, float(arrays["plug_in"]), found, 5 / params["count"], origin="ours"))
    return made


EXPERIMENT = Experiment(
    key="B10",
    paper=PAPER,
    title="Bias of the estimators of the dispersion",
    statement="The estimator of appendix C.3, whose denominator is made of the other draws, is unbiased.",
    source="appendix C.3",
    cells=cells,
    run=run,
    claims=claims,
    seconds=seconds,
    version=2,
    choices=(
        "log-normal θ, and Θ(x, x) by its exact law (theory.sample_ntk)",
        "few draws (N = 20), where the bias is large; at the paper's N = 500 it is below the estimators' own spread",
    ),
)
