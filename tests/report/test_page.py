import dataclasses
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pytest

from kernelregime import report, results
from kernelregime._checks import InputError
from kernelregime.claims import Estimate
from kernelregime.report import page as page_module
from kernelregime.report.quantities import with_error
from kernelregime.report.words import SECTIONS
from kernelregime.results import Advice, Diagnosis, Evidence, Verdict

VOID = {"meta", "link", "img", "br", "hr", "input", "source", "base"}
LINKS = {"src", "href", "xlink:href", "srcset", "action", "data", "poster", "formaction", "background"}
HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(1)> & {{ 7 * 7 }} {% raw %} $x_"


class Reader(HTMLParser):
    """What a browser would find in a page: start tags with their attributes, and text; unbalanced tags are an error."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def read(page: str) -> Reader:
    return Reader(page)


def bare(diagnosis: Diagnosis, **changes) -> Diagnosis:
    return dataclasses.replace(diagnosis, **{"arrays": {}, **changes})


@pytest.fixture(scope="module")
def few(diagnosis: Diagnosis) -> Diagnosis:
    """The diagnosis with the arrays of two figures."""
    return bare(diagnosis, arrays={name: diagnosis.arrays[name] for name in ("heat_initial", "heat_labels", "zscores")})


def test_the_page_refers_to_nothing_outside_itself(page, read):
    links = [value for _, attributes in read.tags for name, value in attributes.items() if name in LINKS]
    assert links
    assert [link for link in links if not link.startswith(("#", "data:image/png;base64,"))] == []
    assert re.findall(r"url\((?!#)", page) == []
    assert set(re.findall(r"\w+://[^\s\"<]*", page)) == {"http://www.w3.org/2000/svg"}
    assert re.findall(r"@import|javascript:|[\"'(]//", page) == []


def test_the_page_needs_no_script(read):
    assert {tag for tag, _ in read.tags} & {"script", "iframe", "object", "embed", "link", "form"} == set()
    assert [name for _, attributes in read.tags for name in attributes if name.startswith("on")] == []


def test_ids_are_unique_and_every_reference_within_the_page_has_its_target(page, read):
    ids = [attributes["id"] for _, attributes in read.tags if "id" in attributes]
    assert len(ids) == len(set(ids)) > 10
    wanted = {value[1:] for _, attributes in read.tags for name, value in attributes.items() if name in LINKS and value.startswith("#")}
    wanted |= set(re.findall(r"url\(#([^)]+)\)", page)) | {a["aria-labelledby"] for _, a in read.tags if "aria-labelledby" in a}
    assert wanted
    assert wanted <= set(ids)


def test_every_figure_is_an_image_with_alternative_text_a_title_and_a_caption(page, read):
    drawings = [attributes for tag, attributes in read.tags if tag == "svg"]
    assert len(drawings) == 13
    assert all(drawing["role"] == "img" and len(drawing["aria-label"]) > 20 for drawing in drawings)
    figures = re.findall(r"<figure>(.*?)</figure>", page, re.DOTALL)
    assert len(figures) == len(drawings)
    assert all(re.search(r"<h3>[^<]+</h3>\s*<svg .*</svg>\s*<figcaption>[^<]{20,}</figcaption>", figure, re.DOTALL) for figure in figures)


def test_the_page_names_its_language_viewport_title_and_both_colour_schemes(page, read):
    assert ("html", {"lang": "en"}) in read.tags
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in read.tags
    assert ("meta", {"name": "color-scheme", "content": "light dark"}) in read.tags
    assert "@media (prefers-color-scheme: dark)" in page
    assert "<title>near kernel regime: Fully-connected relu network on digits</title>" in page


def test_the_verdict_comes_first_and_function_space_before_all_other_evidence(read):
    titles = ["Is it in the kernel regime?", "near kernel regime", "Can it be trained?", "Why", "What to do"]
    titles += [section.title for section in SECTIONS] + ["What is missing", "How this was computed", "Thresholds of the verdict"]
    body = read.words[read.words.index(titles[0]) :]
    places = [body.index(title) for title in titles]
    assert places == sorted(places)
    assert SECTIONS[0].group == "function space"


def test_what_agreement_means_is_said_before_the_first_table(read):
    assert read.words.index("What to do") < read.words.index("within three standard errors (sem)") < read.words.index(SECTIONS[0].title)


def test_what_is_already_so_stands_apart_from_what_is_to_be_done(diagnosis):
    advice = (
        Advice("width for a linearization error of 0.1: about 99 (this network has 8)"),
        Advice("σ_w² = 2 is at the edge of chaos (2)", satisfied=True),
    )
    verdict = Verdict("inconclusive", "inconclusive", (), advice)
    words = Reader(report.html(bare(diagnosis, verdict=verdict))).words
    assert "What to do Width for a linearization error" in words
    assert "Already so σ_w² = 2 is at the edge of chaos (2)" in words


def test_what_was_decided_about_the_data_is_said(diagnosis, read):
    assert f"How the data were read T{diagnosis.notes[0][1:]}" in read.words
    assert "How the data were read" not in Reader(report.html(bare(diagnosis, notes=()))).words


def test_every_number_has_its_error_sample_prediction_and_agreement(diagnosis, page):
    rows = re.findall(r"<tr role=\"row\".*?</tr>", page, re.DOTALL)
    for item in diagnosis.evidence:
        [row] = [
            row for row in rows if f">{item.label}<" in Reader(f"<table>{row}</table>").words.join("><") or item.label in Reader(row).words
        ]
        words = Reader(row).words
        cells = dict(re.findall(r'data-name="([^"]*)"[^>]*>(.*?)</td>', row, re.DOTALL))
        theory = item.measured.n == 0
        assert with_error(item.measured) in cells["theory predicts" if theory else "measured ± sem"]
        assert ("n\u00a0=\u00a0" in cells["measured ± sem"]) == (not theory)
        assert ("–" in cells["measured ± sem"]) == theory
        assert ("no prediction" in words) == (item.predicted is None and not theory)
        assert ("theory alone" in words) == theory
        assert item.source in words


def test_an_axis_of_the_verdict_is_told_in_words_and_by_a_mark(diagnosis, monkeypatch):
    monkeypatch.setattr(page_module, "plates", lambda diagnosis: {})
    for regime in ("kernel regime", "near kernel regime", "feature learning", "inconclusive"):
        for trainable in ("trainable", "untrainable", "inconclusive"):
            page = report.html(bare(diagnosis, verdict=Verdict(regime, trainable)))
            badges = re.findall(r"<p class=\"word\"><span class=\"mark\" aria-hidden=\"true\">(.)</span>([^<]*)</p>", page)
            assert [word for _, word in badges] == [regime, trainable]
            assert len({mark for mark, _ in badges}) == (1 if regime == trainable == "inconclusive" else 2)


def test_hostile_names_change_no_tag_of_the_page(diagnosis):
    def page(word: str) -> str:
        item = Evidence("k", "drift", word, Estimate(1.0, 0.1, 5), 1.0, word, "", word)
        return report.html(
            Diagnosis(
                verdict=Verdict("inconclusive", "inconclusive", (word,), (Advice(word), Advice(word, satisfied=True))),
                evidence=(item, dataclasses.replace(item, group=word)),
                config={
                    "network": {"kind": word, "activation": word, "width": word, "depth": 2},
                    "data": {"name": word},
                    word: word,
                    "command": word,
                },
                thresholds={word: 1.0},
                arrays={word: np.array([np.nan])},
                missing=(word,),
                notes=(word,),
                environment={word: {word: word}},
                seconds={word: 1.0},
            )
        )

    hostile, harmless = Reader(page(HOSTILE)), Reader(page("harmless"))
    assert [(tag, sorted(attributes)) for tag, attributes in hostile.tags] == [
        (tag, sorted(attributes)) for tag, attributes in harmless.tags
    ]
    assert hostile.words.count(" ".join(HOSTILE.split())) >= 15


def test_the_same_diagnosis_gives_the_same_page_under_any_settings_of_the_user(few):
    page = report.html(few)
    with matplotlib.rc_context({"font.size": 30, "figure.facecolor": "red", "axes.grid": False, "lines.linewidth": 9}):
        assert report.html(few) == page


def test_a_page_without_arrays_shows_all_numbers_and_only_the_figures_made_of_numbers(diagnosis):
    read = Reader(report.html(bare(diagnosis)))
    assert all(item.label in read.words for item in diagnosis.evidence)
    assert [attributes["aria-label"].split(":")[0] for tag, attributes in read.tags if tag == "svg"] == [
        "Measured numbers on the scale of the verdict. function",
        "Bar chart. Test error",
    ]


def test_a_diagnosis_with_nothing_in_it_is_a_page():
    read = Reader(report.html(Diagnosis(Verdict("inconclusive", "inconclusive"), (), {}, {}, {})))
    assert "inconclusive" in read.words
    assert "Nothing: all evidence" in read.words


def test_arrays_without_a_finite_number_are_named_and_not_drawn(diagnosis):
    arrays = {name: np.full(value.shape, np.nan) for name, value in diagnosis.arrays.items()}
    read = Reader(report.html(dataclasses.replace(diagnosis, arrays=arrays)))
    assert sum(tag == "svg" for tag, _ in read.tags) == 2
    assert [name for name in arrays if f"The stored array {name!r} holds no finite number" not in read.words] == []


def test_evidence_that_is_not_known_here_is_shown_like_any_other(diagnosis):
    unknown = Evidence("brand_new", "spectral gap", "A new number", Estimate(3.25, 0.5, 7), 3.0, "someone 2030")
    words = Reader(report.html(bare(diagnosis, evidence=(*diagnosis.evidence, unknown)))).words
    assert words.index("Conditioning") < words.index("Spectral gap") < words.index("A new number") < words.index("What is missing")
    assert "3.25 ± 0.50" in words


def test_numbers_that_are_not_finite_are_words(diagnosis):
    items = tuple(
        Evidence(str(value), "drift", f"number {value}", Estimate(value, float("nan"), 5), 1.0) for value in (float("nan"), float("inf"))
    )
    words = Reader(report.html(bare(diagnosis, evidence=items))).words
    assert "not known" in words
    assert "∞" in words
    assert "cannot tell" in words


def test_the_page_of_a_result_read_back_is_the_page_written(few, tmp_path):
    path = report.write(few, tmp_path / "run")
    assert path == tmp_path / "run" / "report.html"
    stored = results.read(path.parent)
    assert stored.to_json() == few.to_json() == json.loads((path.parent / "result.json").read_text(encoding="utf-8"))
    assert report.html(stored) == path.read_text(encoding="utf-8")
    assert {item.name for item in path.parent.iterdir()} == {"result.json", "arrays.npz", "report.html"}


def test_a_finished_result_is_replaced_only_when_asked(diagnosis, tmp_path):
    report.write(bare(diagnosis), tmp_path)
    before = {item.name: item.read_bytes() for item in tmp_path.iterdir()}
    other = bare(diagnosis, verdict=Verdict("feature learning", "trainable"))
    with pytest.raises(InputError, match="of a finished result"):
        report.write(other, tmp_path)
    assert {item.name: item.read_bytes() for item in tmp_path.iterdir()} == before
    assert "feature learning" in report.write(other, tmp_path, overwrite=True).read_text(encoding="utf-8")


def test_a_folder_with_other_files_is_left_alone(diagnosis, tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match=r"thesis\.tex"):
        report.write(bare(diagnosis), tmp_path, overwrite=True)
    assert [item.name for item in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_users_own_page_is_left_alone(diagnosis, tmp_path):
    (tmp_path / "report.html").write_text("<title>my page</title>")
    with pytest.raises(InputError, match=r"report\.html"):
        report.write(bare(diagnosis), tmp_path, overwrite=True)
    assert (tmp_path / "report.html").read_text() == "<title>my page</title>"


def test_a_page_that_cannot_be_made_leaves_the_numbers_and_no_half_page(diagnosis, tmp_path, monkeypatch):
    monkeypatch.setattr(page_module, "html", lambda diagnosis: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        report.write(bare(diagnosis), tmp_path)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["arrays.npz", "result.json"]


def test_importing_the_report_loads_no_drawing_library_and_drawing_never_loads_pyplot_or_jax():
    code = (
        "import sys; from kernelregime import report\n"
        "early = {'matplotlib', 'jinja2', 'rich', 'jax'} & set(sys.modules)\n"
        "report.svg(report.spectrum_figure({'ntk': [2.0, 1.0]}), label='x')\n"
        "print(sorted(early), sorted({'matplotlib.pyplot', 'jax'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] []"
