"""The plugin host: hooks, the plugins that implement them, and what they offer by name.

Above the study, below the command line. :func:`load_registry` is the only door.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bmerge.rooms import offering

if TYPE_CHECKING:
    from bmerge.host.hookspecs import hookimpl, hookspec
    from bmerge.host.records import PluginRecord
    from bmerge.host.registry import Registry, load_registry
else:
    _HOMES = {
        "bmerge.host.hookspecs": "hookimpl hookspec",
        "bmerge.host.records": "PluginRecord",
        "bmerge.host.registry": "Registry load_registry",
    }
    __getattr__ = offering(__name__, _HOMES)

__all__ = ["PluginRecord", "Registry", "hookimpl", "hookspec", "load_registry"]
