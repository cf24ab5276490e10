"""Loads plugins, checks their hooks, and calls them one by one.

A thin layer over pluggy. Each plugin's hooks are called on their own, so that it is known who
offered what, and so that one that fails takes nothing with it: a broken plugin is recorded and
logged, and only what it alone could offer is missing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pluggy

from bmerge.errors import PluginError, nearest
from bmerge.faults import contained, in_one_line
from bmerge.host import builtins, hookspecs
from bmerge.host.discovery import PluginCandidate
from bmerge.host.records import PluginRecord
from bmerge.logs import logger

__all__ = ["HOOKS", "PluginHost"]

HOOKS = tuple(sorted(name for name in vars(hookspecs) if name.startswith("bmerge_")))
"""The names of all hooks."""


class PluginHost:
    """The plugins of one run, loaded and checked."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager("bmerge")
        self._manager.add_hookspecs(hookspecs)
        self._manager.register(builtins, name="builtins")
        self._records: dict[str, PluginRecord] = {}
        self._deferred: dict[str, PluginCandidate] = {}
        self._asked: set[tuple[str, str]] = set()

    @property
    def records(self) -> tuple[PluginRecord, ...]:
        """Every plugin that was found, working or not, sorted by name; all are loaded for it."""
        for candidate in tuple(self._deferred.values()):
            self._load_deferred(candidate)
        return tuple(self._records[name] for name in sorted(self._records))

    @property
    def broken(self) -> tuple[PluginRecord, ...]:
        """The plugins that are known to be of no use."""
        found = (self._records[name] for name in sorted(self._records))
        return tuple(record for record in found if record.error)

    @property
    def files(self) -> tuple[PluginRecord, ...]:
        """The plugins that were given by path, in the order of loading."""
        return tuple(r for r in self._records.values() if not r.distribution and not r.error)

    def of_distribution(self, distribution: str) -> tuple[PluginCandidate | PluginRecord, ...]:
        """Return the plugins of a distribution, loaded or not yet."""
        loaded = (r for r in self._records.values() if r.distribution == distribution)
        deferred = (c for c in self._deferred.values() if c.distribution == distribution)
        return (*loaded, *deferred)

    def has_file(self, file: Path) -> bool:
        """Tell whether a plugin that works is loaded from a file, by an installation too."""
        path = file.resolve()
        loaded = (r.file for r in self._records.values() if r.file and not r.error)
        return any(Path(each).resolve() == path for each in loaded)

    def record(self, name: str) -> PluginRecord | None:
        """Return the record of a loaded plugin; None for what comes from bmerge itself."""
        return self._records.get(name)

    def add(self, candidate: PluginCandidate) -> None:
        """Load one plugin.

        Raises:
            PluginError: if it cannot be imported, or has hooks that bmerge does not know.
        """
        name = candidate.name
        if name in self._records or name in self._deferred:
            message = f"two plugins are called {name!r}"
            hint = f"the other one is of {self._source(name)}"
            raise PluginError(message, plugin=name, hint=hint)
        try:
            with contained():
                plugin = candidate.load()
        except Exception as error:
            message = f"plugin {name!r} cannot be loaded: {in_one_line(error)}"
            raise PluginError(message, plugin=name) from error
        hooks = self._register(plugin, name)
        file = candidate.file or _file_of(plugin)
        self._records[name] = PluginRecord(
            name, candidate.distribution, candidate.version, str(file) if file else None, hooks
        )

    def try_add(self, candidate: PluginCandidate) -> None:
        """Load one plugin; if that fails, record and log it."""
        try:
            self.add(candidate)
        except PluginError as error:
            name = candidate.name
            if name in self._records:  # the name is taken: keep both apart in listings
                name = f"{name} ({candidate.distribution})"
            record = PluginRecord(name, candidate.distribution, candidate.version)
            self._records[name] = record
            self.fail(name, str(error), error.hint)

    def defer(self, candidate: PluginCandidate) -> None:
        """Load a plugin like :meth:`try_add`, but not before its hook is called."""
        if candidate.name in self._records or candidate.name in self._deferred:
            self.try_add(candidate)  # which tells that the name is taken
        else:
            self._deferred[candidate.name] = candidate

    def plugin_at(self, file: str) -> str | None:
        """Return the name of the loaded plugin that a file is part of, if there is one."""
        path = Path(file).resolve()
        homes = {n: Path(r.file).resolve() for n, r in self._records.items() if r.file}
        own = (name for name, home in homes.items() if home == path)
        beside = (
            name
            for name, home in homes.items()
            if home.parent in path.parents and home.parent.name != "site-packages"
        )
        return next(own, None) or next(beside, None)

    def fail(self, name: str, reason: str, hint: str | None = None) -> None:
        """Record that a plugin cannot be used, and say so in the log."""
        self._records[name] = replace(self._records[name], error=reason)
        logger(__name__).warning("%s%s", reason, f" ({hint})" if hint else "")

    def _register(self, plugin: object, name: str) -> tuple[str, ...]:
        """Hand ``plugin`` to pluggy; return the names of its hooks."""
        check_names(plugin, name)
        try:
            self._manager.register(plugin, name=name)
        except (pluggy.PluginValidationError, ValueError) as error:
            raise PluginError(
                f"plugin {name!r} does not fit: {in_one_line(error)}",
                plugin=name,
                hint="docs/plugins.md lists the hooks and their arguments",
            ) from error
        callers = self._manager.get_hookcallers(plugin) or []
        return tuple(sorted(caller.name for caller in callers))

    def offers(self, hook: str, plugin: str | None = None) -> Iterator[tuple[str, object]]:
        """Call a hook that offers items in every plugin in which it has not been called yet.

        A plugin whose hook fails is recorded as broken and skipped.

        Args:
            hook: name of the hook.
            plugin: name of the only plugin that is loaded for this, if it is not loaded yet;
                None loads all that have the hook.

        Yields:
            (plugin name, item), in the order of loading.
        """
        for candidate in tuple(self._deferred.values()):
            if candidate.hook == hook and plugin in {None, candidate.name}:
                self._load_deferred(candidate)
        for implementation in self._caller(hook).get_hookimpls():
            name = implementation.plugin_name
            if (hook, name) in self._asked:
                continue
            self._asked.add((hook, name))
            try:
                with contained():
                    offered: Any = implementation.function()
                    items = list(offered or ())
            except Exception as error:  # noqa: BLE001  a plugin can raise anything
                self.fail(name, f"plugin {name!r} failed in {hook}: {in_one_line(error)}")
                continue
            for item in items:
                yield name, item

    def observe(self, hook: str, **arguments: Any) -> None:
        """Call an observer hook in every plugin; what one raises is logged."""
        for implementation in reversed(self._caller(hook).get_hookimpls()):
            try:
                with contained():
                    implementation.function(*(arguments[name] for name in implementation.argnames))
            except Exception as error:  # noqa: BLE001  an observer must not stop a run
                who, reason = implementation.plugin_name, in_one_line(error)
                logger(__name__).warning("plugin %r failed in %s: %s", who, hook, reason)

    def _load_deferred(self, candidate: PluginCandidate) -> None:
        del self._deferred[candidate.name]
        self.try_add(candidate)

    def _source(self, name: str) -> str:
        if name in self._deferred:
            return str(self._deferred[name].distribution)
        return self._records[name].source

    def _caller(self, hook: str) -> pluggy.HookCaller:
        caller: pluggy.HookCaller = getattr(self._manager.hook, hook)
        return caller


def _file_of(plugin: object) -> str | None:
    """Return the file of a module, or of the module in which an object's class is."""
    module = plugin if hasattr(plugin, "__file__") else sys.modules.get(type(plugin).__module__)
    return getattr(module, "__file__", None)


def check_names(plugin: object, name: str) -> None:
    """Check that whatever is named like a hook is one, and is marked as one.

    Raises:
        PluginError: names the function and the nearest hook.
    """
    for attribute in _hook_like(plugin):
        marks = getattr(getattr(plugin, attribute), "bmerge_impl", None)
        if attribute not in HOOKS and not (marks and marks["optionalhook"]):
            message = f"plugin {name!r} has an unknown hook {attribute!r}"
            raise PluginError(message, plugin=name, hint=nearest(attribute, HOOKS))
        if marks is None:
            message = f"plugin {name!r} does not mark {attribute!r} as a hook"
            raise PluginError(message, plugin=name, hint="put @bmerge.hookimpl above it")


def _hook_like(plugin: object) -> Iterable[str]:
    for attribute in dir(plugin):
        value = getattr(plugin, attribute, None)
        if hasattr(value, "bmerge_impl") or (
            attribute.startswith("bmerge_") and callable(value) and not isinstance(value, type)
        ):
            yield attribute
