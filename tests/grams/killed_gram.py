"""A run into a store, for tests that kill it: started with the engine, the place of the store, and that of the log of its tiles."""

import sys

from problems import Dots, problem

from kernelregime import grams

WAIT = 0.02


def run(engine, store, log, wait=WAIT):
    """66 tiles of two points a side."""
    grams.assemble(problem(Dots(log=log, wait=wait)), memory=800, engine=engine, workers=1, store=store)


if __name__ == "__main__":
    run(*sys.argv[1:])
