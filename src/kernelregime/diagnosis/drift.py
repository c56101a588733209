"""Evidence (b): does the kernel stand still during training?"""

from typing import Final

import numpy as np

from kernelregime import observables
from kernelregime.claims import Estimate
from kernelregime.data import Dataset
from kernelregime.diagnosis.findings import Findings
from kernelregime.diagnosis.limit import Limit
from kernelregime.diagnosis.run import Run
from kernelregime.diagnosis.settings import Settings
from kernelregime.results import Evidence

GROUP: Final = "drift"


def drift(run: Run, dataset: Dataset, settings: Settings, at: Limit | None) -> Findings:
    """‖Θ_T - Θ_0‖_F/‖Θ_0‖_F, alignment with the targets before and after, heat maps of one seed's kernel."""
    moved = Evidence(
        "drift",
        GROUP,
        "Change of the NTK during training",
        Estimate.of(run.drift[-1]),
        predicted=0.0,
        source="Jacot et al. 2018, theorem 2: the NTK is constant at infinite width",
        role="regime",
        comment="‖Θ_T − Θ_0‖_F / ‖Θ_0‖_F on the followed train points, traced over outputs",
    )
    before, after = run.alignment[0], run.alignment[-1]
    label = "Alignment of Θ_0 with the targets"
    source = "infinite-width NTK" if at is not None else ""
    aligned = Evidence("alignment_initial", GROUP, label, Estimate.of(before), _predicted(run, dataset, at), source)
    gained = Evidence(
        "alignment_change",
        GROUP,
        "Gain of alignment during training",
        Estimate.of(after - before),
        predicted=0.0,
        source="Jacot et al. 2018, theorem 2",
        comment="a kernel that turns towards the targets is feature learning",
    )
    return Findings((moved, aligned, gained), _arrays(run, dataset, settings, at))


def _predicted(run: Run, dataset: Dataset, at: Limit | None) -> float | None:
    """The alignment of the infinite-width NTK."""
    if at is None:
        return None
    return float(observables.alignment(at.theta[np.ix_(run.followed, run.followed)], dataset.y_train[run.followed]))


def _arrays(run: Run, dataset: Dataset, settings: Settings, at: Limit | None) -> dict[str, np.ndarray]:
    labels = dataset.labels_train
    order = np.argsort(labels[run.followed], kind="stable") if labels is not None else np.argsort(dataset.y_train[run.followed, 0])
    shown = order[np.unique(np.linspace(0, len(order) - 1, min(settings.heat_points, len(order))).astype(int))]
    block = np.ix_(shown, shown)
    arrays = {
        "drift": run.drift.T,
        "alignment": run.alignment.T,
        "alignment_centred": run.alignment_centred.T,
        "heat_initial": run.initial.theta[0][block],
        "heat_final": run.theta_final[0][block],
    }
    if labels is not None:
        arrays["heat_labels"] = labels[run.followed][shown]
    if at is not None:
        arrays["heat_infinite"] = at.theta[np.ix_(run.followed, run.followed)][block]
    return arrays
