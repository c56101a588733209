"""One side of a comparison: builds a case, then runs it once for every line on standard input. Answers are JSON lines."""

import json
import resource
import sys
import time
from pathlib import Path

from cases import CASES


def peak_mib():
    """Peak resident memory of this process; on Linux not by getrusage, which a child inherits from its parent."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


def main():
    """`worker.py ours|peer CASE`."""
    side, name = sys.argv[1:]
    case = CASES[name]
    work = getattr(case, side)(**case.parameters, dtype=case.dtype)
    print(json.dumps({"ready": True}), flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        work()
        seconds = time.perf_counter() - start
        print(json.dumps({"seconds": seconds, "peak_mib": round(peak_mib())}), flush=True)


if __name__ == "__main__":
    main()
