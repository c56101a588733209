"""Sphinx configuration."""

import re
from pathlib import Path

from kernelregime import __version__

project = "kernelregime"
author = "The kernelregime developers"
copyright = "The kernelregime developers, Apache-2.0"
release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.doctest", "sphinx.ext.mathjax"]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
doctest_test_doctest_blocks = ""  # examples in docstrings are run by pytest, next to their names
autodoc_member_order = "bysource"
autodoc_typehints = "none"
html_theme = "furo"
html_title = "kernelregime"
exclude_patterns = ["_build"]


def _literal(app, what, name, obj, options, lines):
    """Docstrings are plain text for the terminal: `code` becomes a literal, and |x|, x_i and a* mean themselves."""
    for index, line in enumerate(lines):
        if line.lstrip().startswith((">>>", "...")):
            continue
        pieces = re.split(r"(`+[^`]+`+)", line)
        lines[index] = "".join(
            f"``{piece.strip('`')}``" if piece.startswith("`") else re.sub(r"([|*_])", r"\\\1", piece) for piece in pieces
        )


def _gallery(app, error):
    """Beside the pages, the gallery of the results that are kept in the repository."""
    if error is None and app.builder.name == "html":
        from kernelregime.report import gallery

        gallery.write(gallery.found_in(Path(__file__).parents[1] / "reproduced"), Path(app.outdir) / "gallery", overwrite=True)


def setup(app):
    """Register the hooks."""
    app.connect("autodoc-process-docstring", _literal)
    app.connect("build-finished", _gallery)
