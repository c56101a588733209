import json
import re
from dataclasses import replace

import pytest

from kernelregime import experiments


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One claim at smoke scale."""
    folder = tmp_path_factory.mktemp("claims")
    experiments.reproduce(experiments.find("B1")[0], "smoke", folder=folder)
    return folder


def test_the_cost_comes_first_then_progress_and_verdicts(answer, tmp_path):
    code, out, errors = answer("reproduce", "B1", "--scale", "smoke", "--out", str(tmp_path))
    assert code == 0, errors
    assert re.match(r"1 claim, 3 cells to run, about .* on one core besides compilation; results go to .*smoke", errors)
    assert "3/3" in errors
    assert "B1" in out
    assert re.search(r"holds|fails", out)
    assert (tmp_path / "smoke" / "B1" / "result.json").is_file()
    for option, cells in (("--resume", "0 cells"), ("--overwrite", "3 cells")):  # what is kept is not counted
        code, _, errors = answer("reproduce", "B1", "--scale", "smoke", "--out", str(tmp_path), option)
        assert code == 0, errors
        assert f"{cells} to run" in errors


def test_finished_claims_are_kept_by_resume_and_refused_without(folder, answer, refused):
    again = ("reproduce", "b1", "--scale", "smoke", "--out", str(folder))
    assert "--resume" in refused(*again)
    code, out, errors = answer(*again, "--resume", "--json", "--quiet")
    assert (code, errors) == (0, "")
    (told,) = json.loads(out)
    assert told["claim"] == "B1"
    assert {claim["verdict"] for claim in told["claims"]} <= {"holds", "fails", "inconclusive"}


def test_all_claims_are_listed_with_their_cost(answer):
    code, out, errors = answer("reproduce", "--list")
    assert code == 0, errors
    assert re.search(r"B1 +beyond_infinite_width +Dispersion of the NTK", out)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "expected a claim or a paper; got none"),
        (("B99",), "'B99'"),
        (("B1", "--scale", "huge"), "--scale"),
        (("B1", "--engine", "gpu"), "--engine"),
    ],
)
def test_what_cannot_be_run_is_refused_in_one_line(refused, tmp_path, arguments, words):
    assert words in refused("reproduce", *arguments, "--out", str(tmp_path))


def test_the_gallery_shows_what_was_run(folder, answer, refused, tmp_path):
    code, out, errors = answer("gallery", "--results", str(folder), "--out", str(tmp_path / "pages"))
    assert code == 0, errors
    assert out.strip() == f"open {tmp_path / 'pages' / 'index.html'}"
    assert "B1" in (tmp_path / "pages" / "index.html").read_text()
    assert "--overwrite" in refused("gallery", "--results", str(folder), "--out", str(tmp_path / "pages"))
    assert "reproduce" in refused("gallery", "--results", str(tmp_path / "none"), "--out", str(tmp_path / "new"))


def broken(**_):
    raise ValueError("no luck")


def test_a_claim_that_fails_to_run_stops_no_other(answer, monkeypatch, tmp_path):
    rows = [replace(experiments.find("B1")[0], key="X1", run=broken), experiments.find("B1")[0]]
    monkeypatch.setattr("kernelregime.experiments.find", lambda name: tuple(row for row in rows if row.key == name))
    code, out, errors = answer("reproduce", "X1", "B1", "--scale", "smoke", "--out", str(tmp_path), "--json", "--quiet")
    assert code == 2
    assert [told["claim"] for told in json.loads(out)] == ["B1"]
    assert "expected every cell of X1 to run; got 3 that failed 2 times" in errors
