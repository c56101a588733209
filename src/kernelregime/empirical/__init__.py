"""Any model and data to the finite-width neural tangent kernel: Jacobians, structured contraction, expansions, draws over seeds."""

from kernelregime.empirical.adapters import Model, as_model
from kernelregime.empirical.draws import sample_at_init
from kernelregime.empirical.ensembles import NtkDraws, sample_fully_connected
from kernelregime.empirical.expansion import linearize, taylor
from kernelregime.empirical.explanation import Explanation, explain
from kernelregime.empirical.gram import ntk
from kernelregime.empirical.kernel import ntk_function
from kernelregime.empirical.model import Frozen

__all__ = [
    "Explanation",
    "Frozen",
    "Model",
    "NtkDraws",
    "as_model",
    "explain",
    "linearize",
    "ntk",
    "ntk_function",
    "sample_at_init",
    "sample_fully_connected",
    "taylor",
]
