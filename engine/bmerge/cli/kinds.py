"""The listing that optimisers, scorers and generators share: names and options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from bmerge.cli.output import print_json, print_table
from bmerge.errors import PluginError, nearest
from bmerge.extras import absent, install_line
from bmerge.host.catalogue import Catalogue
from bmerge.host.kinds import FactoryOption, PluginKind

__all__ = ["chosen", "missing_data", "print_kinds", "summary_of"]


class Needy(Protocol):
    """What a listing says in one line: a kind or a merge method."""

    @property
    def summary(self) -> str:
        """What it is."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Modules beyond bmerge's core."""


def print_kinds(
    noun: str, kinds: Catalogue[Any], *, as_json: bool, words: Sequence[str] = ()
) -> None:
    """Print all of one kind, as a table or as JSON.

    Args:
        noun: heading of the first column.
        kinds: what to list.
        as_json: whether to print JSON.
        words: only those of which these are part of the name or summary.
    """
    names = chosen(words, {name: (name, kind.summary) for name, kind in kinds.items()})
    if as_json:
        print_json([_as_data(kinds[name], kinds.plugin_of(name)) for name in names])
        return
    listed = [kinds[name] for name in names]
    rows = [(kind.name, _options(kind), summary_of(kind)) for kind in listed]
    print_table((noun, "options", "summary"), rows)


def chosen(words: Sequence[str], texts: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the names that have every word in one of their texts, in any case.

    Args:
        words: to look for; none chooses all.
        texts: name → where to look.

    Raises:
        PluginError: if no name is left.
    """
    wanted = [word.casefold() for word in words]
    names = [
        name
        for name, own in texts.items()
        if all(any(word in text.casefold() for text in own) for word in wanted)
    ]
    if not names and words:
        message = f"nothing in this list has {' and '.join(map(repr, words))} in it"
        raise PluginError(message, hint=nearest(words[0], texts))
    return names


def summary_of(item: Needy) -> str:
    """Return the last column of a listing: what it is, or how to get what it lacks."""
    missing = absent(item.needs)
    return f"NOT INSTALLED: {install_line(missing)}" if missing else item.summary


def missing_data(item: Needy) -> dict[str, Any]:
    """Return the same for JSON: modules that are not installed, and the line to type."""
    missing = absent(item.needs)
    return {"missing": list(missing), "install": install_line(missing) if missing else None}


def _options(kind: PluginKind[Any]) -> str:
    return ", ".join(_option(option) for option in kind.options) or "-"


def _option(option: FactoryOption) -> str:
    return option.name if option.required else f"{option.name}={option.default}"


def _as_data(kind: PluginKind[Any], plugin: str) -> dict[str, Any]:
    options = [
        {
            "name": option.name,
            "type": option.type,
            "required": option.required,
            "default": None if option.required else _plain(option.default),
        }
        for option in kind.options
    ]
    return {
        "name": kind.name,
        "options": options,
        "summary": kind.summary,
        "plugin": plugin,
        **missing_data(kind),
    }


def _plain(value: Any) -> Any:
    """Return what JSON can hold: a plugin's default may be any object."""
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
