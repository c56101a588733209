"""The report as one HTML file that needs nothing else: no network, no script, no other file."""

import importlib.resources
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kernelregime.report.palette import DARK, LIGHT, variables
from kernelregime.report.plates import has_finite, plates
from kernelregime.report.quantities import number
from kernelregime.report.words import (
    AGREEMENT,
    GLOSSARY,
    REGIMES,
    SECTIONS,
    TRAINABLE,
    Section,
    agreement,
    beside,
    details,
    distance,
    headline,
    readings,
    sentence,
)
from kernelregime.results import REPORT, Diagnosis, Evidence, staged
from kernelregime.results import write as store


def html(diagnosis: Diagnosis) -> str:
    """The report of a diagnosis: one self-contained HTML page.

    It holds the verdict with its reasons, advice and, for each group of evidence, what was measured ± sem (sample size) beside the
    theory's prediction, and the figures that `diagnosis.arrays` allow; evidence of an unknown group comes last. The same diagnosis
    always gives the same page, and so does the diagnosis read back from its files.
    """
    import jinja2

    def plain(value: Any) -> str:
        return "none" if value is None else ", ".join(plain(v) for v in value) if isinstance(value, list) else _plain(value)

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"plain": plain, "sentence": sentence}
    stored = diagnosis.to_json()
    todo, already = ([item.text for item in diagnosis.verdict.advice if item.satisfied is so] for so in (False, True))
    return environment.from_string(resource("page.html.jinja")).render(
        {key: stored[key] for key in ("verdict", "config", "thresholds", "environment", "seconds", "schema")},
        css=resource("page.css"),
        light=variables(LIGHT),
        dark=variables(DARK),
        headline=headline(stored["config"]),
        details=details(stored["config"]),
        regime=REGIMES[diagnosis.verdict.regime],
        trainable=TRAINABLE[diagnosis.verdict.trainable],
        command=stored["config"].get("command", ""),
        todo=todo,
        already=already,
        agreement=AGREEMENT,
        glossary=GLOSSARY,
        notes=diagnosis.notes,
        missing=[*diagnosis.missing, *_without_numbers(diagnosis)],
        **_evidence(diagnosis),
    )


def write(diagnosis: Diagnosis, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write `result.json`, `arrays.npz` and `report.html` into `folder`, each whole or not at all; returns the path of the report.

    Raises: `InputError` for a folder that holds other files, or a finished result without `overwrite`; nothing is written then.
    """
    path = store(diagnosis, folder, overwrite=overwrite) / REPORT
    with staged(path) as part:
        part.write_text(html(diagnosis), encoding="utf-8")
    return path


def resource(name: str) -> str:
    """The text of a file beside this module."""
    return importlib.resources.files("kernelregime.report").joinpath(name).read_text(encoding="utf-8")


def _evidence(diagnosis: Diagnosis) -> dict[str, Any]:
    """The sections with their rows and figures, in reading order, and the figures by group."""
    figures = plates(diagnosis)
    known = {section.group for section in SECTIONS}
    others = dict.fromkeys(item.group for item in diagnosis.evidence if item.group not in known)
    sections = []
    for section in (*SECTIONS, *(Section(group, group.capitalize(), "") for group in others)):
        rows = [_row(item, diagnosis.thresholds) for item in diagnosis.evidence if item.group == section.group]
        drawn = figures.get(section.group, [])
        if rows or drawn:
            told = readings(diagnosis, section.group)
            sections.append({"section": section, "readings": told, "rows": rows, "plates": drawn})
    return {"sections": sections, "plates": figures}


def _row(item: Evidence, thresholds: Mapping[str, float]) -> dict[str, str]:
    kind, word = agreement(item, thresholds)
    measured, size, predicted = beside(item)
    return {
        "label": item.label,
        "note": item.comment,
        "measured": measured,
        "sample": size,
        "predicted": predicted,
        "source": item.source,
        "kind": kind,
        "agreement": word,
        "distance": distance(item),
    }


def _without_numbers(diagnosis: Diagnosis) -> list[str]:
    names = [name for name, value in diagnosis.arrays.items() if not has_finite(value)]
    return [f"The stored array {name!r} holds no finite number, so its figure is left out." for name in sorted(names)]


def _plain(value: Any) -> str:
    return number(value, 6) if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)
