"""docs/cli.md shows the help of every command as it is.

``BMERGE_UPDATE_DOCS=1 python -m pytest tests/docs`` writes it anew.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import click
import pytest

from bmerge.cli.root import root
from bmerge.cli.session import Session

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
BLOCK = re.compile(r"```console\n\$ (bmerge [^\n]*--help)\n(.*?)```", re.DOTALL)


def _paths(command: click.Command, name: str) -> list[str]:
    """Return the words that call a command and each of those below it."""
    if not isinstance(command, click.Group):
        return [name]
    context = click.Context(command, info_name=name, obj=Session())
    below = [(n, command.get_command(context, n)) for n in command.list_commands(context)]
    return [name, *(path for n, c in below for path in _paths(c, f"{name} {n}"))]


def test_page_shows_every_command():
    shown = {command for command, _ in BLOCK.findall(PAGE.read_text())}
    assert {f"{path} --help" for path in _paths(root, "bmerge")} <= shown


def test_help_texts_of_the_page_are_true(bmerge, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")

    def fill(found: re.Match[str]) -> str:
        return f"```console\n$ {found[1]}\n{bmerge(*found[1].split()[1:]).out}```"

    text = PAGE.read_text()
    fresh = BLOCK.sub(fill, text)
    if os.environ.get("BMERGE_UPDATE_DOCS"):
        PAGE.write_text(fresh)
    elif text != fresh:
        pytest.fail("docs/cli.md is out of date: BMERGE_UPDATE_DOCS=1 python -m pytest tests/docs")
