"""Set-up of the whole suite: helpers of the tests on the path, and the array annotations of the library checked at run time."""

import gc
import itertools
import sys
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

HERE = Path(__file__).parent
SOURCE = HERE.parent / "src"
sys.path[:0] = [str(HERE), str(HERE / "laws")]

UNCHECKED = {
    "kernelregime.layers.moments",  # JAX rebuilds this record with shapes or flags in the place of its arrays
    "kernelregime.infinite.kernel",  # these two refuse wrong shapes in their own words, which tests ask for
    "kernelregime.empirical.gram",
}
MODULES = {".".join(path.relative_to(SOURCE).with_suffix("").parts) for path in SOURCE.rglob("*.py") if path.name != "__init__.py"}
install_import_hook(sorted(MODULES - UNCHECKED), "shapes.arrays")

MAPS = Path("/proc/self/maps")
MOST = 30_000  # mapped regions, of 65,530 that Linux allows a process: each compiled program takes about ten, one test of many up to 10,000
EVERY = 20  # tests between looks, which take 10 ms each
finished = itertools.count(1)
STALE = pytest.StashKey()


def pytest_runtest_teardown():
    """Forget compiled programs before there are more than a process can hold."""
    if next(finished) % EVERY == 0 and "jax" in sys.modules and MAPS.exists():
        with MAPS.open("rb") as maps:
            many = sum(1 for _ in maps) > MOST
        if many:
            sys.modules["jax"].clear_caches()
            gc.collect()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Mark the tests of slow.txt, and note its lines that are no test any more."""
    slow, found = set((HERE / "slow.txt").read_text().splitlines()), {item.nodeid: item for item in items}
    for name in slow & set(found):
        found[name].add_marker("slow")
    files = {name.partition("::")[0] for name in found}
    config.stash[STALE] = sorted(name for name in slow - set(found) if name.partition("::")[0] in files)


@pytest.fixture
def stale_lines(request):
    """The lines of slow.txt that are no test of the files that were read, where these were read whole."""
    config = request.config
    chosen = config.getoption("lf") or any("::" in argument for argument in config.args)
    return [] if chosen else config.stash[STALE]


@pytest.fixture
def strict_float64():
    """float64, with JAX refusing implicit promotion of dtypes and of ranks."""
    import jax

    from kernelregime import _precision

    with _precision.enter("float64"), jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture
def quick_grams(monkeypatch):
    """`infinite.gram` compiles quickly: for tests of many networks, each computed once."""
    from compiling import quick_propagate  # after the hook above: it imports the library

    points, fields = quick_propagate()
    monkeypatch.setattr("kernelregime.infinite.pairs.propagate", points)
    monkeypatch.setattr("kernelregime.infinite.positions.propagate_fields", fields)
