"""What the evidence means, in plain language: headings, explanations, and sentences built from the numbers."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kernelregime.claims import Claim
from kernelregime.report.quantities import counted, number, percent, sample, share, with_error
from kernelregime.results import Diagnosis, Evidence

Found = Mapping[str, Evidence]
Config = Mapping[str, Any]

REGIMES = {
    "kernel regime": (
        "kernel",
        "●",
        "Training moved the network as its kernel at the start says it would: kernel theory describes this network.",
    ),
    "near kernel regime": (
        "near",
        "◐",
        "Kernel theory describes this network roughly; a part of what it does is not in the kernel it started with.",
    ),
    "feature learning": (
        "feature",
        "◆",
        "Training changed the network's kernel, or took the function away from what kernel theory says.",
    ),
    "inconclusive": ("unknown", "?", "The evidence does not decide; the reasons say what is lacking."),
}
TRAINABLE = {
    "trainable": ("kernel", "✓", "The training points are fitted in the given time."),
    "untrainable": ("feature", "✕", "The training points are not fitted in the given time."),
    "inconclusive": ("unknown", "?", "The evidence does not decide whether this network trains."),
}
# evidence that the verdict reads by thresholds: the name of its thresholds, and a short name for the scale
CRITERIA = {
    "linearization_error": ("linearization", "function"),
    "drift": ("drift", "drift"),
    "ntk_relative_std": ("randomness", "chance"),
}


@dataclass(frozen=True)
class Section:
    """A part of the report: the question it answers and how to read its evidence."""

    group: str
    title: str
    meaning: str


SECTIONS = (
    Section(
        "function space",
        "Function space: is it the function the kernel predicts?",
        "The first thing to ask. Replace the network by its linearization at the start of training, which learns with a fixed kernel. "
        "If both arrive at the same outputs on points they have not seen, kernel theory describes what was learned.",
    ),
    Section(
        "drift",
        "Drift: did the kernel change during training?",
        "In the kernel regime the neural tangent kernel (NTK) stays where it was. "
        "A kernel that moves, and aligns with the targets, has learned features.",
    ),
    Section(
        "randomness",
        "Randomness: how much does chance decide the kernel?",
        "At infinite width the NTK at initialization is one fixed kernel. At finite width it is random, "
        "the more so the deeper the network is for its width; then one draw says little about another.",
    ),
    Section(
        "phase",
        "Phase: order, chaos, or the edge between them?",
        "The variances of weights and biases decide what depth does to a signal. With χ₁ < 1 (ordered) all inputs come to look alike "
        "and gradients vanish; with χ₁ > 1 (chaotic) gradients explode and similar inputs are torn apart (for ReLU the variance explodes "
        "instead); at χ₁ = 1 signals go deepest.",
    ),
    Section(
        "conditioning",
        "Conditioning: which directions can train?",
        "Every eigenvector of the NTK on the training points is learned at the speed of its eigenvalue. "
        "Directions with a small eigenvalue are not learned in the given time, however right the kernel is.",
    ),
)

GLOSSARY = (
    ("± sem", "Standard error of the mean over the sample (n)."),
    (
        "NTK, Θ",
        "Neural tangent kernel: how much a training step on one point moves the output on another. "
        "Θ_0 is the kernel at the start, Θ_∞ at infinite width.",
    ),
    (
        "linearization",
        "The network replaced by its first-order expansion in the parameters at the start: it trains with the fixed kernel Θ_0.",
    ),
    (
        "NNGP",
        "The Gaussian process that an untrained network becomes at infinite width; "
        "its posterior is what training only the last layer gives.",
    ),
    ("alignment", "Cosine between the kernel and the kernel of the targets, from 0 to 1."),
    ("dispersion", "Mean square of Θ(x, x) over initializations divided by its squared mean: 1 for a kernel that is not random."),
    ("χ₁", "Factor by which a layer multiplies small differences and gradients, at large depth."),
    ("condition number", "Largest over smallest eigenvalue of the NTK on the training points."),
)

_AGREEMENT = {"holds": ("holds", "agrees"), "fails": ("fails", "differs")}
AGREEMENT = (
    "Agreement, in the tables below: a prediction “agrees” when it lies within three standard errors (sem) of what was measured, or 6.6 "
    "where these come from five values, and “differs” when it lies farther off. Some numbers are 0 at infinite width, which no finite "
    "network reaches: these are read by the thresholds of the verdict (“within”, “beyond”), or it is said how they fall with the width. "
    "“Too noisy” is an error larger than the prediction, “theory alone” a number that nothing was measured for."
)
# evidence that is 0 in the limit of infinite width, and how it falls
_LIMITS = {"linearization_error": "width^-1/2", "drift": "1/width", "alignment_change": "1/width", "theta_distance": "width^-1/2"}


def bounds(thresholds: Mapping[str, float], key: str) -> tuple[float, float] | None:
    """The two thresholds that the verdict reads the evidence `key` by, if they are there and in order."""
    if key not in CRITERIA:
        return None
    kernel, near = (thresholds.get(f"{level}_{CRITERIA[key][0]}") for level in ("kernel", "near"))
    return (kernel, near) if kernel is not None and near is not None and 0 < kernel < near else None


def agreement(item: Evidence, thresholds: Mapping[str, float]) -> tuple[str, str]:
    """Kind (`holds`, `fails`, `unknown`, `limit`, `none`) and words for how a measurement stands to its prediction, if there are both.

    A prediction of 0 at infinite width is a limit that no finite network reaches: evidence with thresholds is read by these instead, and
    of other evidence it is said how it falls.
    """
    claim, limits = item.claim, bounds(thresholds, item.key)
    if claim is None:
        return "none", "theory alone" if of_theory(item) else "no prediction"
    if claim.predicted == 0 and limits is not None and math.isfinite(item.measured.mean):
        kernel, near = limits
        if item.measured.mean <= kernel:
            return "holds", f"within {number(kernel)}"
        return ("unknown", f"within {number(near)}") if item.measured.mean <= near else ("fails", f"beyond {number(near)}")
    if claim.verdict == "fails" and _is_limit(item):
        return "limit", f"falls like {_LIMITS[item.key]}"
    if claim.verdict in _AGREEMENT:
        return _AGREEMENT[claim.verdict]
    if not (math.isfinite(item.measured.mean) and math.isfinite(claim.predicted)):
        return "unknown", "cannot tell"
    if math.isnan(item.measured.sem):
        return "unknown", "no error bar"
    return "unknown", "0 within error" if claim.predicted == 0 else "too noisy"


def of_theory(item: Evidence) -> bool:
    """Whether the number was computed from theory, with no measurement beside it."""
    return item.measured.n == 0 and item.predicted is None


def beside(item: Evidence) -> tuple[str, str, str]:
    """What was measured (with its error), its sample, and what theory says, each in its own column."""
    if of_theory(item):
        return "–", "", number(item.measured.mean, 4)
    return with_error(item.measured), sample(item.measured), "–" if item.predicted is None else number(item.predicted, 4)


def claimed(claim: Claim) -> tuple[str, str]:
    """What a claim predicts, with what it allows besides, and what was measured, with its error and sample."""
    sign = {"equal": "", "at most": "≤ ", "at least": "≥ "}[claim.relation]
    allowed = f" (± {percent(claim.tolerance)})" if claim.tolerance else ""
    return f"{sign}{number(claim.predicted, 4)}{allowed}", f"{with_error(claim.measured)} ({sample(claim.measured)})"


def _is_limit(item: Evidence) -> bool:
    return item.predicted == 0 and item.key in _LIMITS


def distance(item: Evidence) -> str:
    """How far measurement and prediction are apart, in standard errors; empty where that cannot be told."""
    if _is_limit(item):
        return "0 at infinite width"
    mean, sem, predicted = item.measured.mean, item.measured.sem, item.predicted
    if predicted is None or predicted == 0 or not (math.isfinite(mean - predicted) and math.isfinite(sem) and sem > 0):
        return ""
    return f"{number(abs(mean - predicted) / sem, 2)} sem apart"


def short(label: str) -> str:
    """A label without the formula after its name."""
    return re.split(r", (?![a-z]{2}|[A-Z][a-zA-Z]|[^()]*\))| = ", label, maxsplit=1)[0]


def readings(diagnosis: Diagnosis, group: str) -> list[str]:
    """What the numbers of one group say about this network, one sentence each."""
    found = {item.key: item for item in diagnosis.evidence if math.isfinite(item.measured.mean)}
    return [text for reading in _READINGS.get(group, ()) if (text := reading(found, diagnosis.config))]


def _linearization(found: Found, _: Config) -> str:
    if "linearization_error" not in found:
        return ""
    size = share(found["linearization_error"].measured.mean, "the distance that training moved the outputs")
    return f"Here network and linearization end up apart by {size}."


def _ensemble(found: Found, _: Config) -> str:
    if "ensemble_z_rms" not in found:
        return ""
    size = number(found["ensemble_z_rms"].measured.mean, 2)
    return f"From the mean of infinitely wide networks the outputs are {size} of their standard deviations away (1 is what chance gives)."


def _drift(found: Found, _: Config) -> str:
    return f"Here the NTK changed by {share(found['drift'].measured.mean, 'its own size')}." if "drift" in found else ""


def _alignment(found: Found, _: Config) -> str:
    if "alignment_initial" not in found or not {"alignment_final", "alignment_change"} & found.keys():
        return ""
    start = found["alignment_initial"].measured.mean
    end = found["alignment_final"].measured.mean if "alignment_final" in found else start + found["alignment_change"].measured.mean
    return f"Its alignment with the targets went from {number(start, 2)} to {number(end, 2)} (1: the kernel is the targets' own)."


def _dispersion(found: Found, _: Config) -> str:
    if "ntk_relative_std" in found:
        size = found["ntk_relative_std"].measured.mean
    elif "dispersion" in found and found["dispersion"].measured.mean >= 1:
        size = math.sqrt(found["dispersion"].measured.mean - 1)
    else:
        return ""
    return f"Here Θ(x, x) varies from one initialization to the next by {share(size, 'its mean')} (one standard deviation)."


def _distance(found: Found, _: Config) -> str:
    if "theta_distance" not in found:
        return ""
    size = share(found["theta_distance"].measured.mean, "that one's size")
    return f"The kernel on the data at the start is away from the infinite-width kernel by {size}."


def _chi(found: Found, _: Config) -> str:
    if "chi1" not in found:
        return ""
    chi = found["chi1"].measured.mean
    if abs(chi - 1) < 5e-4:  # what the four digits shown cannot tell from the edge
        return f"Here χ₁ = {number(chi, 4)}: the network sits at the edge of chaos."
    return f"Here χ₁ = {number(chi, 4)}: the network is in the {'ordered' if chi < 1 else 'chaotic'} phase."


def _depth(found: Found, config: Config) -> str:
    depth = (config.get("network") or {}).get("depth")
    if "depth_scale" not in found or not isinstance(depth, int):
        return ""
    scale = found["depth_scale"].measured.mean
    reach = "deeper than that" if depth > scale else "not deeper than that"
    return f"Signals are remembered over about {number(scale, 2)} layers; with {depth} weight layers this network is {reach}."


def _threshold(found: Found, _: Config) -> str:
    if "train_threshold_eigenvalue" not in found:
        return ""
    level = number(found["train_threshold_eigenvalue"].measured.mean, 2)
    return f"In the given time, directions with an eigenvalue above {level} can train."


def _condition(found: Found, _: Config) -> str:
    if not {"lambda_max", "lambda_min"} <= found.keys() or found["lambda_min"].measured.mean <= 0:
        return ""
    ratio = found["lambda_max"].measured.mean / found["lambda_min"].measured.mean
    return f"The fastest direction is learned {number(ratio, 2)} times as fast as the slowest."


_READINGS: dict[str, tuple[Callable[[Found, Config], str], ...]] = {
    "function space": (_linearization, _ensemble),
    "drift": (_drift, _alignment),
    "randomness": (_dispersion, _distance),
    "phase": (_chi, _depth),
    "conditioning": (_threshold, _condition),
}


def sentence(text: str) -> str:
    """`text` with a capital letter where it begins with an ordinary word (and not with a symbol such as σ_w² or a name such as f)."""
    first = text.split(" ", 1)[0]
    return text[0].upper() + text[1:] if len(first) > 1 and first.isascii() and first.isalpha() else text


def headline(config: Config) -> str:
    """The network and its data in a few words."""
    network, data = config.get("network"), config.get("data") or {}
    if network:
        kind = "fully-connected" if network.get("kind") == "mlp" else network.get("kind")
        name = " ".join(str(word) for word in (kind, network.get("activation"), "network") if word)
        name = name[0].upper() + name[1:]
    else:
        name = str(config.get("model") or "a user's model")
    return f"{name} on {data['name']}" if "name" in data else name


def details(config: Config) -> str:
    """Network, data and training in one line."""
    network, data, training = (config.get(key) or {} for key in ("network", "data", "training"))
    parts = [_network_line(network), _data_line(data), _training_line(training)]
    return " · ".join(part for part in parts if part)


def _network_line(network: Config) -> str:
    words = []
    if "depth" in network and "width" in network:
        words.append(f"{counted(network['depth'], 'weight layer')} of width {network['width']}")
    if "sigma_w2" in network:
        words.append(f"σ_w² = {_value(network['sigma_w2'])}")
    if "sigma_b2" in network:
        words.append("no bias" if network["sigma_b2"] is None else f"σ_b² = {_value(network['sigma_b2'])}")
    if "parameterization" in network:
        words.append(f"{network['parameterization']} parameterization".replace("ntk ", "NTK "))
    return ", ".join(words)


def _data_line(data: Config) -> str:
    names = (("points_train", "training point"), ("points_test", "test point"), ("inputs", "input"))
    return ", ".join([counted(data[key], name) for key, name in names if key in data] + _targets(data))


def _targets(data: Config) -> list[str]:
    """What is learned: regression, or classes (two where one output tells them apart)."""
    if "outputs" not in data:
        return []
    outputs = counted(data["outputs"], "output")
    if "target_coding" not in data:
        return [outputs]
    if data["target_coding"] == "regression":
        return [f"regression, {outputs}"]
    if data["target_coding"] == "standardized-regression":
        return [f"regression on standardized targets, {outputs}"]
    return [counted(2 if data["outputs"] == 1 else data["outputs"], "class", "classes")]


def _training_line(training: Config) -> str:
    optimizer = {"gd": "gradient descent"}.get(str(training.get("optimizer")), training.get("optimizer"))
    forms = {
        "seeds": counted(training.get("seeds"), "seed"),
        "optimizer": str(optimizer),
        "steps": f"at most {counted(training.get('steps'), 'step')}",
    }
    return ", ".join(form for key, form in forms.items() if key in training)


def _value(value: Any) -> str:
    return number(value, 5) if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)
