"""All items of one kind that the plugins offer, by name; asked for at the first use.

An item often has the name of its plugin. So one that is looked up is first asked of the plugin
of that name and of those that are loaded anyway, and only then of all others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

from bmerge.errors import BmergeError, PluginError, nearest
from bmerge.host.manager import PluginHost
from bmerge.host.records import OWN, PluginRecord

__all__ = ["Catalogue"]

T = TypeVar("T")


class Catalogue(Mapping[str, T], Generic[T]):
    """A lazy mapping from name to item.

    Iteration gives proper names, sorted; look-up takes aliases too.

    Args:
        host: whose plugins are asked.
        hook: that offers the items.
        noun: what one item is called in messages.
        kind: class of the items.
        attribute: of an item that holds its name.
        error: raised by :meth:`find`.
    """

    def __init__(
        self,
        host: PluginHost,
        hook: str,
        *,
        noun: str,
        kind: type[T],
        attribute: str = "name",
        error: type[BmergeError] = PluginError,
    ) -> None:
        self._host = host
        self._hook = hook
        self._noun = noun
        self._kind = kind
        self._attribute = attribute
        self._error = error
        self._found: dict[str, tuple[str, T]] = {}
        self._aliases: dict[str, str] = {}
        self._clashes: dict[str, PluginError] = {}

    def __getitem__(self, name: str) -> T:
        items = self._items()
        return items[self._aliases.get(name, name)][1]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._items()))

    def __len__(self) -> int:
        return len(self._items())

    def find(self, name: str) -> T:
        """Return the item called ``name``.

        Raises:
            BmergeError: of the kind's own class, with the nearest name, if there is none.
            PluginError: if two plugins offer one of that name.
        """
        self._ask(name)
        if name in self._clashes:
            raise self._clashes[name]
        if self._aliases.get(name, name) in self._found or name in self:
            return self._found[self._aliases.get(name, name)][1]
        for record in self._host.broken:
            if record.name == name:
                message = f"{self._noun} {name!r} is not available: {record.error}"
                raise self._error(message, hint=f"the plugin is of {record.source}")
        raise self._error(f"unknown {self._noun} {name!r}", hint=self._hint(name))

    def plugin_of(self, name: str) -> str:
        """Return the name of the plugin that offers ``name``."""
        items = self._items()
        return items[self._aliases.get(name, name)][0]

    def origin(self, name: str) -> PluginRecord | None:
        """Return the plugin that offers ``name``; None if that is bmerge itself.

        Raises:
            BmergeError: as :meth:`find`.
        """
        self.find(name)
        plugin, _ = self._found[self._aliases.get(name, name)]
        return self._host.record(plugin)

    def _hint(self, name: str) -> str | None:
        known = [*self._items(), *self._aliases]
        parts = [nearest(name, known)] if known else [f"no plugin offers a {self._noun}"]
        if broken := ", ".join(record.name for record in self._host.broken):
            parts.append(f"not loaded: {broken} (see `bmerge plugins`)")
        return "; ".join(part for part in parts if part) or None

    def _items(self) -> dict[str, tuple[str, T]]:
        self._ask()
        return self._found

    def _ask(self, plugin: str | None = None) -> None:
        """Take what is offered by all plugins, or by those that are loaded and one more."""
        for name, item in self._host.offers(self._hook, plugin):
            self._take(name, item)

    def _take(self, plugin: str, item: Any) -> None:
        if not isinstance(item, self._kind):
            what = f"a {type(item).__name__}, not a {self._kind.__name__}"
            self._host.fail(plugin, f"plugin {plugin!r} offers {what}, in {self._hook}")
            return
        name: str = getattr(item, self._attribute)
        aliases = getattr(item, "aliases", ())
        # Those of an architecture are a mapping: other names of keys, not of itself.
        words = (name, *(aliases if isinstance(aliases, tuple) else ()))
        free = [word for word in words if self._is_free(plugin, word)]
        if name in free:
            self._found[name] = (plugin, item)
            self._aliases.update((word, name) for word in free if word != name)

    def _is_free(self, plugin: str, word: str) -> bool:
        """Tell whether no other plugin has a word; where one has, blame the one not of bmerge."""
        taken = self._found.get(self._aliases.get(word, word))
        if taken is None:
            return True
        record = self._host.record(plugin)
        blamed = taken[0] if record is not None and record.distribution == OWN else plugin
        message = f"plugins {taken[0]!r} and {plugin!r} both offer the {self._noun} {word!r}"
        hint = f"leave one out: -p no:{blamed}"
        self._clashes[word] = PluginError(message, plugin=blamed, hint=hint)
        self._host.fail(blamed, message, hint)
        return False
