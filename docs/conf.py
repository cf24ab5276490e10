"""The documentation site, by Sphinx: `make site` makes it of docs/ and of docstrings."""

from __future__ import annotations

import re

from sphinx.application import Sphinx

project = "bmerge"
author = "the bmerge developers"
extensions = [
    "myst_nb",  # Markdown, and the notebook as it was executed
    "sphinx.ext.autodoc",  # reference.md: from the docstrings
    "sphinx.ext.napoleon",  # which are in Google's style
]
nb_execution_mode = "off"  # tests/docs runs it
myst_heading_anchors = 4
autodoc_member_order = "bysource"
autodoc_typehints = "description"
add_module_names = False
html_theme = "furo"
html_title = "bmerge"
html_show_sourcelink = False
html_show_copyright = False


def setup(app: Sphinx) -> None:
    """Make links that leave docs/ downloads: on the site there is no repository around it."""
    app.connect("source-read", _leave)


def _leave(app: Sphinx, name: str, source: list[str]) -> None:
    del app, name
    text = re.sub(
        r"\[([^\]]+)\]\(\.\./(?!/)([\w./-]+\.\w+)(?:#[\w-]+)?\)",
        r"{download}`\1 <../\2>`",
        source[0],
    )
    source[0] = re.sub(r"\[([^\]]+)\]\(\.\./[\w./-]*/?\)", r"\1", text)
