"""``bmerge generators``: the generators, with their options."""

from __future__ import annotations

import click

from bmerge.cli.kinds import print_kinds
from bmerge.cli.output import json_option
from bmerge.cli.session import Session, shared_options

__all__ = ["command"]


@click.command("generators")
@click.argument("words", nargs=-1)
@json_option()
@shared_options
@click.pass_obj
def command(session: Session, *, words: tuple[str, ...], as_json: bool) -> None:
    """List the generators.

    With WORDS, only those that have every one in their name or summary.

    \b
    Examples:
      bmerge generators
      bmerge generators --json
    """
    print_kinds("generator", session.registry().generators, as_json=as_json, words=words)
