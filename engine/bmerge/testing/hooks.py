"""What every plugin must keep to, whatever it offers."""

from __future__ import annotations

from bmerge.errors import PluginError
from bmerge.host.discovery import Candidate
from bmerge.host.manager import PluginHost
from bmerge.host.registry import Registry

__all__ = ["check_hooks"]


def check_hooks(plugin: object, *, name: str = "plugin") -> Registry:
    """Check a plugin's hooks: their names, arguments and marks, and what they offer.

    Args:
        plugin: the module or object that holds the hooks.
        name: what messages call it.

    Returns:
        A registry that holds what this plugin offers, and bmerge's own architectures.

    Raises:
        PluginError: that says what is wrong.
    """
    host = PluginHost()
    host.add(Candidate(name, lambda: plugin))
    (record,) = host.records
    if not record.hooks:
        raise PluginError(f"plugin {name!r} has no hook", hint="put @bmerge.hookimpl above one")
    registry = Registry(host)
    for things in (
        registry.methods,
        registry.optimisers,
        registry.generators,
        registry.scorers,
        registry.architectures,
    ):
        len(things)  # asks the plugin
    for broken in host.broken:
        raise PluginError(str(broken.error), plugin=name)
    return registry
