"""Time this library beside neural-tangents on the same work, in alternation: A B A B ... It records; it never asserts a time.

python benchmarks/compare.py --peer PYTHON [--only NAME,NAME] [--repeats N] [--pause SECONDS] [--json FILE]
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from cases import CASES

HERE = Path(__file__).parent
LAST_LINES = 12  # of what a worker that failed has said


class Worker:
    """A process of one side that has built one case."""

    def __init__(self, python, side, name):
        environment = {
            **os.environ,
            "JAX_ENABLE_X64": "1" if CASES[name].dtype == "float64" and side == "peer" else "0",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        command = [python, str(HERE / "worker.py"), side, name]
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True, env=environment
        )
        self._answer()

    def run(self):
        """Seconds of one run, and the peak memory so far."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self._answer()

    def close(self):
        """End the process."""
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(timeout=30)
        self.errors.close()

    def _answer(self):
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        self.errors.seek(0)
        said = "".join(self.errors.readlines()[-LAST_LINES:])
        self.close()
        raise SystemExit(f"worker ended early: {' '.join(self.process.args)}\n{said}")


def compare(name, peer, repeats, pause):
    """One case: medians, ratio pair by pair, first calls (with compilation) apart."""
    sides = {"ours": Worker(sys.executable, "ours", name), "peer": Worker(peer, "peer", name)}
    first = {side: worker.run() for side, worker in sides.items()}
    runs = {side: [] for side in sides}
    for _ in range(repeats):
        for side, worker in sides.items():
            time.sleep(pause)
            runs[side].append(worker.run())
    for worker in sides.values():
        worker.close()
    seconds = {side: [run["seconds"] for run in done] for side, done in runs.items()}
    ratios = [theirs / CASES[name].share / own for own, theirs in zip(seconds["ours"], seconds["peer"])]
    return {
        "case": name,
        "parameters": CASES[name].parameters,
        "dtype": CASES[name].dtype,
        "ours_seconds": statistics.median(seconds["ours"]),
        "peer_seconds": statistics.median(seconds["peer"]),
        "times_faster": statistics.median(ratios),
        "times_faster_range": [min(ratios), max(ratios)],
        "ours_first_call": first["ours"]["seconds"],
        "peer_first_call": first["peer"]["seconds"],
        "ours_peak_mib": runs["ours"][-1]["peak_mib"],
        "peer_peak_mib": runs["peer"][-1]["peak_mib"],
    }


def roofline():
    """What the machine gives in this run: matrix products (GFLOP/s) and a copy (GB/s)."""
    out = {}
    for dtype in ("float32", "float64"):
        a = np.random.RandomState(0).randn(2000, 2000).astype(dtype)
        out[f"gemm_{dtype}_gflops"] = round(2 * 2000**3 / _best(lambda a=a: a @ a) / 1e9)
    big = np.ones(2**26)
    target = np.empty_like(big)
    out["copy_gb_per_s"] = round(2 * big.nbytes / _best(lambda: np.copyto(target, big)) / 1e9, 1)
    return out


def _best(work, runs=5):
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def main():
    """Run the cases asked for and print one line each; write everything as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", required=True, help="the Python of an environment with neural-tangents")
    parser.add_argument("--only", default=",".join(CASES), help="cases, separated by commas")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--pause", type=float, default=0.0, help="seconds before each run, for the other side's threads to rest")
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    arguments = parser.parse_args()
    names = arguments.only.split(",")
    if unknown := [name for name in names if name not in CASES]:
        parser.error(f"unknown case {unknown[0]!r}; there are: {', '.join(CASES)}")
    machine = {
        "platform": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **roofline(),
    }
    print(json.dumps(machine), flush=True)
    results = []
    for name in names:
        results.append(compare(name, arguments.peer, arguments.repeats, arguments.pause))
        print(json.dumps({k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in results[-1].items()}), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
