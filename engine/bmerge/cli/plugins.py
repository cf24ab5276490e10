"""``bmerge plugins``: every plugin that was found, what it implements, why it failed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict

import click

from bmerge.cli.kinds import chosen
from bmerge.cli.output import json_option, print_json, print_table
from bmerge.cli.session import Session, shared_options
from bmerge.extras import absent, install_line
from bmerge.host import PluginRecord, Registry

__all__ = ["command"]


@click.command("plugins")
@click.argument("words", nargs=-1)
@json_option()
@shared_options
@click.pass_obj
def command(session: Session, *, words: tuple[str, ...], as_json: bool) -> None:
    """List the plugins, and those that do not work.

    With WORDS, only those that have every one in their name, origin or hooks.

    BMERGE_PLUGINS, a comma-separated list of names, restricts which installed plugins are loaded.

    \b
    Examples:
      bmerge plugins
      bmerge -p no:nevergrad plugins
      bmerge plugins --plugin my_method.py
    """
    registry = session.registry()
    missing = _ask_all(registry)
    names = chosen(words, {r.name: (r.name, r.source, *r.hooks) for r in registry.plugins})
    records = [record for record in registry.plugins if record.name in names]
    if as_json:
        print_json([{**asdict(r), "missing": sorted(missing[r.name])} for r in records])
        return
    rows = [_row(record, missing[record.name]) for record in records]
    print_table(("plugin", "from", "hooks"), rows)


def _ask_all(registry: Registry) -> Mapping[str, set[str]]:
    """Ask for everything on offer once: some plugins fail only when they are asked.

    Returns:
        Plugin → modules that something it offers needs, and that are not installed.
    """
    len(registry.architectures)
    missing = defaultdict[str, set[str]](set)
    for kinds in (registry.methods, registry.optimisers, registry.generators, registry.scorers):
        for name, item in kinds.items():
            missing[kinds.plugin_of(name)].update(absent(item.needs))
    return missing


def _row(record: PluginRecord, missing: set[str]) -> tuple[str, str, str]:
    what = " ".join(record.hooks)
    if record.error:
        what = f"NOT WORKING: {record.error}"
    elif missing:
        what = f"NOT INSTALLED: {install_line(missing)}"
    return record.name, record.source, what
