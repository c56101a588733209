import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.append(str(BENCHMARKS))

import compare  # noqa: E402
from cases import CASES  # noqa: E402

SMALL = {"n": 6, "depth": 2, "width": 8, "inputs": 4, "draws": 3, "side": 3}


@pytest.mark.parametrize("name", CASES)
def test_our_side_of_every_benchmark_runs(name):
    case = CASES[name]
    parameters = {key: SMALL.get(key, value) for key, value in case.parameters.items()}
    assert case.ours(**parameters, dtype=case.dtype)() is not None


def test_a_worker_that_fails_says_why():
    with pytest.raises(SystemExit, match="No module named 'neural_tangents'"):
        compare.Worker(sys.executable, "peer", "ensemble_covariance")
