"""Experiments for the tests of what runs them: cheap cells of a module, which other processes can import."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from kernelregime.claims import Claim, Estimate
from kernelregime.experiments import Experiment
from kernelregime.experiments.training import train_cell
from kernelregime.results import Paper

PAPER = Paper("toys", "On Toys", "No one, never")


def run(*, size, log, fails="", waits=0.0, kills="", dies=False, seed):
    """Normal numbers; notes each call; fails while the file `fails` is there, waits, or ends its process once."""
    with Path(log).open("a") as file:
        file.write(f"{size}\n")
    time.sleep(waits)
    if dies or (kills and not Path(kills).exists()):
        Path(kills or log).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if fails and Path(fails).exists():
        raise ValueError(f"no luck with {size}")
    return {"values": np.random.default_rng(seed).normal(size=size), "size": size}


def claims(measured):
    return [
        Claim("eq. 1", f"mean of {given['size']}", 0.0, Estimate.of(arrays["values"]), origin="ours") for given, arrays in measured.where()
    ]


def experiment(log, *, sizes=(3, 4, 5), version=1, **options):
    """Cells by size; `options` of a size: its own arguments of `run`."""
    special = options.pop("special", {})
    cells = {f"n{size}": {"size": size, "log": str(log), **options, **special.get(size, {})} for size in sizes}
    return Experiment(
        key="X1",
        paper=PAPER,
        title="Toys",
        statement="They have mean zero.",
        source="section 1",
        cells=lambda _: cells,
        run=run,
        claims=claims,
        seconds=lambda **_: 2.0,
        version=version,
    )


def learn(*, log, stop, rate, seed):
    """A line fitted in eight steps; interrupted at the fourth while the file `stop` is there."""

    def probe(step, params):
        with Path(log).open("a") as file:
            file.write(f"{step}\n")
        if step == 4 and Path(stop).exists():
            raise KeyboardInterrupt
        return params["w"]

    x = np.random.default_rng(seed).normal(size=(6, 3))
    trace = train_cell(
        line,
        {"w": np.zeros((1, 3, 1))},
        x,
        x[:, :1],
        steps=8,
        learning_rate=rate,
        probes={"w": probe},
        probe_steps=tuple(range(9)),
        dtype="float64",
    )
    return {"losses": trace.losses, "w": trace.params["w"]}


def line(params, x):
    return x @ params["w"]


def learning(log, stop, *, rate=0.01):
    """An experiment whose cell trains."""
    return replace(
        experiment(log),
        key="X2",
        cells=lambda _: {"one": {"log": str(log), "stop": str(stop), "rate": rate}},
        run=learn,
        claims=lambda measured: [Claim("eq. 2", "loss", 0.0, Estimate(float(measured.one()["losses"][0, -1]), 0.0, 0), origin="ours")],
    )
