"""An ordinary training loop over several seeds at once, which calls probes at chosen steps and can be interrupted and resumed."""

from kernelregime.training.checkpoint import ForeignCheckpointError
from kernelregime.training.losses import LOSSES, REDUCTIONS
from kernelregime.training.optimizers import OPTIMIZERS, holding
from kernelregime.training.probing import geometric_steps
from kernelregime.training.run import EXPLOSION, train
from kernelregime.training.trace import Trace

__all__ = ["EXPLOSION", "LOSSES", "OPTIMIZERS", "REDUCTIONS", "ForeignCheckpointError", "Trace", "geometric_steps", "holding", "train"]
