"""The figures of the paper."""

from collections.abc import Callable, Mapping

from kernelregime.report.papers.can_we_trust import growth, heat_maps, kappas, trained, training_drift
from kernelregime.report.papers.frames import Drawing
from kernelregime.results import Reproduction

FIGURES: Mapping[str, Callable[[Reproduction], list[Drawing]]] = {
    "T1": heat_maps.dispersion,
    "T2": growth.dispersion,
    "T3": training_drift.drift,
    "T4": kappas.against_depth,
    "T5": trained.variance,
}
