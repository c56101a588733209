"""Formulas only: mean-field theory and phases, the dispersion of the NTK at finite width, and limits of depth."""

from kernelregime.theory.criticality import EdgeOfChaos, edge_of_chaos, edge_of_chaos_curve
from kernelregime.theory.depth_limits import (
    correlation_gap_asymptotics,
    correlation_gaps,
    depth_to_matter,
    normalized_ntk,
    normalized_ntk_limit,
    ntk_gap_asymptotics,
    predictor_limit,
)
from kernelregime.theory.diagrams import PhaseDiagram, phase_diagram
from kernelregime.theory.dispersion import NtkMoments, ntk_moments, width_for_dispersion
from kernelregime.theory.dispersion_estimate import DispersionEstimate, dispersion_estimate
from kernelregime.theory.dispersion_limits import dispersion_limit, printed_dispersion_limit, printed_ntk_moments
from kernelregime.theory.first_step import FirstStep, first_step, first_step_limit
from kernelregime.theory.gaussian import GaussianMoments, gaussian_moments
from kernelregime.theory.generalization import (
    arora_bound,
    deep_bound,
    excess_risk_limit,
    expected_excess_risk,
    least_risk_ratio,
    least_squares_limit,
    printed_risk_limit,
    scale_free_bound,
)
from kernelregime.theory.layer_ratios import layer_ratio_product, layer_ratio_skewness, printed_layer_ratio_product
from kernelregime.theory.matrix_sampler import NtkMatrixSample, sample_ntk_matrix
from kernelregime.theory.mean_field import (
    FixedPoint,
    chi,
    correlation_fixed_point,
    correlation_map,
    depth_scale,
    fixed_points,
    variance_map,
    variances,
)
from kernelregime.theory.ntk_factors import NtkFactors, ntk_factors, printed_ntk_factors
from kernelregime.theory.off_diagonal import OFF_DIAGONAL_BOUNDS, off_diagonal_dispersion_bound, off_diagonal_ratio
from kernelregime.theory.phases import Phase, phase
from kernelregime.theory.sampler import NtkSample, sample_ntk, simulated_dispersion
from kernelregime.theory.spectra import KernelSpectrum, kernel_spectrum
from kernelregime.theory.trained_variance import trained_variance

__all__ = [
    "OFF_DIAGONAL_BOUNDS",
    "DispersionEstimate",
    "EdgeOfChaos",
    "FirstStep",
    "FixedPoint",
    "GaussianMoments",
    "KernelSpectrum",
    "NtkFactors",
    "NtkMatrixSample",
    "NtkMoments",
    "NtkSample",
    "Phase",
    "PhaseDiagram",
    "arora_bound",
    "chi",
    "correlation_fixed_point",
    "correlation_gap_asymptotics",
    "correlation_gaps",
    "correlation_map",
    "deep_bound",
    "depth_scale",
    "depth_to_matter",
    "dispersion_estimate",
    "dispersion_limit",
    "edge_of_chaos",
    "edge_of_chaos_curve",
    "excess_risk_limit",
    "expected_excess_risk",
    "first_step",
    "first_step_limit",
    "fixed_points",
    "gaussian_moments",
    "kernel_spectrum",
    "layer_ratio_product",
    "layer_ratio_skewness",
    "least_risk_ratio",
    "least_squares_limit",
    "normalized_ntk",
    "normalized_ntk_limit",
    "ntk_factors",
    "ntk_gap_asymptotics",
    "ntk_moments",
    "off_diagonal_dispersion_bound",
    "off_diagonal_ratio",
    "phase",
    "phase_diagram",
    "predictor_limit",
    "printed_dispersion_limit",
    "printed_layer_ratio_product",
    "printed_ntk_factors",
    "printed_ntk_moments",
    "printed_risk_limit",
    "sample_ntk",
    "sample_ntk_matrix",
    "scale_free_bound",
    "simulated_dispersion",
    "trained_variance",
    "variance_map",
    "variances",
    "width_for_dispersion",
]
