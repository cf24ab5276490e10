"""Where storages of plugins come from: the host says so, long before any is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bmerge.storage.protocol import StorageKind

__all__ = ["offer", "offered"]


def offer(kinds: Callable[[], Iterable[StorageKind]]) -> None:
    """Say what offers storages, those of this process's plugins."""
    global _offered  # noqa: PLW0603  the plugins of this process
    _offered = kinds


def offered() -> Iterable[StorageKind]:
    """Return the storages that plugins offer."""
    return _offered()


def _none() -> Iterable[StorageKind]:
    return ()


_offered: Callable[[], Iterable[StorageKind]] = _none
