import io
import xml.etree.ElementTree as ET

import matplotlib
import numpy as np
import pytest

from kernelregime import report
from kernelregime._checks import InputError
from kernelregime.report import canvas
from kernelregime.results import ours

SVG = "{http://www.w3.org/2000/svg}"


def drawn(title: str = "a title") -> object:
    return report.heat_map(np.arange(9.0).reshape(3, 3), np.array([0, 0, 1]), title=title)


def test_an_inline_figure_is_one_labelled_svg_element_that_scales():
    root = ET.fromstring(report.svg(drawn(), label='said & "quoted"'))
    assert root.tag == f"{SVG}svg"
    assert (root.get("role"), root.get("aria-label")) == ("img", 'said & "quoted"')
    assert root.get("viewBox")
    assert root.get("width") is None


def test_text_stays_text_without_a_font_of_its_own():
    root = ET.fromstring(report.svg(drawn(), label=""))
    texts = list(root.iter(f"{SVG}text"))
    assert {"class", "a title"} <= {text.text for text in texts}
    assert all("font-family" not in text.get("style", "") for text in texts)


def test_no_text_is_smaller_than_ten_points():
    sizes = {part for text in ET.fromstring(report.svg(drawn(), label="")).iter(f"{SVG}text") for part in text.get("style", "").split("; ")}
    assert {size for size in sizes if size.startswith("font-size")} == {"font-size: 10px"}


def test_every_reference_in_a_figure_has_its_prefixed_target():
    text = report.svg(drawn(), label="", prefix="one-")
    root = ET.fromstring(text)
    targets = {element.get("id") for element in root.iter()} - {None}
    uses = {element.get("href")[1:] for element in root.iter(f"{SVG}use")}
    uses |= {value[5:-1] for element in root.iter() for value in element.attrib.values() if value.startswith("url(#")}
    assert uses
    assert uses <= targets
    assert all(target.startswith("one-") for target in targets)


def test_markup_and_mathematics_in_a_title_stay_characters():
    title = '</text><script>alert(1)</script> $x_ & id="q" 1.23456 汉字'
    root = ET.fromstring(report.svg(drawn(title), label=title))
    assert title in {text.text for text in root.iter(f"{SVG}text")}
    assert {element.tag.removeprefix(SVG) for element in root.iter()} == {
        "svg",
        "defs",
        "g",
        "path",
        "clipPath",
        "rect",
        "image",
        "text",
        "use",
    }


def test_the_same_figure_gives_the_same_text_under_any_settings_of_the_user():
    plain = report.svg(drawn(), label="x")
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.fonttype": "path", "text.usetex": False, "figure.dpi": 37}):
        mine = dict(matplotlib.rcParams)
        assert report.svg(drawn(), label="x") == plain
        assert dict(matplotlib.rcParams) == mine


def test_saved_files_are_what_their_ending_says(tmp_path):
    assert report.save(drawn(), tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    root = ET.parse(report.save(drawn(), str(tmp_path / "a.SVG"))).getroot()
    assert root.tag == f"{SVG}svg"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.SVG", "a.png"]


def test_saving_twice_gives_the_same_bytes(tmp_path):
    for ending in (".svg", ".png"):
        one, two = (report.save(drawn(), tmp_path / f"{name}{ending}").read_bytes() for name in ("a", "b"))
        assert one == two


@pytest.mark.parametrize(("name", "words"), [("a.pdf", "ends in .svg or .png"), ("a", "ends in"), ("none/a.svg", "a folder that exists")])
def test_a_file_that_cannot_be_written_is_refused_before_anything_is(tmp_path, name, words):
    with pytest.raises(InputError, match=words):
        report.save(drawn(), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_legend_lies_outside_the_axes():
    with canvas.style():
        figure, axes = canvas.blank()
        axes.plot([0, 1], [0, 1], label="a")
        canvas.legend(figure, axes)
        figure.savefig(io.BytesIO(), format="png")
        box = figure.legends[0].get_window_extent()
    assert box.y0 >= axes.get_window_extent().y1


@pytest.mark.parametrize("ending", [".svg", ".png"])
def test_a_saved_figure_is_recognised_as_the_librarys_own(tmp_path, ending):
    assert ours(report.save(drawn(), tmp_path / f"a{ending}"))
    with canvas.style():
        figure, _ = canvas.blank()
        figure.savefig(tmp_path / f"b{ending}")
    assert not ours(tmp_path / f"b{ending}")
