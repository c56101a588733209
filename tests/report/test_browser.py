"""The page as a browser lays it out, on a phone and on a desk, in light and in dark."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from kernelregime.report.palette import DARK, LIGHT

CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on PATH to lay the page out")
FRAMES = {
    "phone": (390, "light"),
    "phone, dark": (390, "dark"),
    "tablet": (780, "light"),  # where two columns begin
    "laptop": (1160, "light"),  # where three columns begin
    "desk": (1600, "light"),
    "small phone": (320, "light"),
}

MEASURE = """
function overlap(a, b) {
  return Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1.5 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 2.5;
}
function measure(frame) {
  const page = frame.contentDocument, view = frame.contentWindow, root = page.documentElement;
  const out = {sizes: [], clipped: [], overlaps: [], fills: []};
  page.querySelectorAll('details').forEach(item => { item.open = true; });
  out.scroll = root.scrollWidth - root.clientWidth;
  out.width = view.innerWidth;
  out.ground = view.getComputedStyle(page.body).backgroundColor;
  out.figures = page.querySelectorAll('figure').length;
  const outside = e => e.getBoundingClientRect().right > view.innerWidth + 0.5 && !e.closest('svg');
  const wide = [...page.body.querySelectorAll('*')].filter(outside);
  out.wide = wide.map(e => e.tagName + ' ' + e.textContent.slice(0, 40));
  for (const svg of page.querySelectorAll('svg')) {
    const box = svg.getBoundingClientRect(), scale = box.width / svg.viewBox.baseVal.width;
    const texts = [...svg.querySelectorAll('text')].map(e => [e.textContent, e.getBoundingClientRect(), view.getComputedStyle(e)]);
    texts.forEach(([text, r, css], i) => {
      out.sizes.push(parseFloat(css.fontSize) * scale);
      out.fills.push(css.fill);
      if (r.left < box.left - 1 || r.right > box.right + 1 || r.top < box.top - 1 || r.bottom > box.bottom + 1) out.clipped.push(text);
      texts.slice(i + 1).forEach(([other, s]) => { if (overlap(r, s)) out.overlaps.push(text + ' | ' + other); });
    });
  }
  return out;
}
addEventListener('load', () => {
  const found = {};
  for (const frame of document.querySelectorAll('iframe')) found[frame.title] = measure(frame);
  const result = document.createElement('pre');
  result.id = 'found';
  result.textContent = JSON.stringify(found);
  document.body.replaceChildren(result);
});
"""


@pytest.fixture(scope="module")
def seen(page: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a browser measures in the page at each width."""
    folder = tmp_path_factory.mktemp("browser")
    form = '<iframe title="{}" style="width: {}px; height: 900px; border: 0; color-scheme: {}" srcdoc="{}"></iframe>'
    frames = "".join(form.format(name, width, scheme, html.escape(page)) for name, (width, scheme) in FRAMES.items())
    Path(folder / "frames.html").write_text(
        f"<!DOCTYPE html><meta charset=utf-8><script>{MEASURE}</script><body>{frames}", encoding="utf-8"
    )
    quiet = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic", "--no-first-run")
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", *quiet, f"--user-data-dir={folder / 'profile'}", "--dump-dom"]
    done = subprocess.run([*command, (folder / "frames.html").as_uri()], capture_output=True, text=True, timeout=120, check=True)
    [found] = re.findall(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    return json.loads(html.unescape(found))


@pytest.fixture(params=FRAMES)
def frame(request: pytest.FixtureRequest, seen: dict[str, Any]) -> dict[str, Any]:
    assert seen[request.param]["width"] == FRAMES[request.param][0]
    assert seen[request.param]["figures"] == 13
    return seen[request.param]


def test_nothing_is_scrolled_sideways(frame):
    assert frame["scroll"] <= 0
    assert frame["wide"] == []


def test_no_label_of_a_figure_is_clipped(frame):
    assert frame["clipped"] == []


def test_no_two_labels_of_a_figure_overlap(frame):
    assert frame["overlaps"] == []


@pytest.mark.parametrize("name", ["phone", "phone, dark", "tablet", "laptop", "desk"])
def test_labels_of_figures_are_at_least_11_pixels(seen, name):
    assert min(seen[name]["sizes"]) >= 11


@pytest.mark.parametrize(("name", "colours", "other"), [("phone", LIGHT, DARK), ("phone, dark", DARK, LIGHT)])
def test_page_and_figures_follow_the_colour_scheme(seen, name, colours, other):
    def rgb(colour: str) -> str:
        return f"rgb({', '.join(str(int(colour[i : i + 2], 16)) for i in (1, 3, 5))})"

    assert seen[name]["ground"] == rgb(colours["paper"])
    assert rgb(colours["ink"]) in seen[name]["fills"]
    assert set(seen[name]["fills"]) & {rgb(value) for value in other.values()} == set()
