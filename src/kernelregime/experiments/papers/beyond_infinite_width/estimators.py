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
SIZES: Mapping[Scale, Mapping[str, Any]] = {
    "smoke": {"counts": (20,), "samples": 1500, "deviations": (0.5,)},
    "laptop": {"counts": (10, 20, 50, 100, 500), "samples": 2500, "deviations": DEVIATIONS},
    "paper": {"counts": (10, 20, 50, 100, 500), "samples": 100_000, "deviations": DEVIATIONS},
}


def cells(scale: Scale) -> Mapping[str, Params]:
    """A cell for each law of θ and number N of draws: log-normal by the deviation of log θ, Θ(x, x) of networks by depth."""
    deviations, counts, samples = (SIZES[scale][name] for name in ("deviations", "counts", "samples"))
    laws = [("log-normal", deviation) for deviation in deviations] + [("NTK", DEPTH)]
    return {
        f"{law.lower()}-{parameter:g}-n{count}": {"law": law, "parameter": parameter, "count": count, "samples": samples}
        for (law, parameter), count in itertools.product(laws, counts)
    }


def seconds(*, count: int, samples: int, **_: Any) -> float:
    """About how long a cell takes."""
    return samples * (3e-4 + 5e-7 * count)


def run(*, law: str, parameter: float, count: int, samples: int, seed: int) -> Arrays:
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
    sizes = np.abs(np.mean(found, axis=0) - 1)
    return {
        "mean": found.mean(axis=0),
        "sem": found.std(axis=0, ddof=1) / math.sqrt(samples),
        "quartiles": np.quantile(found, (0.25, 0.5, 0.75), axis=0),
        # of the bias, plug-in less jackknife: on the same samples, so that most of the error cancels
        "gain": np.array([sizes[2] - sizes[3], np.std(found[:, 3] - found[:, 2], ddof=1) / math.sqrt(samples)]),
        "truth": np.array(truth),
        "log_deviation": np.array(log_theta.std()),
        "plug_in": np.array(-(2 * truth - 1) * (truth - 1) / count),
    }


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
        if 20 <= params["count"] <= 100:
            found = Estimate(float(arrays["mean"][2]) - 1, float(arrays["sem"][2]), params["samples"])
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
    choices=(
        "log-normal θ, and Θ(x, x) by its exact law (theory.sample_ntk)",
        "few draws (N = 20), where the bias is large; at the paper's N = 500 it is below the estimators' own spread",
    ),
)
