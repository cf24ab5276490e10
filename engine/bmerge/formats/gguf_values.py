"""The key-value pairs at the start of a GGUF file, read with care."""

from __future__ import annotations

import struct
from typing import Any, BinaryIO

__all__ = ["Bytes", "GgufError", "read_pairs"]

_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q",
            11: "<q", 12: "<d"}  # fmt: skip
_TEXT, _LIST = 8, 9
_LONGEST = 1 << 16
"""Bytes of a name."""
_LONGEST_TEXT = 1 << 24
"""Bytes of text that is kept, such as a recipe; longer text is passed over."""
_KEPT = 64
"""Elements of a list that are kept; vocabularies and the like are passed over."""
_DEEPEST = 4


class GgufError(Exception):
    """A file is not sound; the text says how, without its path."""


class Bytes:
    """The bytes of a file, one after another.

    Args:
        file: open at its start.
        size: of the whole.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self.size = size
        self.at = 0

    def take(self, count: int) -> bytes:
        """Return the next bytes.

        Raises:
            GgufError: if there are not so many.
        """
        self._check(count)
        data = self._file.read(count)
        if len(data) < count:
            raise GgufError("has become shorter while it was read")
        self.at += count
        return data

    def skip(self, count: int) -> None:
        """Pass over bytes.

        Raises:
            GgufError: if there are not so many.
        """
        self._check(count)
        self.at += count
        self._file.seek(self.at)

    def number(self, size: int) -> int:
        """Return the next unsigned integer of 4 or 8 bytes."""
        return int.from_bytes(self.take(size), "little")

    def text(self) -> str:
        """Return the next text.

        Raises:
            GgufError: if it is longer than a name can be, or not UTF-8.
        """
        length = self.number(8)
        if length > _LONGEST:
            raise GgufError(f"has a name of {length} bytes")
        try:
            return self.take(length).decode()
        except UnicodeDecodeError as error:
            raise GgufError("has a name that is not UTF-8") from error

    def _check(self, count: int) -> None:
        if count > self.size - self.at:
            raise GgufError(f"truncated: its header goes on beyond its {self.size} bytes")


def read_pairs(data: Bytes, count: int) -> dict[str, Any]:
    """Return the pairs: numbers, texts and short lists as they are, None for what is longer.

    Args:
        data: the file, where they begin.
        count: how many they are.

    Raises:
        GgufError: if they are not sound.
    """
    if count > data.size:
        raise GgufError(f"names {count} entries, which it is too short for")
    pairs: dict[str, Any] = {}
    for _ in range(count):
        name = data.text()
        if name in pairs:
            raise GgufError(f"two entries are called {name!r}")
        pairs[name] = _value(data, data.number(4), 0)
    return pairs


def _value(data: Bytes, kind: int, depth: int) -> Any:
    if kind in _SCALARS:
        return struct.unpack(_SCALARS[kind], data.take(struct.calcsize(_SCALARS[kind])))[0]
    if kind == _TEXT:
        length = data.number(8)
        if length > _LONGEST_TEXT:
            data.skip(length)
            return None
        return data.take(length).decode(errors="backslashreplace")
    if kind == _LIST and depth < _DEEPEST:
        return _list(data, depth)
    raise GgufError(f"has an entry of type {kind}")


def _list(data: Bytes, depth: int) -> list[Any] | None:
    kind, count = data.number(4), data.number(8)
    if kind in _SCALARS:
        size = struct.calcsize(_SCALARS[kind])
        if count > _KEPT:
            data.skip(count * size)
            return None
    elif count > data.size:
        raise GgufError(f"has a list of {count} items, which it is too short for")
    if count <= _KEPT:
        return [_value(data, kind, depth + 1) for _ in range(count)]
    for _ in range(count):
        _value(data, kind, depth + 1)
    return None
