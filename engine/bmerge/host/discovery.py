"""Finds plugins without importing any: entry points of distributions, and files by path.

The entry-point group is ``bmerge``, one entry per plugin. bmerge's own plugins are found in the
same way as everybody's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from bmerge.errors import PluginError, nearest
from bmerge.host.entry_points import EntryPoint, entry_points
from bmerge.host.records import OWN
from bmerge.records import dataclass

__all__ = ["PluginCandidate", "installed", "of_path", "restrict", "without"]

GROUP = "bmerge"
_HOOKS = {
    "methods": "bmerge_merge_methods",
    "optimisers": "bmerge_optimisers",
    "generators": "bmerge_generators",
    "scorers": "bmerge_scorers",
}
"""Folder of one of bmerge's own plugins → the one hook that all plugins in it have."""


@dataclass(frozen=True, slots=True)
class PluginCandidate:
    """A plugin that could be loaded.

    Args:
        name: by which it is listed, chosen and blocked.
        load: imports it and returns the module or object that holds its hooks.
        distribution: that offers it, or None for a file.
        version: of the distribution.
        file: the file, where it was given by path.
        hook: the only hook that it has, where that is known beforehand: such a plugin need not
            be loaded until the hook is called.
    """

    name: str
    load: Callable[[], object]
    distribution: str | None = None
    version: str | None = None
    file: Path | None = None
    hook: str | None = None


def installed() -> tuple[PluginCandidate, ...]:
    """Return the plugins of all installed distributions, sorted by name."""
    found = map(_of_entry, entry_points(GROUP))
    return tuple(sorted(found, key=lambda candidate: (candidate.name, str(candidate.distribution))))


def _of_entry(entry: EntryPoint) -> PluginCandidate:
    own = entry.distribution == OWN
    hook = _HOOKS.get(entry.module.split(".")[-2]) if own else None
    return PluginCandidate(entry.name, entry.load, entry.distribution, entry.version, hook=hook)


def of_path(path: str | Path) -> tuple[PluginCandidate, ...]:
    """Return the plugins at a path: one file, or every file of a folder that defines hooks.

    Raises:
        PluginError: if there is no such file or folder, or no plugin in it.
    """
    from bmerge.host.plugin_files import import_file, plugins_in

    place = Path(path)
    if place.is_dir():
        files, others = plugins_in(place)
        if not files:
            hint = "none of its files defines a hook" if others else "it has no .py file"
            raise PluginError(f"no plugin in the folder {str(path)!r}", hint=hint)
    elif place.is_file() and place.suffix == ".py":
        files = [place]
    elif place.exists():
        raise PluginError(f"{str(path)!r} is not a plugin", hint="give a .py file or a folder")
    else:
        raise PluginError(f"no such plugin file: {str(path)!r}")
    return tuple(
        PluginCandidate(file.stem, partial(import_file, file), file=file) for file in files
    )


def restrict(
    candidates: Sequence[PluginCandidate], names: Iterable[str]
) -> tuple[PluginCandidate, ...]:
    """Keep only the plugins named, by their own name or by their distribution's.

    Raises:
        PluginError: if a name fits no plugin.
    """
    wanted = _known(candidates, names)
    return tuple(c for c in candidates if c.name in wanted or c.distribution in wanted)


def without(
    candidates: Sequence[PluginCandidate], names: Iterable[str]
) -> tuple[PluginCandidate, ...]:
    """Drop the plugins named, by their own name or by their distribution's.

    Raises:
        PluginError: if a name fits no plugin.
    """
    unwanted = _known(candidates, names)
    return tuple(c for c in candidates if c.name not in unwanted and c.distribution not in unwanted)


def _known(candidates: Sequence[PluginCandidate], names: Iterable[str]) -> frozenset[str]:
    words = frozenset(names)
    known = {c.name for c in candidates} | {c.distribution for c in candidates if c.distribution}
    for word in sorted(words - known):
        raise PluginError(f"no plugin is called {word!r}", plugin=word, hint=nearest(word, known))
    return words
