"""``bmerge architectures``: the block maps, with the names of their blocks."""

from __future__ import annotations

import click

from bmerge.cli.output import print_json, print_table
from bmerge.cli.session import Session, shared_options

__all__ = ["command"]


@click.command("architectures")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@shared_options
@click.pass_obj
def command(session: Session, *, as_json: bool) -> None:
    """List the architectures and their blocks.

    \b
    Examples:
      bmerge architectures
      bmerge inspect model.safetensors    the architecture of one checkpoint
    """
    known = session.registry().architectures
    if as_json:
        print_json(
            [
                {"id": a.id, "name": a.name, "blocks": list(a.blocks), "plugin": known.plugin_of(i)}
                for i, a in known.items()
            ]
        )
        return
    rows = [(a.id, a.name, len(a.blocks), " ".join(a.blocks)) for a in known.values()]
    print_table(("architecture", "name", "count", "blocks"), rows)
