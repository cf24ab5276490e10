"""``bmerge plugins``: every plugin that was found, what it implements, why it failed."""

from __future__ import annotations

from dataclasses import asdict

import click

from bmerge.cli.output import print_json, print_table
from bmerge.cli.session import Session, shared_options
from bmerge.host import PluginRecord, Registry

__all__ = ["command"]


@click.command("plugins")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@shared_options
@click.pass_obj
def command(session: Session, *, as_json: bool) -> None:
    """List the plugins, and those that do not work.

    BMERGE_PLUGINS, a comma-separated list of names, restricts which installed plugins are loaded.

    \b
    Examples:
      bmerge plugins
      bmerge -p no:nevergrad plugins
      bmerge plugins --plugin my_method.py
    """
    registry = session.registry()
    _ask_all(registry)
    if as_json:
        print_json([asdict(record) for record in registry.plugins])
        return
    print_table(("plugin", "from", "hooks"), [_row(record) for record in registry.plugins])


def _ask_all(registry: Registry) -> None:
    """Ask for everything on offer once: some plugins fail only when they are asked."""
    for kind in (
        registry.methods,
        registry.optimisers,
        registry.generators,
        registry.scorers,
        registry.architectures,
    ):
        len(kind)


def _row(record: PluginRecord) -> tuple[str, str, str]:
    what = f"NOT WORKING: {record.error}" if record.error else " ".join(record.hooks)
    return record.name, record.source, what
