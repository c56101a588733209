"""Compare this library with reference values: `python tests/oracle.py DIR [--json] [--cases]`; tests/oracle/README.md tells the layout.

Every case passes, fails, or is unsupported: made of something this library does not have. The exit code is 0 if none failed and
no layer that this library lists is among what is unsupported; 1 otherwise; 2 where there is nothing to compare.
"""

import argparse
import dataclasses
import json
import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from comparison import empirical, kernels, prediction
from comparison.record import Outcome
from comparison.translate import UnsupportedError

from kernelregime import activations, layers

FILES = ("fc", "conv", "misc", "empirical", "predict")


class Stored:
    """The cases of one file: `index` by name, and the arrays of each."""

    def __init__(self, path: Path) -> None:
        with np.load(path, allow_pickle=False) as held:
            self._arrays = {name: held[name] for name in held.files}
        self.index: dict[str, dict[str, Any]] = json.loads(str(self._arrays["__index__"]))

    def arrays(self, case: str) -> dict[str, np.ndarray]:
        """The arrays of one case."""
        return {name: self._arrays[f"{case}/{name}"] for name in self.index[case]["arrays"]}


def _run(file: str, stored: Stored, outcome: Outcome) -> None:
    entry, arrays = stored.index[outcome.case], stored.arrays(outcome.case)
    if file == "empirical":
        empirical.compare(outcome, entry, arrays)
    elif file == "predict":
        prediction.compare(outcome, entry, arrays, stored.arrays(entry["data"]) if "data" in entry else None)
    else:
        kernels.compare(outcome, entry, arrays)


def compare_file(file: str, path: Path, *, chosen: Callable[[Outcome], bool] = lambda _: True) -> list[Outcome]:
    """One outcome for every case of a file, or those `chosen` while still empty; an exception of the library fails its case."""
    stored = Stored(path)
    outcomes = []
    for case, entry in stored.index.items():
        outcome = Outcome(file, case, layers=layers_of(entry.get("spec", [])))
        if not chosen(outcome):
            continue
        try:
            _run(file, stored, outcome)
        except UnsupportedError as error:
            outcome.reject(error.reason, missing=error.listed)
        except Exception as error:
            outcome.fail(f"{type(error).__name__}: {error}", math.inf, "")
        outcomes.append(outcome)
    return outcomes


def layers_of(spec: list[Any]) -> tuple[str, ...]:
    """The names of the layers of a spec, each once."""
    names: list[str] = []
    for name, arguments in spec:
        names += [name, *(inner for branch in arguments for inner in layers_of(branch))] if name == "parallel" else [name]
    return tuple(dict.fromkeys(names))


def compare(folder: Path) -> list[Outcome]:
    """Outcomes of all cases of all files in a folder."""
    return [outcome for file in FILES if (path := folder / f"{file}.npz").is_file() for outcome in compare_file(file, path)]


def exit_code(outcomes: list[Outcome]) -> int:
    """0 if no case failed and none is unsupported for a layer that the library has."""
    return int(any(outcome.status == "failed" or outcome.missing for outcome in outcomes))


def summary(outcomes: list[Outcome], *, cases: bool) -> str:
    """A table by group (the first word of the case names), or by case, and every failure in full."""
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault((outcome.file, outcome.case if cases else outcome.case.split("_")[0]), []).append(outcome)
    rows = [("file", "case" if cases else "cases", "passed", "failed", "unsupported", "error/tolerance", "in many digits")]
    reasons: dict[str, int] = {}
    for (file, name), members in groups.items():
        count = {status: sum(o.status == status for o in members) for status in ("passed", "failed", "unsupported")}
        worst = max(o.worst for o in members) if count["unsupported"] < len(members) else math.nan
        shown = "" if math.isnan(worst) else f"{worst:.1e}"
        exact = sum(o.exact for o in members)
        rows.append((file, name, *(str(count[s] or "") for s in count), shown, str(exact or "")))
        for o in members:
            if o.status == "unsupported":
                reasons[o.reason] = reasons.get(o.reason, 0) + 1
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += ["", *(f"unsupported: {reason} ({count})" for reason, count in sorted(reasons.items()))]
    lines += [f"FAILED {o.file}/{o.case}: {o.reason}" for o in outcomes if o.status == "failed"]
    lines += [f"MISSING {o.file}/{o.case}: the library lists one of: {o.reason}" for o in outcomes if o.missing]
    total = {status: sum(o.status == status for o in outcomes) for status in ("passed", "failed", "unsupported")}
    return "\n".join([*lines, ", ".join(f"{number} {status}" for status, number in total.items())])


def as_json(outcomes: list[Outcome]) -> str:
    """The same as JSON; errors that are not finite are strings."""
    records: list[Mapping[str, Any]] = [dataclasses.asdict(outcome) for outcome in outcomes]
    plain = [{k: str(v) if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()} for record in records]
    had = {"layers": sorted(layers.__all__), "activations": sorted(activations.REGISTRY)}
    return json.dumps({"library": had, "exit_code": exit_code(outcomes), "cases": plain}, indent=1, allow_nan=False)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="oracle.py", description="Compare kernelregime with reference values.")
    parser.add_argument("folder", type=Path, metavar="DIR", help="holds any of " + ", ".join(f"{file}.npz" for file in FILES))
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--cases", action="store_true", help="one row for every case")
    chosen = parser.parse_args(arguments)
    outcomes = compare(chosen.folder)
    if not outcomes:
        expected = " or ".join(f"{file}.npz" for file in FILES)
        print(f"expected a folder with {expected}; got {chosen.folder}; name another folder", file=sys.stderr)
        return 2
    print(as_json(outcomes) if chosen.json else summary(outcomes, cases=chosen.cases))
    return exit_code(outcomes)


if __name__ == "__main__":
    sys.exit(main())
