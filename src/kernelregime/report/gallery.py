"""The gallery: all claims of the papers with their verdicts and figures, as pages without references to anything outside them."""

import os
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from kernelregime._checks import fail
from kernelregime.claims import Claim
from kernelregime.report.canvas import svg
from kernelregime.report.page import resource
from kernelregime.report.palette import DARK, LIGHT, variables
from kernelregime.report.papers import drawings
from kernelregime.report.quantities import duration, number, percent
from kernelregime.report.words import claimed
from kernelregime.results import RESULT, Paper, Reproduction, created, load_reproduction, ours, staged

INDEX = "index.html"
SCALES = ("smoke", "laptop", "paper")
COARSE = 0.1  # of the predicted number: what chance allows beyond is told beside the verdict
ORIGINS = {"printed": "as printed", "corrected": "corrected", "ours": "ours"}
TONES = {"holds": "holds", "fails": "fails", "inconclusive": "unknown"}
MEANING = {
    "holds": "the measured number agrees with the claim",
    "fails": "it contradicts the claim, beyond chance and what the claim leaves open",
    "inconclusive": "its standard error is too large to decide",
}


def found_in(folder: str | os.PathLike[str]) -> list[Reproduction]:
    """The results of `kernelregime reproduce` below a folder, in the order of their keys; of each claim that at the largest scale.

    Raises: `InputError` if there are none, or several of a claim at one scale.
    """
    root = Path(folder)
    if not root.is_dir():
        raise fail("a folder of results", str(root), "run kernelregime reproduce first, or name another folder")
    found = [load_reproduction(path.parent) for path in sorted(root.rglob(RESULT)) if _of_claims(path)]
    if not found:
        raise fail("results of kernelregime reproduce", f"none below {root}", "run it first, or name another folder")
    for key, several in Counter((result.key, result.scale) for result in found).items():
        if several > 1:
            raise fail("one result for each claim and scale", f"several of {key[0]} at {key[1]} below {root}", "name one folder")
    largest = {result.key: result for result in sorted(found, key=lambda result: SCALES.index(result.scale))}
    return sorted(largest.values(), key=lambda result: (result.key[0], int(result.key[1:]) if result.key[1:].isdigit() else 0))


def html(results: Sequence[Reproduction]) -> dict[str, str]:
    """Pages by file name: `index.html` with all claims, and one for each paper.

    The same results always give the same pages. Raises: `InputError` for no results.
    """
    if not results:
        raise fail("results of some claims", "none", "run kernelregime reproduce first")
    papers = {result.paper.name: result.paper for result in results}
    cards = [_card(result) for result in results]
    pages = {INDEX: _page("Claims of the papers, each with a verdict", None, papers, cards)}
    for name, paper in papers.items():
        pages[f"{name}.html"] = _page(paper.title, paper, papers, [card for card in cards if card["paper"].name == name])
    return pages


def write(results: Sequence[Reproduction], folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write the pages into `folder`, each whole or not at all; returns the path of the index.

    Raises: `InputError` for a folder that holds other files, or earlier pages without `overwrite`; nothing is written then.
    """
    pages, path = html(results), Path(folder)
    held = sorted(item.name for item in path.iterdir()) if path.is_dir() else []
    strange = [name for name in held if not (name.endswith(".html") and ours(path / name))]
    if strange or (held and not overwrite):
        do = "name another folder" if strange else "name another folder or give overwrite=True"
        raise fail("a folder that is new or empty", f"{path} with {(strange or held)[0]!r}", f"{do}; nothing was written")
    with created(path):
        for name in held:
            if name not in pages:
                (path / name).unlink()
        for name, text in pages.items():
            with staged(path / name) as part:
                part.write_text(text, encoding="utf-8")
    return path / INDEX


def _of_claims(path: Path) -> bool:
    return ours(path) and (path.parent / "arrays.npz").is_file() and '"kernelregime.reproduction/' in path.read_text(encoding="utf-8")


def _page(title: str, paper: Paper | None, papers: dict[str, Paper], cards: Sequence[dict[str, Any]]) -> str:
    return _template().render(
        title=title,
        paper=paper,
        papers=papers,
        cards=cards,
        counts=[(verdict, sum(card["verdict"] == verdict for card in cards)) for verdict in TONES],
        meaning=MEANING,
        tones=TONES,
        css=resource("page.css") + resource("gallery.css"),
        script=resource("gallery.js"),
        light=variables(LIGHT),
        dark=variables(DARK),
    )


@lru_cache
def _template() -> Any:
    import jinja2

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(resource("gallery.html.jinja"))


def _card(result: Reproduction) -> dict[str, Any]:
    drawn = _drawn(result)
    printed, mended = ([claim for claim in result.claims if (claim.origin == "printed") is so] for so in (True, False))
    return {
        "key": result.key,
        "paper": result.paper,
        "title": result.title,
        "statement": result.statement,
        "source": result.source,
        "figures": ", ".join(result.figures),
        "choices": result.choices,
        "scale": result.scale,
        "verdict": result.verdict,
        "printed": _counted(printed),
        "mended": _counted(mended),
        "seconds": duration(sum(cell.seconds for cell in result.cells)),
        "cells": len(result.cells),
        "digest": result.digest,
        "version": result.version,
        "computed": result.environment.get("time", ""),
        "rows": [_row(claim) for claim in result.claims],
        "drawings": drawn or [],
        "stale": drawn is None,
    }


def _drawn(result: Reproduction) -> list[dict[str, str]] | None:
    """The figures; None of a result that another version of the experiment computed, where they can no longer be drawn."""
    try:
        made = drawings(result)
    except (LookupError, ValueError):
        return None
    found = []
    for at, item in enumerate(made):
        shown = svg(item.figure, label=f"{item.name}. {item.caption}", prefix=f"{result.key}-{result.scale}-{at}-")
        found.append({"name": item.name, "caption": item.caption, "svg": shown})
    return found


def _counted(claims: Sequence[Claim]) -> str:
    """How many of some claims hold, and how many are inconclusive."""
    held, open_ = (sum(claim.verdict == verdict for claim in claims) for verdict in ("holds", "inconclusive"))
    return (f"{held} of {len(claims)} hold" + (f", {open_} inconclusive" if open_ else "")) if claims else "–"


def _row(claim: Claim) -> dict[str, str]:
    predicted, measured = claimed(claim)
    more, allowed = "", claim.measured.allowance
    if claim.verdict == "inconclusive" and claim.more > 1:
        more = f"decided by {number(claim.more, 2)} times the sample"
    elif claim.verdict == "holds" and claim.relation == "equal" and allowed > COARSE * abs(claim.predicted):
        more = f"to {percent(allowed / abs(claim.predicted))} by chance"
    return {
        "statement": claim.statement,
        "source": claim.source,
        "origin": ORIGINS[claim.origin],
        "predicted": predicted,
        "measured": measured,
        "verdict": claim.verdict,
        "more": more,
    }
