"""From any Gram matrix and targets: training at any time, ensembles over initializations, posteriors, time scales.

Host code on NumPy arrays, in the precision of the Gram. Decompose a Gram once with `eigen` and pass the `Spectrum` wherever a Gram
is taken, to share the work between calls.
"""

from kernelregime._linalg import Spectrum, eigen
from kernelregime.prediction.ensembles import Ensemble, ensemble
from kernelregime.prediction.posteriors import Posterior, posterior
from kernelregime.prediction.problem import Blocks
from kernelregime.prediction.timescales import TrainableModes, max_learning_rate, time_to_fraction, trainable_modes
from kernelregime.prediction.trajectory import Trajectory, train

__all__ = [
    "Blocks",
    "Ensemble",
    "Posterior",
    "Spectrum",
    "TrainableModes",
    "Trajectory",
    "eigen",
    "ensemble",
    "max_learning_rate",
    "posterior",
    "time_to_fraction",
    "train",
    "trainable_modes",
]
