"""docs/scorers.md names every scorer that comes with bmerge, and every option of each."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bmerge import load_registry
from bmerge_plugins.scorers.hps import _FILES as HPS_FILES
from bmerge_plugins.scorers.laion_aesthetic import _ALIASES, SHIPPED

PAGE = (Path(__file__).parents[2] / "docs" / "scorers.md").read_text()
TABLE = PAGE.split("\n## ")[0]


@pytest.mark.parametrize("kind", load_registry().scorers.values(), ids=lambda kind: kind.name)
def test_scorer_and_its_options_are_documented(kind):
    assert f"`{kind.name}`" in TABLE
    if kind.options:
        assert re.search(rf"^## {kind.name}$", PAGE, re.MULTILINE)
    assert not [o.name for o in kind.options if not re.search(rf"\b{o.name}\b", PAGE)]


@pytest.mark.parametrize("name", [*SHIPPED, *_ALIASES, *HPS_FILES])
def test_heads_and_files_are_documented(name):
    assert re.search(rf"`([^`]*/)?{re.escape(name)}`", PAGE)


@pytest.mark.parametrize("kind", load_registry().scorers.values(), ids=lambda kind: kind.name)
def test_weights_are_in_the_table(kind):
    for download in kind.downloads:
        row = next(line for line in PAGE.splitlines() if f"`{download.place.as_posix()}`" in line)
        assert f"`{download.repository}`" in row
        assert download.licence in (*row.split(" | "), row.split(" | ")[-1].removesuffix(" |")) or (
            download.licence == "not stated" and "none is stated" in row
        )
