"""docs/cli.md shows the help of every command as it is, and once what many commands share.

``BMERGE_UPDATE_DOCS=1 python -m pytest tests/docs`` writes it anew.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import click
import pytest

from bmerge.cli.executor import executor_options
from bmerge.cli.output import json_option
from bmerge.cli.root import root
from bmerge.cli.session import Session, shared_options

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
BLOCK = re.compile(r"```console\n\$ (bmerge [^\n]*--help)\n(.*?)```", re.DOTALL)
SHARED = re.compile(r"(?<=## Options of many commands\n\n)(?:\|.*\n)+")
DROPPED = "  …\n"
OPTION = re.compile(r"  -.*\n(?:   .*\n)*")


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


@shared_options
@executor_options
@json_option()
def _shared() -> None:
    """Take the options that many commands have."""


def _told() -> dict[str, str]:
    """Return the options that many commands have, and what their help says."""
    options: list[click.Option] = [*reversed(_shared.__click_params__)]
    helps = (option.get_help_record(click.Context(root)) for option in options)
    return {**dict(filter(None, helps)), "-h, --help": "Show this message and exit."}


def _table() -> str:
    rows = [(f"`{name}`".replace("|", r"\|"), said) for name, said in _told().items()]
    return "".join(
        f"| {name} | {said} |\n" for name, said in [("option", ""), ("---", "---"), *rows]
    )


def _without_shared(text: str) -> str:
    """Return a help text with ``…`` in place of the options of the table."""
    shared = set(_told())

    def told(found: re.Match[str]) -> str:
        name = re.split(r" {2,}|\n", found[0].strip(), maxsplit=1)[0]
        return DROPPED if name in shared else found[0]

    return re.sub(f"({DROPPED})+", DROPPED, OPTION.sub(told, text))


def test_help_texts_of_the_page_are_true(bmerge, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")

    def fill(found: re.Match[str]) -> str:
        said = bmerge(*found[1].split()[1:]).out
        return f"```console\n$ {found[1]}\n{_without_shared(said)}```"

    text = PAGE.read_text()
    fresh = SHARED.sub(lambda _: _table(), BLOCK.sub(fill, text))
    assert SHARED.search(fresh)
    if os.environ.get("BMERGE_UPDATE_DOCS"):
        PAGE.write_text(fresh)
    elif text != fresh:
        pytest.fail("docs/cli.md is out of date: BMERGE_UPDATE_DOCS=1 python -m pytest tests/docs")
