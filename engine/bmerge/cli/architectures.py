"""``bmerge architectures``: the block maps, with the names of their blocks."""

from __future__ import annotations

import click

from bmerge.architectures import Architecture
from bmerge.cli.kinds import chosen
from bmerge.cli.output import json_option, print_json, print_table
from bmerge.cli.session import Session, shared_options

__all__ = ["command"]


@click.command("architectures")
@click.argument("words", nargs=-1)
@json_option()
@shared_options
@click.pass_obj
def command(session: Session, *, words: tuple[str, ...], as_json: bool) -> None:
    """List the architectures and their blocks.

    With WORDS, only those that have every one in their name. L00… are as many as a checkpoint
    has layers; 'bmerge inspect' lists those of one.

    \b
    Examples:
      bmerge architectures
      bmerge inspect model.safetensors    the architecture of one checkpoint
    """
    known = session.registry().architectures
    ids = chosen(words, {a.id: (a.id, a.name) for a in known.values()})
    if as_json:
        print_json(
            [
                {
                    "id": a.id,
                    "name": a.name,
                    "blocks": _shown(a),
                    "variants": [variant.name for variant in a.variants],
                    "plugin": known.plugin_of(i),
                }
                for i, a in known.items()
                if i in ids
            ]
        )
        return
    rows = [(a.id, a.name, " ".join(_shown(a))) for a in known.values() if a.id in ids]
    print_table(("architecture", "name", "blocks"), rows)


def _shown(architecture: Architecture) -> list[str]:
    """Return the blocks; ``L00…`` where a checkpoint says how many."""
    shown = ((block, block.format(i=0)) for block in architecture.blocks)
    return [first if first == block else f"{first}…" for block, first in shown]
