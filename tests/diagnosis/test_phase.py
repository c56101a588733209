"""Gradients that vanish, and integrals that do not converge."""

import importlib
import json
import math
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from kernelregime import InputError, activations, diagnosis, networks, report, theory
from kernelregime.diagnosis import phase
from kernelregime.diagnosis.subject import subject


def trained(*arguments, **options):
    raise AssertionError("it was trained")


def test_a_network_of_signs_is_diagnosed_by_its_readout_and_it_is_said_that_nothing_else_trains(small, quick):
    found = quick(small, depth=2, width=32, activation="sign", draws=3, probes=2)
    assert (found.verdict.regime, found.verdict.trainable) == ("kernel regime", "trainable")
    assert "chi_measured" not in {item.key for item in found.evidence}
    assert any(words.startswith("growth of gradients per layer: all that were measured are zero") for words in found.missing)
    assert found["drift"].measured.mean == 0


def test_the_phase_of_signs_is_chaotic_and_the_infinite_chi_is_told_in_words(small, quick):
    found = quick(small, depth=3, width=16, activation="sign", draws=3, probes=2)
    assert "chi1" not in {item.key for item in found.evidence}
    assert "χ₁: infinite, for φ jumps; near inputs part in every layer, and the phase is chaotic" in found.missing
    assert (found["depth_scale"].comment, found["q_star"].comment) == ("chaotic", "chaotic")
    assert found["depth_scale"].measured.mean > 1
    assert "phase_sigma_w2" not in found.arrays
    json.dumps(found.to_json(), allow_nan=False)
    assert "holds no finite number" not in report.html(found)


def test_the_growth_of_gradients_is_predicted_from_the_slopes_that_backpropagation_sees(small):
    phi = activations.get(lambda x: x + jnp.sign(x), kinks=(0.0,))
    where = phase.place(networks.describe(networks.mlp(depth=3, width=8, outputs=2, activation=phi, sigma_w2=1.5)), small)
    assert where.phase.chi1 == math.inf
    assert where.growth == pytest.approx(1.5)  # φ' = 1 where it exists


@pytest.mark.parametrize(("sigma_b2", "kept"), [(1.0, True), (1e6, False)])
def test_gradients_that_underflow_are_missing_with_the_reason(small, sigma_b2, kept):
    network = networks.mlp(depth=3, width=16, outputs=2, activation="erf", sigma_b2=sigma_b2)
    what = subject(network, (16,))
    run = SimpleNamespace(initial=SimpleNamespace(params=what.initialize(5, 0, "float32")))
    found = phase._chi(what, run, small, diagnosis.Settings(), 1.0)
    assert [item.key for item in found.evidence] == ["chi_measured"] * kept
    assert [words.startswith("growth of gradients per layer") for words in found.missing] == [True] * (not kept)


@pytest.mark.parametrize(
    "phi", [lambda x: jnp.exp(x**2), lambda x: jnp.abs(x - 0.3) - jnp.abs(x + 1.1) / 2], ids=["too fast a growth", "undeclared kinks"]
)
@pytest.mark.parametrize("depth", [2, 3])
def test_integrals_that_do_not_converge_are_refused_before_training(small, monkeypatch, phi, depth):
    monkeypatch.setattr(importlib.import_module("kernelregime.diagnosis.diagnose"), "run", trained)
    with pytest.raises(InputError, match=r"expected a φ whose Gaussian integrals converge; got .*; declare its kinks"):
        diagnosis.diagnose(networks.mlp(depth=depth, width=8, outputs=2, activation=phi), small)


@pytest.mark.parametrize("name", ["relu", "tanh", "cos", "sigmoid"])
def test_the_curve_of_the_edge_of_chaos_goes_from_no_biases_to_the_largest_without_gaps(name):
    weights, biases = diagnosis.edge_curve(activations.get(name), largest=0.5)
    [start] = theory.edge_of_chaos(name)
    assert weights[biases.argmin()] == pytest.approx(start, rel=0.01)
    assert biases.min() < 0.01
    assert biases.max() > 0.48
    if name != "relu":
        assert np.diff(np.sort(biases)).max() < 0.02
