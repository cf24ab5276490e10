"""``docs/architectures.md``: every architecture that is known has its place there."""

from __future__ import annotations

from pathlib import Path

import pytest

from bmerge.architectures import builtin

PAGE = (Path(__file__).parents[2] / "docs" / "architectures.md").read_text()


@pytest.mark.parametrize("known", [known.id for known in builtin()])
def test_every_architecture_is_on_the_page(known):
    assert f"`{known}`" in PAGE
