"""Infinite widths against finite networks, for layers whose kernels are limits alone, and a layer that is wrong."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from kernelregime import diagnosis, infinite, networks
from kernelregime._checks import InputError
from kernelregime.layers import (
    Activation,
    Aggregate,
    Attention,
    Batch,
    Branches,
    ChannelsLast,
    Conv,
    Dense,
    Dropout,
    GlobalPool,
    Identity,
    Last,
    LayerNorm,
    Recurrent,
    Sequential,
)

SEQUENCES = np.random.default_rng(0).normal(size=(3, 4, 2))
PRESENT = np.arange(4) < np.array([4, 2, 3])[:, None]
LENGTHS = Batch(np.where(PRESENT[..., None], SEQUENCES, np.nan), PRESENT)
GRAPHS = Batch(SEQUENCES, graph=np.random.default_rng(1).normal(size=(3, 4, 4)))
BLOCK = Branches((Sequential((Dense(8, 1.2), LayerNorm(), Activation("erf"), Dense(8, 1.1))), Identity()))
NETWORKS = {
    "standard parameterization": (networks.mlp(depth=3, width=16, parameterization="standard"), SEQUENCES[:, 0]),
    "softmax attention": (Sequential((Dense(16, 1.6), Attention(16, 8, 16, 4, embedding="sum"), GlobalPool(), Dense(2))), SEQUENCES),
    "attention of 1/√d": (
        Sequential((Dense(16, 1.6), Attention(16, 8, 16, 2, weights="identity", scaling="root"), GlobalPool(), Dense(1))),
        SEQUENCES,
    ),
    "softmax attention of 1/√d": (
        Sequential((Dense(16, 1.6), Attention(16, 8, 16, 2, scaling="root", embedding="sum", samples=2**13), GlobalPool(), Dense(1))),
        SEQUENCES,
    ),
    "recurrent": (Sequential((Recurrent(16, "tanh", 1.4, 0.8, 0.2), Last(), Dense(1))), SEQUENCES),
    "several lengths": (Sequential((Conv(16, (3,), 1.8, 0.1), Activation("relu"), GlobalPool(), Dense(1))), LENGTHS),
    "several lengths, channels first": (
        Sequential((ChannelsLast(), Recurrent(16, "erf", 1.4, 0.8), Last(), Dense(1))),
        Batch(np.moveaxis(LENGTHS.values, -1, 1), PRESENT),
    ),
    "graphs of their own": (Sequential((Aggregate(), Dense(16), Activation("relu"), Aggregate(), GlobalPool(), Dense(1))), GRAPHS),
    "residual with layer normalization": (Sequential((Dense(8), BLOCK, BLOCK, Activation("relu"), Dense(1))), SEQUENCES[:, 0]),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_finite_networks_go_to_the_infinite_kernels(name):
    network, x = NETWORKS[name]
    told = []
    found = diagnosis.crosscheck(network, x, multiples=(1, 2, 4), draws=250, progress=lambda *counts: told.append(counts))
    for kernel in (found.nngp, found.ntk):
        assert kernel.status == "agrees", str(found)
        assert kernel.misfit < 16
    assert abs(found.spread_slope + 0.5) < 4 * found.spread_slope_sem + 0.05
    assert told[-1] == (750, 750)
    assert [count for count, _ in told] == sorted(count for count, _ in told)


class Wrong(Dense):
    """A fully-connected layer whose infinite width leaves out the NTK of its bias."""

    def propagate(self, state):
        after = super().propagate(state)
        return replace(after, ntk=after.ntk - self.sigma_b2)


jax.tree_util.register_dataclass(Wrong, ["sigma_w2", "sigma_b2"], ["width", "parameterization", "s", "role"])


def test_a_layer_that_is_wrong_is_found_and_few_draws_decide_nothing():
    x = SEQUENCES[:, 0]
    network = Sequential((Dense(16, 1.5), Activation("relu"), Wrong(1, 1.0, 0.3)))
    found = diagnosis.crosscheck(network, x, multiples=(1, 2, 4), draws=150)
    assert (found.ntk.status, found.nngp.status) == ("differs", "agrees")
    level = np.sqrt(np.outer(*[np.diagonal(infinite.gram(network, x).ntk)] * 2))
    assert (np.abs(found.ntk.limit - 0.3 / level) <= 4 * found.ntk.limit_sem).all()
    assert "differs" in str(found)
    assert diagnosis.crosscheck(networks.mlp(depth=3, width=2), x, multiples=(1, 2), draws=10).ntk.status == "undecided"


def test_standard_errors_are_those_of_repeated_checks():
    network, x = networks.mlp(depth=3, width=8), SEQUENCES[:2, 0]
    runs = [diagnosis.crosscheck(network, x, multiples=(2, 4), draws=40, seed=seed) for seed in range(12)]
    for kind in ("nngp", "ntk"):
        limits = np.array([getattr(run, kind).limit for run in runs])
        sems = np.array([getattr(run, kind).limit_sem for run in runs])
        ratio = limits.std(axis=0, ddof=1) / sems.mean(axis=0)
        assert ((ratio > 0.4) & (ratio < 1.8)).all()  # of 12 runs: 1 ± 0.2, and heavy tails
        assert (np.abs(limits.mean(axis=0)) <= 4 * limits.std(axis=0, ddof=1) / np.sqrt(12)).all()


def test_what_cannot_be_checked_is_refused():
    network, x = networks.mlp(depth=2, width=8), SEQUENCES[:, 0]
    for options, message in (
        ({"multiples": (2,)}, "two rising multiples"),
        ({"multiples": (2, 1)}, "two rising multiples"),
        ({"draws": 3}, "draws to be an integer of at least 10"),
    ):
        with pytest.raises(InputError, match=message):
            diagnosis.crosscheck(network, x, **options)
    with pytest.raises(InputError, match="outputs have no positions"):
        diagnosis.crosscheck(Sequential((Dense(8),)), SEQUENCES)
    with pytest.raises(InputError, match="training=True"):
        diagnosis.crosscheck(Sequential((Dense(8), Dropout(0.5, training=True), Dense(1))), x)
    with pytest.raises(InputError, match="readout"):
        networks.widened(Sequential((Dense(8), Branches((Sequential((Dense(8),)), Identity())))), 2)


def test_a_kernel_that_does_not_depend_on_the_draw_agrees():
    found = diagnosis.crosscheck(networks.mlp(depth=1, width=8), SEQUENCES[:, 0], draws=20, multiples=(1, 2))
    assert found.ntk.status == "agrees"
    assert np.isfinite(found.ntk.limit).all()
    with pytest.raises(InputError, match="not 0"):
        diagnosis.crosscheck(networks.mlp(depth=2, width=8), np.zeros((2, 3)), draws=20)
