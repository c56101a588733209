"""The gallery: what stands on its pages, and how a browser lays them out."""

import html
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kernelregime._checks import InputError
from kernelregime.claims import Claim, Estimate
from kernelregime.report import gallery
from kernelregime.results import Cell, Paper, Reproduction, store_reproduction

CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic", "--no-first-run")
PAPERS = {
    "beyond_infinite_width": Paper("beyond_infinite_width", "Beyond the limit <of width>", "A and B 2022"),
    "background": Paper("background", "What was known", "C 2020"),
}
CLAIMS = {
    "fails": Claim("eq. 8", "as it stands", 2.0, Estimate(1.0, 0.1, 100)),
    "holds": Claim("eq. 9", "a bound", 2.0, Estimate(1.0, 0.1, 100), relation="at most"),
    "inconclusive": Claim("eq. 10", "too noisy", 1.0, Estimate(1.1, 0.6, 100)),
}


def result(key, paper, *verdicts, mended=()):
    claims = [CLAIMS[verdict] for verdict in verdicts]
    claims += [Claim("eq. 8", "put right", 1.0, Estimate(1.0, 0.1, 100), origin="corrected") for _ in mended]
    return Reproduction(
        key=key,
        paper=PAPERS[paper],
        title=f"Title of {key}",
        statement="What is said & meant",
        source="section 1",
        figures=("Figure 7",),
        choices=("the grid",),
        version=3,
        scale="laptop",
        digest="0123456789abcdef",
        cells=(Cell("one", {"a": 1}, 7, 2.0), Cell("two", {"a": 2}, 8, 3.0)),
        claims=tuple(claims),
        arrays={"one": {"x": np.arange(3.0)}, "two": {"x": np.ones(2)}},
        environment={"time": "2026-01-01T00:00:00+00:00"},
        seconds=5.0,
    )


RESULTS = [
    result("B12", "beyond_infinite_width", "fails", "holds", mended=("yes",)),
    result("G9", "background", "holds"),
    result("G8", "background", "holds", "inconclusive"),
]


@pytest.fixture(scope="module")
def pages():
    return gallery.html(RESULTS)


def test_there_is_a_page_of_all_claims_and_one_for_each_paper(pages):
    assert sorted(pages) == ["background.html", "beyond_infinite_width.html", "index.html"]
    assert re.findall(r'<section class="claim" id="(\w+)-laptop"', pages["index.html"]) == ["B12", "G9", "G8"]
    assert re.findall(r'<section class="claim" id="(\w+)-laptop"', pages["background.html"]) == ["G9", "G8"]


def test_a_claim_shows_statement_numbers_verdicts_time_and_how_to_run_it(pages):
    text = re.sub(r"<[^>]+>", " ", re.search(r'<section class="claim" id="B12.*?</section>', pages["index.html"], re.DOTALL)[0])
    text = " ".join(text.split())
    for part in (
        "B12 Title of B12 fails",
        "What is said &amp; meant",
        "Beyond the limit &lt;of width&gt;: section 1; Figure 7. 2 runs at laptop scale in 5 s.",
        "as it stands eq. 8 1.00 ± 0.10 (n = 100) 2 as printed fails".replace("n = 100", "n\u00a0=\u00a0100").replace("\u00a0", " "),
        "≤ 2 as printed holds",
        "1 corrected holds",
        "the grid",
        "kernelregime reproduce B12 --scale laptop",
    ):
        assert part in text.replace("\u00a0", " ")


def test_the_verdict_of_a_row_is_that_of_the_printed_claims(pages):
    found = re.findall(r'<tr role="row" data-verdict="(\w+)" data-key="(\w+)"', pages["index.html"])
    assert found == [("fails", "B12"), ("holds", "G9"), ("inconclusive", "G8")]
    for told in ("1 of 2 hold<", "1 of 1 hold<", "1 of 2 hold, 1 inconclusive<"):
        assert told in pages["index.html"]
    assert "decided by" in pages["index.html"]


def test_pages_need_nothing_from_elsewhere(pages):
    for page in pages.values():
        assert not re.search(r'(?:src|href)="(?:https?:)?//', page)
        assert set(re.findall(r'href="([^"#]+)', page)) <= {*pages, "data:,"}


def test_the_same_results_give_the_same_pages_also_read_back(pages, tmp_path):
    for item in RESULTS:
        store_reproduction(item, tmp_path / "laptop" / item.key)
    back = gallery.found_in(tmp_path)
    assert [item.key for item in back] == ["B12", "G8", "G9"]
    assert gallery.html(sorted(back, key=lambda item: [r.key for r in RESULTS].index(item.key))) == pages


def test_a_folder_without_results_or_with_two_of_one_claim_is_refused(tmp_path):
    with pytest.raises(InputError, match="kernelregime reproduce first"):
        gallery.found_in(tmp_path / "none")
    with pytest.raises(InputError, match="none below"):
        gallery.found_in(tmp_path)
    for folder in ("a", "b"):
        store_reproduction(RESULTS[0], tmp_path / folder)
    with pytest.raises(InputError, match="several of B12"):
        gallery.found_in(tmp_path)


def test_only_pages_of_an_earlier_gallery_are_written_over(tmp_path):
    index = gallery.write(RESULTS, tmp_path / "pages")
    assert index.name == "index.html"
    with pytest.raises(InputError, match="nothing was written"):
        gallery.write(RESULTS, tmp_path / "pages")
    gallery.write(RESULTS[1:], tmp_path / "pages", overwrite=True)
    (tmp_path / "pages" / "mine.html").write_text("mine")
    with pytest.raises(InputError, match=r"mine\.html"):
        gallery.write(RESULTS, tmp_path / "pages", overwrite=True)


def test_pages_of_papers_that_are_gone_go_too(tmp_path):
    gallery.write(RESULTS, tmp_path)
    gallery.write(RESULTS[1:], tmp_path, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["background.html", "index.html"]


def test_of_several_scales_the_largest_is_shown(tmp_path):
    for scale in ("paper", "smoke", "laptop"):
        store_reproduction(replace(RESULTS[0], scale=scale), tmp_path / scale / "B12")
    assert [item.scale for item in gallery.found_in(tmp_path)] == ["paper"]


def test_a_result_that_can_no_longer_be_drawn_is_shown_without_its_figure(pages):
    page = gallery.html([replace(RESULTS[0], key="B1")])["index.html"]
    assert "No figure: this result is of version 3 of the experiment; run it again." in page
    assert "No figure" not in pages["index.html"]


def test_what_holds_only_roughly_says_so():
    rough = replace(RESULTS[1], claims=(Claim("eq. 1", "a number", 1.0, Estimate(1.1, 0.2, 10**6)),))
    assert "to 60 % by chance" in gallery.html([rough])["index.html"]


PROBE = """
<script>
const errors = [];
addEventListener('error', event => errors.push(event.message));
addEventListener('load', () => {
  const root = document.documentElement, claims = [...document.querySelectorAll('section.claim')];
  const shown = () => claims.filter(e => !e.hidden).map(e => e.dataset.key);
  const outside = e => e.getBoundingClientRect().right > innerWidth + 0.5 && !e.closest('svg');
  const wide = [...document.body.querySelectorAll('*')].filter(outside);
  const found = {scroll: root.scrollWidth - root.clientWidth, wide: wide.map(e => e.tagName), all: shown()};
  document.querySelector('.filters button[value="holds"]').click();
  found.holds = shown();
  const field = document.querySelector('.filters input');
  document.querySelector('.filters button[value=""]').click();
  field.value = 'g8';
  field.dispatchEvent(new Event('input'));
  found.search = shown();
  field.value = 'nothing like this';
  field.dispatchEvent(new Event('input'));
  found.none = !document.querySelector('.none').hidden;
  found.errors = errors;
  parent.postMessage(JSON.stringify(found), '*');
});
</script>
"""
FRAME = """<!DOCTYPE html><meta charset=utf-8><body><script>
addEventListener('message', event => {{
  const result = document.createElement('pre');
  result.id = 'found';
  result.textContent = event.data;
  document.body.append(result);
}});
</script><iframe style="width: {width}px; height: 900px; border: 0" src="{page}"></iframe>"""


KEPT = Path(__file__).parents[2] / "reproduced"
LAYOUT = """
<script>
const errors = [];
addEventListener('error', event => errors.push(event.message));
addEventListener('load', () => {
  const root = document.documentElement, clipped = [], small = [];
  const outside = e => e.getBoundingClientRect().right > innerWidth + 0.5 && !e.closest('svg');
  const wide = [...document.body.querySelectorAll('*')].filter(outside);
  for (const svg of document.querySelectorAll('svg')) {
    const box = svg.getBoundingClientRect(), scale = box.width / svg.viewBox.baseVal.width;
    for (const text of svg.querySelectorAll('text')) {
      const r = text.getBoundingClientRect();
      const name = svg.closest('section').dataset.key + ' ' + text.textContent;
      if (r.left < box.left - 1 || r.right > box.right + 1 || r.top < box.top - 1 || r.bottom > box.bottom + 1) clipped.push(name);
      if (parseFloat(getComputedStyle(text).fontSize) * scale < 9) small.push(name);
    }
  }
  const found = {scroll: root.scrollWidth - root.clientWidth, wide: wide.map(e => e.tagName), clipped, small, errors};
  parent.postMessage(JSON.stringify(found), '*');
});
</script>
"""


def seen(page, probe, width, folder):
    """What a probe tells of a page in a browser at a width in CSS pixels, and what the browser's console says."""
    (folder / "page.html").write_text(page.replace("<head>", "<head>" + probe), encoding="utf-8")
    (folder / "frame.html").write_text(FRAME.format(width=width, page="page.html"), encoding="utf-8")
    options = ("--headless", "--no-sandbox", "--disable-gpu", *QUIET, f"--user-data-dir={folder / 'profile'}", "--enable-logging=stderr")
    command = [str(CHROMIUM), *options, "--virtual-time-budget=20000", "--dump-dom", (folder / "frame.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    told = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)[1]
    return json.loads(html.unescape(told)), done.stderr


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on PATH to lay the page out")
@pytest.mark.parametrize("width", [390, 1160])
def test_in_a_browser_pages_fit_filter_and_raise_no_errors(pages, width, tmp_path):
    found, console = seen(pages["index.html"], PROBE, width, tmp_path)
    assert found["scroll"] <= 0
    assert found["wide"] == []
    assert found["errors"] == []
    assert "CONSOLE" not in console
    assert found["all"] == ["B12", "G9", "G8"]
    assert found["holds"] == ["G9"]
    assert found["search"] == ["G8"]
    assert found["none"]


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on PATH to lay the page out")
def test_in_a_browser_the_kept_results_fit_a_phone_with_no_word_cut_off(tmp_path):
    found, console = seen(gallery.html(gallery.found_in(KEPT))["index.html"], LAYOUT, 390, tmp_path)
    assert found == {"scroll": found["scroll"], "wide": [], "clipped": [], "small": [], "errors": []}
    assert found["scroll"] <= 0
    assert "CONSOLE" not in console
