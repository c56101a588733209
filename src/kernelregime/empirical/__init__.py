"""Any model and data to the finite-width neural tangent kernel: Jacobians, contraction, products, expansions, draws over seeds."""

from kernelregime.empirical.adapters import Model, as_model
from kernelregime.empirical.draws import sample_at_init
from kernelregime.empirical.ensembles import NtkDraws, sample_fully_connected
from kernelregime.empirical.expansion import linearize, taylor
from kernelregime.empirical.explanation import Explanation, explain
from kernelregime.empirical.features import features
from kernelregime.empirical.gram import ntk
from kernelregime.empirical.kernel import ntk_function
from kernelregime.empirical.model import Frozen
from kernelregime.empirical.operators import NtkOperator, operator
from kernelregime.empirical.rate import gradient_flow_direction, ntk_rate
from kernelregime.empirical.spectrum import Eigenpairs, Estimate, SpectralDensity

__all__ = [
    "Eigenpairs",
    "Estimate",
    "Explanation",
    "Frozen",
    "Model",
    "NtkDraws",
    "NtkOperator",
    "SpectralDensity",
    "as_model",
    "explain",
    "features",
    "gradient_flow_direction",
    "linearize",
    "ntk",
    "ntk_function",
    "ntk_rate",
    "operator",
    "sample_at_init",
    "sample_fully_connected",
    "taylor",
]
