"""Made-up diagnoses with the shapes, keys and sizes of real ones."""

import numpy as np
import pytest

from kernelregime import report
from kernelregime.claims import Estimate
from kernelregime.results import Advice, Diagnosis, Evidence, Verdict

SEEDS, TRAIN, TEST, OUTPUTS, POINTS = 5, 128, 64, 10, 80


def _arrays(rng: np.random.Generator) -> dict[str, np.ndarray]:
    eigenvalues = np.sort(60 * np.arange(1, TRAIN + 1) ** -1.4 * np.exp(0.1 * rng.standard_normal(TRAIN)))[::-1]
    spectra = eigenvalues * np.exp(0.08 * rng.standard_normal((SEEDS, TRAIN)))
    edge = np.linspace(0, 1.5, 60)
    return {
        **_curves(rng, eigenvalues),
        **_heat_maps(rng),
        **_outputs(rng),
        "ntk_samples": np.exp(0.11 * rng.standard_normal(2000) - 0.006),
        "spectrum_infinite": eigenvalues,
        "spectrum_initial": -np.sort(-spectra, axis=1),
        "spectrum_final": -np.sort(-1.15 * spectra, axis=1),
        "phase_sigma_w2": np.full(60, 2.0),
        "phase_sigma_b2": edge,
    }


def _curves(rng: np.random.Generator, eigenvalues: np.ndarray) -> dict[str, np.ndarray]:
    steps = np.unique(np.concatenate([[0], np.geomspace(1, 2000, 28).round()])).astype(int)
    decay = np.exp(-2 * 0.004 * steps[:, None] * eigenvalues) @ (eigenvalues / eigenvalues.sum())
    wobble = 1 + 0.06 * rng.standard_normal((SEEDS, 1)) + 0.02 * rng.standard_normal((SEEDS, steps.size))
    time = steps / steps[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.where(time > 0, 0.09 * time**0.3 * wobble, np.nan)
    return {
        "steps": steps,
        "train_loss": 0.45 * np.clip(decay * wobble, 1e-6, None),
        "linear_train_loss": 0.45 * decay * (1 + 0.05 * rng.standard_normal((SEEDS, 1))),
        "ntk_train_loss": 0.46 * decay,
        "test_loss": 0.45 * (0.25 + 0.75 * decay) * (1 + 0.03 * rng.standard_normal((SEEDS, 1))),
        "linearization_error": error,
        "drift": np.where(time > 0, 0.24 * time**0.5 * wobble, 1e-7),  # as rounding leaves it at the start
        "alignment": 0.31 + 0.09 * time**0.5 * wobble,
        "alignment_centred": 0.22 + 0.2 * time**0.5 * wobble,
    }


def _heat_maps(rng: np.random.Generator) -> dict[str, np.ndarray]:
    labels = np.repeat(np.arange(OUTPUTS), POINTS // OUTPUTS)
    points = rng.standard_normal((POINTS, 6)) + 1.6 * rng.standard_normal((OUTPUTS, 6))[labels]
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    infinite = 2.1 + 3.2 * (points @ points.T + 1) ** 2 / 4
    initial = infinite + 0.12 * (noise := rng.standard_normal((POINTS, POINTS))) + 0.12 * noise.T
    final = initial + 0.5 * (labels[:, None] == labels)
    return {"heat_initial": initial, "heat_final": final, "heat_infinite": infinite, "heat_labels": labels}


def _outputs(rng: np.random.Generator) -> dict[str, np.ndarray]:
    mean, std = rng.standard_normal((TEST, OUTPUTS)) * 0.3, 0.05 + 0.1 * rng.random(TEST)
    outputs = mean + std[:, None] * 1.2 * rng.standard_normal((SEEDS, TEST, OUTPUTS))
    return {
        "test_outputs": outputs,
        "linear_test_outputs": outputs + 0.02 * rng.standard_normal(outputs.shape),
        "ensemble_mean": mean,
        "ensemble_std": std,
        "test_targets": np.eye(OUTPUTS)[rng.integers(0, OUTPUTS, TEST)],
        "zscores": 1.2 * rng.standard_normal(SEEDS * TEST * OUTPUTS),
    }


LEE, JACOT, LIMIT = "Lee et al. 2019, theorem 2.1", "Jacot et al. 2018, theorem 2", "infinite-width NTK"


def _evidence(rng: np.random.Generator) -> tuple[Evidence, ...]:
    def seeds(mean: float, spread: float) -> Estimate:
        return Estimate.of(mean + spread * rng.standard_normal(SEEDS))

    def computed(value: float) -> Estimate:
        return Estimate(value, 0.0, 0)

    moments = "exact finite-width moments for ReLU"
    distance = "Distance to the linearized network on test points"
    return (
        Evidence("linearization_error", "function space", distance, seeds(0.087, 0.004), 0.0, LEE, "regime", "0 at infinite width"),
        Evidence("ensemble_z_rms", "function space", "Root mean square z-score", seeds(1.19, 0.05), 1.0, "Lee et al. 2019, eq. 14"),
        Evidence("test_error_network", "function space", "Test error, trained network", seeds(0.081, 0.006), 0.0828, LIMIT),
        Evidence("test_error_linearized", "function space", "Test error, linearized network", seeds(0.085, 0.005), 0.0828, LIMIT),
        Evidence("test_error_ntk", "function space", "Test error, infinite-width NTK", computed(0.0828)),
        Evidence("test_error_nngp", "function space", "Test error, NNGP posterior", Estimate(0.0776, float("nan"), 1)),
        Evidence("drift", "drift", "Change of the NTK, ‖Θ_T − Θ_0‖ / ‖Θ_0‖", seeds(0.241, 0.008), 0.0, JACOT, "regime"),
        Evidence("alignment_initial", "drift", "Alignment with the targets before training", seeds(0.31, 0.01), 0.305, LIMIT),
        Evidence("alignment_change", "drift", "Gain of alignment", seeds(0.09, 0.006), 0.0, JACOT, comment="0 at infinite width"),
        Evidence("dispersion", "randomness", "Dispersion E Θ² / (E Θ)²", Estimate(1.0124, 0.0004, 2000), 1.0119, moments),
        Evidence("ntk_relative_std", "randomness", "Relative spread of Θ(x, x)", Estimate(0.111, 0.002, 2000), 0.109, moments, "regime"),
        Evidence("theta_distance", "randomness", "Distance ‖Θ_0 − Θ_∞‖ / ‖Θ_∞‖ on the data", seeds(0.062, 0.004), 0.0, JACOT),
        Evidence("chi1", "phase", "χ₁ = σ_w² E φ'(√q* z)²", computed(1.0), source="Schoenholz et al. 2017", comment="edge of chaos"),
        Evidence("q_star", "phase", "Fixed point q* of the variance", computed(0.913)),
        Evidence("depth_scale", "phase", "Depth scale ξ_c of correlations (layers)", computed(14.2)),
        Evidence("depth_over_width", "phase", "Depth over width", computed(5 / 512)),
        Evidence("lambda_max", "conditioning", "Largest eigenvalue of Θ_0", seeds(61.0, 2.0), 59.8, LIMIT),
        Evidence("lambda_min", "conditioning", "Smallest eigenvalue of Θ_0", seeds(0.0671, 0.002), 0.0694, LIMIT),
        Evidence("condition_number", "conditioning", "log₁₀ of the condition number", seeds(2.96, 0.03), 2.94, LIMIT),
        Evidence("train_threshold_eigenvalue", "conditioning", "Eigenvalue above which a direction trains", seeds(0.21, 0.001)),
        Evidence("trainable_modes", "conditioning", "Share of directions that can train", seeds(0.44, 0.01), 0.45, LIMIT),
        Evidence("loss_fraction", "conditioning", "Final loss over initial loss", seeds(1.3e-4, 1e-5), role="trainable"),
    )


CONFIG = {
    "network": {
        "kind": "mlp",
        "depth": 5,
        "width": 512,
        "activation": "relu",
        "sigma_w2": 2.0,
        "sigma_b2": None,
        "parameterization": "ntk",
        "outputs": OUTPUTS,
    },
    "model": None,
    "data": {"name": "digits", "points_train": TRAIN, "points_test": TEST, "inputs": 64, "outputs": OUTPUTS, "scaling": "unit-norm"},
    "training": {"optimizer": "gd", "learning_rate": [0.41, 0.4, 0.42, 0.41, 0.4], "steps": 2000, "reduction": "sum", "seeds": SEEDS},
    "dtype": "float32",
}


def make() -> Diagnosis:
    """A wide ReLU network on the digits, near the kernel regime, with every kind of evidence and every array."""
    rng = np.random.default_rng(0)
    return Diagnosis(
        verdict=Verdict(
            "near kernel regime",
            "trainable",
            (
                "its NTK moves somewhat: the change of the NTK is 0.241 ± 0.004 (between 0.2 and 0.5)",
                "it trains as its linearization does: the distance on test points is 0.087 ± 0.002 (at most 0.1)",
                "5 of 5 seeds trained: the train residual is 0.013 ± 0.001 (trained: at most 0.5)",
            ),
            (
                Advice("width 1100 instead of 512 would bring the change of the NTK below 0.2 at this depth"),
                Advice("σ_w² = 2 is the edge of chaos for ReLU: keep it", satisfied=True),
            ),
        ),
        evidence=_evidence(rng),
        config=CONFIG,
        thresholds={
            "kernel_linearization": 0.1,
            "near_linearization": 0.3,
            "kernel_drift": 0.2,
            "near_drift": 0.5,
            "kernel_randomness": 0.3,
            "near_randomness": 1.0,
            "least_seeds": 5.0,
        },
        arrays=_arrays(rng),
        missing=("the infinite-width ensemble of other losses: known for squared loss only",),
        notes=("the targets are whole numbers of 25 different values and were taken as regression",),
        environment={"python": "3.11.2", "cores": 2, "time": "2026-01-01T00:00:00+00:00", "packages": {"jax": "0.10.2"}},
        seconds={"training": 31.2, "kernels": 4.6},
    )


@pytest.fixture(scope="session")
def diagnosis() -> Diagnosis:
    return make()


@pytest.fixture(scope="session")
def page(diagnosis: Diagnosis) -> str:
    return report.html(diagnosis)
