import dataclasses
import io
import re

import pytest
from rich.cells import cell_len
from rich.console import Console

from kernelregime import report
from kernelregime.report.words import short
from kernelregime.results import Advice, Diagnosis, Verdict


def shown(diagnosis: Diagnosis, width: int = 80) -> str:
    console = Console(width=width, file=io.StringIO(), force_terminal=False, color_system=None)
    console.print(report.summary(diagnosis))
    return console.file.getvalue()


REGIMES = ("kernel regime", "near kernel regime", "feature learning", "inconclusive")


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("trainable", ["trainable", "untrainable", "inconclusive"])
def test_both_axes_of_the_verdict_stand_on_one_line_of_80_columns(diagnosis, regime, trainable):
    text = shown(dataclasses.replace(diagnosis, verdict=Verdict(regime, trainable)))
    [line] = [line for line in text.splitlines() if "Verdict:" in line]
    assert f"Verdict: {regime} · " in line
    assert line.rstrip("│ ").endswith(trainable)


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_wider_than_the_terminal(diagnosis, width):
    assert max(cell_len(line) for line in shown(diagnosis, width).splitlines()) <= width


def test_every_number_stands_beside_its_error_sample_and_prediction(diagnosis):
    lines = {line.split("  ")[1].strip(): line for line in shown(diagnosis, 160).splitlines() if line.startswith("   ")}
    line = lines["Alignment with the targets before training"]
    mean, sem = diagnosis["alignment_initial"].measured.mean, diagnosis["alignment_initial"].measured.sem
    assert f"{mean:.4f} ± {sem:.4f} (5)" in line
    assert "0.305" in line
    assert "agrees" in line
    assert re.search(r"χ₁ +– +1 +–", lines["χ₁"])


def test_all_evidence_reasons_advice_and_what_is_missing_are_listed(diagnosis):
    words = " ".join(shown(diagnosis, 200).split())
    wanted = [short(item.label) for item in diagnosis.evidence] + [
        text[1:]
        for text in (*diagnosis.verdict.reasons, *(item.text for item in diagnosis.verdict.advice), *diagnosis.missing, *diagnosis.notes)
    ]
    assert [text for text in wanted if text not in words] == []


def test_what_is_already_so_stands_apart_from_what_is_to_be_done(diagnosis):
    advice = Advice("σ_w² = 2 is at the edge of chaos (2)", satisfied=True), Advice("use more seeds")
    verdict = Verdict("inconclusive", "inconclusive", (), advice)
    words = " ".join(shown(dataclasses.replace(diagnosis, verdict=verdict)).split())
    assert "What to do - Use more seeds Already so - σ_w² = 2 is at the edge of chaos (2)" in words


def test_terminal_markup_in_names_is_printed_as_it_is(diagnosis):
    config = {**diagnosis.config, "data": {"name": "[bold red]x[/] [link=http://a]"}}
    assert "[bold red]x[/] [link=http://a]" in shown(dataclasses.replace(diagnosis, config=config))


def test_a_diagnosis_without_evidence_has_a_summary(diagnosis):
    bare = Diagnosis(Verdict("inconclusive", "inconclusive"), (), {}, {}, {})
    assert "Verdict: inconclusive" in shown(bare)
