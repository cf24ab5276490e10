"""The architectures that plugins offer, and bmerge's own."""

from __future__ import annotations

from typing import Any

from bmerge.architectures import Architecture, Outline, whole
from bmerge.errors import ArchitectureError
from bmerge.host.catalogue import Catalogue
from bmerge.host.manager import PluginHost

__all__ = ["Architectures"]


class Architectures(Catalogue[Architecture]):
    """Architectures by id; bmerge's own are outlines until they are looked up.

    Args:
        host: whose plugins are asked.
    """

    def __init__(self, host: PluginHost) -> None:
        super().__init__(
            host,
            "bmerge_architectures",
            noun="architecture",
            kind=Architecture,
            attribute="id",
            error=ArchitectureError,
        )

    def __getitem__(self, name: str) -> Architecture:
        return whole(super().__getitem__(name))

    def find(self, name: str) -> Architecture:
        """Return the architecture of an id; see :meth:`Catalogue.find`."""
        return whole(super().find(name))

    @property
    def known(self) -> list[Architecture | Outline]:
        """What a checkpoint's architecture may be, by id; none is made."""
        items = self._items()
        return [items[name][1] for name in sorted(items)]

    def _take(self, plugin: str, item: Any) -> None:
        found = plugin, item
        if isinstance(item, Outline):  # bmerge's own, which are asked for first
            self._found[item.id] = found
        else:
            super()._take(plugin, item)
