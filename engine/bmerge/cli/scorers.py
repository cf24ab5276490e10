"""``bmerge scorers``: the scorers, with their options."""

from __future__ import annotations

import click

from bmerge.cli.kinds import print_kinds
from bmerge.cli.session import Session, shared_options

__all__ = ["command"]


@click.command("scorers")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@shared_options
@click.pass_obj
def command(session: Session, *, as_json: bool) -> None:
    """List the scorers.

    \b
    Examples:
      bmerge scorers
      bmerge scorers --json
    """
    print_kinds("scorer", session.registry().scorers, as_json=as_json)
