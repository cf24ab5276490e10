"""``bmerge optimisers``: the optimisers, with their options."""

from __future__ import annotations

import click

from bmerge.cli.kinds import print_kinds
from bmerge.cli.output import json_option
from bmerge.cli.session import Session, shared_options

__all__ = ["command"]


@click.command("optimisers")
@click.argument("words", nargs=-1)
@json_option()
@shared_options
@click.pass_obj
def command(session: Session, *, words: tuple[str, ...], as_json: bool) -> None:
    """List the optimisers.

    With WORDS, only those that have every one in their name or summary.

    \b
    Examples:
      bmerge optimisers
      bmerge optimisers --json
    """
    print_kinds("optimiser", session.registry().optimisers, as_json=as_json, words=words)
