"""The plugin host: hooks, the plugins that implement them, and what they offer by name.

Above the study, below the command line. :func:`load_registry` is the only door.
"""

from __future__ import annotations

from bmerge.host.hookspecs import hookimpl, hookspec
from bmerge.host.records import PluginRecord
from bmerge.host.registry import Registry, load_registry

__all__ = ["PluginRecord", "Registry", "hookimpl", "hookspec", "load_registry"]
