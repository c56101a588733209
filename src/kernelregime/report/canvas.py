"""Blank figures in the report's style, and their way out: inline SVG that follows the page's theme, or a file.

Nothing here touches pyplot, and the user's rcParams are put back.
"""

import io
import os
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kernelregime._checks import fail
from kernelregime.report.palette import LIGHT, themed
from kernelregime.results import MAKER, staged

WIDTH = 4.2  # inches: 302 points, so that 10-point text is at least 11 CSS pixels on a 390-pixel phone
FORMATS = (".svg", ".png")
_SVG, _XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
_STYLE = {
    "font.family": "DejaVu Sans",  # ships with matplotlib and is wide: what fits in it fits in any system font
    "font.size": 10.0,
    "axes.labelsize": 10.0,
    "xtick.labelsize": 10.0,
    "ytick.labelsize": 10.0,
    "legend.fontsize": 10.0,
    "text.parse_math": False,
    "axes.formatter.use_mathtext": False,
    "axes.unicode_minus": True,
    "svg.fonttype": "none",
    "svg.hashsalt": "kernelregime",
    "text.color": LIGHT["ink"],
    "axes.labelcolor": LIGHT["ink"],
    "axes.edgecolor": LIGHT["muted"],
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "xtick.color": LIGHT["muted"],
    "ytick.color": LIGHT["muted"],
    "xtick.labelcolor": LIGHT["ink"],
    "ytick.labelcolor": LIGHT["ink"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LIGHT["grid"],
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "legend.columnspacing": 1.2,
    "legend.borderaxespad": 0.0,
    "lines.linewidth": 1.8,
}


@contextmanager
def style() -> Iterator[None]:
    """The report's style, whatever the user's rcParams are; they are put back at the end."""
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        # The page is shown in the reader's font: that DejaVu lacks a letter of a user's label does not matter.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def blank(height: float = 2.7) -> Any:
    """A figure of the report's width and `height` (inches), with one pair of axes: `figure, axes`. Call it inside `style()`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.add_subplot()


def legend(figure: Any, axes: Any, *, columns: int = 2) -> None:
    """The legend of `axes` above the plot, where it covers no data."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside upper left", ncols=columns)


def svg(figure: Any, *, label: str, prefix: str = "") -> str:
    """`figure` as one `<svg>` element for a page: text stays text, colours follow the page's theme.

    `label` is read to those who do not see the figure; `prefix` is put before every id, so that several figures can share a page.
    The same figure always gives the same string.
    """
    buffer = io.BytesIO()
    with style():
        _arrange(figure)
        figure.savefig(buffer, format="svg", transparent=True, dpi=144, metadata={"Date": None})
    root = ET.fromstring(buffer.getvalue())
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)
    used = {match for element in root.iter() for value in element.attrib.values() for match in re.findall(r"#([\w.-]+)\)?$", value)}
    for element in root.iter():
        _clean(element, used, prefix)
    box = root.get("viewBox", "")
    root.attrib.clear()
    root.attrib.update({"xmlns": _SVG[1:-1], "viewBox": box, "role": "img", "aria-label": label})
    root.attrib["style"] = "stroke-linejoin: round; stroke-linecap: butt; font-family: system-ui, sans-serif"
    return ET.tostring(root, encoding="unicode")


def _arrange(figure: Any) -> None:
    """Lay the figure out once: saving would do it three times over."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine("none")


def _clean(element: ET.Element, used: set[str], prefix: str) -> None:
    """One element without namespaces, unused ids, fixed fonts, spare decimals and blank text."""
    element.tag = element.tag.removeprefix(_SVG)
    for name, value in list(element.attrib.items()):
        new = value
        if name == "id":
            new = prefix + value if value in used else ""
        elif value.startswith("#"):
            new = f"#{prefix}{value[1:]}"
        elif value.startswith("url(#"):
            new = f"url(#{prefix}{value[5:]}"
        elif name == "style":
            new = themed(re.sub(r"font-family:[^;]*;? ?", "", value))
        elif name in ("d", "x", "y"):
            new = re.sub(r"\d+\.\d{3,}", lambda match: f"{float(match.group(0)):.2f}", " ".join(value.split()))
        elif value.startswith("data:"):
            new = "".join(value.split())
        del element.attrib[name]
        if new:
            element.attrib[name.removeprefix(_XLINK)] = new
    if element.tag != "text":
        element.text = None
    element.tail = None


def save(figure: Any, path: str | os.PathLike[str]) -> Path:
    """Write a figure of this package to `path`, an .svg or .png file (white background, light colours); returns the path.

    Raises: `InputError` for another ending or a folder that is not there.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise fail("a file in a folder that exists", str(target), "create the folder or name another")
    if target.suffix.lower() not in FORMATS:
        raise fail(f"a file name that ends in {' or '.join(FORMATS)}", target.name, "change the ending")
    kind = target.suffix.lower()[1:]
    metadata = {"Creator": MAKER, "Date": None} if kind == "svg" else {"Software": MAKER}
    with style(), staged(target) as part:
        _arrange(figure)
        figure.savefig(part, format=kind, facecolor=LIGHT["surface"], dpi=200, metadata=metadata)
    return target
