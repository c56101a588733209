"""A kernel into a store, in a process whose peak memory a test reads: prints how many bytes it rose over that of a small one."""

import resource
import sys

import numpy as np

from kernelregime import infinite, networks


def peak():
    """The most bytes resident so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def compute(points, store):
    """An NTK in float64."""
    x = np.random.default_rng(0).normal(size=(points, 4))
    infinite.gram(networks.mlp(depth=3, width=8), x, kind="ntk", memory=int(sys.argv[2]), store=f"{sys.argv[1]}/{store}")


if __name__ == "__main__":
    compute(700, "small")  # what is loaded and compiled once
    before = peak()
    compute(int(sys.argv[3]), "large")
    print(peak() - before)
