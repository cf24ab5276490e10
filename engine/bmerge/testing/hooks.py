"""What every plugin must keep to, whatever it offers."""

from __future__ import annotations

import inspect

import click

from bmerge.errors import PluginError
from bmerge.faults import explained
from bmerge.host.discovery import PluginCandidate
from bmerge.host.manager import PluginHost
from bmerge.host.registry import Registry
from bmerge.study_file.load import GENERATOR, OPTIMISER
from bmerge.study_file.scorers import SCORER

__all__ = ["check_hooks"]


def check_hooks(plugin: object, *, name: str = "plugin") -> Registry:
    """Check a plugin's hooks as a run calls them: names, arguments, marks, and what they offer.

    Factories must take what they will be given, options be called like no key of a study file
    beside which they stand, and commands be addable.

    Args:
        plugin: the module or object that holds the hooks.
        name: what messages call it.

    Returns:
        A registry that holds what this plugin offers, and bmerge's own architectures.

    Raises:
        PluginError: that says what is wrong.
    """
    host = PluginHost()
    host.add(PluginCandidate(name, lambda: plugin))
    (record,) = host.records
    if not record.hooks:
        raise PluginError(f"plugin {name!r} has no hook", hint="put @bmerge.hookimpl above one")
    registry = Registry(host)
    for catalogue in (
        registry.methods,
        registry.optimisers,
        registry.generators,
        registry.scorers,
        registry.architectures,
        registry.storages,
    ):
        len(catalogue)  # asks the plugin
    for broken in host.broken:
        raise PluginError(str(broken.error), plugin=name)
    for kinds in (registry.optimisers, registry.generators, registry.scorers):
        for kind in kinds.values():
            kind.check_factory()
    _check_settable(registry)
    _check_commands(plugin, name)
    return registry


def _check_settable(registry: Registry) -> None:
    """Complain of an option that no study file can set."""
    for kinds, keys in (
        (registry.generators, GENERATOR),
        (registry.optimisers, OPTIMISER),
        (registry.scorers, SCORER),
    ):
        for kind in kinds.values():
            for option in kind.options:
                if option.name in keys:
                    message = f"the option {option.name!r} of {kind.name} cannot be set"
                    hint = f"study files take the keys {', '.join(keys)} for themselves"
                    raise PluginError(message, plugin=kind.name, hint=hint)


def _check_commands(plugin: object, name: str) -> None:
    """Let a plugin add its commands, and complain if it fails: a run only warns."""
    add = getattr(plugin, "bmerge_commands", None)
    if add is None:
        return
    named = {"group": click.Group("bmerge")}
    wanted = inspect.signature(add).parameters
    with explained(f"plugin {name!r} failed in bmerge_commands", PluginError):
        add(**{word: group for word, group in named.items() if word in wanted})
