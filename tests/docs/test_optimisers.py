"""docs/optimisers.md names every optimiser that comes with bmerge, and every option of each."""

from __future__ import annotations

from pathlib import Path

import pytest

from bmerge import load_registry

PAGE = (Path(__file__).parents[2] / "docs" / "optimisers.md").read_text()
ROWS = {
    cells[0].strip("` "): cells
    for line in PAGE.split("## Options")[0].splitlines()
    if len(cells := line.strip("| ").split(" | ")) == 4
}


@pytest.mark.parametrize("kind", load_registry().optimisers.values(), ids=lambda kind: kind.name)
def test_optimiser_and_its_options_are_documented(kind):
    assert ROWS[kind.name][2] == ("yes" if kind.several_objectives else "no")
    assert not [o.name for o in kind.options if f"`{o.name}`" not in PAGE]
