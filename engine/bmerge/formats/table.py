"""The table of contents of a file of very many tensors, kept by the core in columns.

A million tensors take 60 MB there, and half a GB as a dictionary of Python objects. So each
:class:`.checkpoint.TensorInfo` is made when it is asked for.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, Mapping, Sequence, ValuesView
from pathlib import Path
from typing import overload

from bmerge import _native
from bmerge.formats.checkpoint import TensorInfo

__all__ = ["LargeTable", "Names"]


class LargeTable(Mapping[str, TensorInfo]):
    """Key → where it lies.

    Args:
        path: the file.
        header: its header.
        tags: of the dtypes that it has, each the one text for it.
    """

    def __init__(self, path: Path, header: _native.Header, tags: Mapping[str, str]) -> None:
        self._path = path
        self._header = header
        self._tags = tags
        self._last: TensorInfo | None = None

    def __len__(self) -> int:
        """Return the number of tensors."""
        return len(self._header)

    def __iter__(self) -> Iterator[str]:
        """Yield the keys, in the order of the file."""
        return map(self._header.name, range(len(self._header)))

    def __contains__(self, key: object) -> bool:
        """Tell whether there is a tensor of that name."""
        return isinstance(key, str) and key in self._header

    def __getitem__(self, key: str) -> TensorInfo:
        """Return a tensor; the last one is asked for again and again."""
        last = self._last
        if last is not None and (last.key is key or last.key == key):
            return last
        found = self._header.find(key)
        if found is None:
            raise KeyError(key)
        self._last = info = self._info(key, found)
        return info

    def values(self) -> _Values:
        """Return the tensors, in the order of the file."""
        return _Values(self)

    def items(self) -> _Items:
        """Return keys and tensors, in the order of the file."""
        return _Items(self)

    def infos(self) -> Iterator[TensorInfo]:
        """Yield the tensors, without a search for each."""
        rows = map(self._header.at, range(len(self._header)))
        return (self._info(key, place) for key, place in rows)

    def _info(self, key: str, place: tuple[str, tuple[int, ...], int, int]) -> TensorInfo:
        tag, shape, begin, nbytes = place
        return TensorInfo(key, self._tags[tag], shape, self._path, begin, nbytes)

    def keys(self) -> Names:
        """Return the keys, which have numbers too."""
        return Names(self, self._header)


class _Values(ValuesView[TensorInfo]):
    _mapping: LargeTable

    def __iter__(self) -> Iterator[TensorInfo]:
        return self._mapping.infos()


class _Items(ItemsView[str, TensorInfo]):
    _mapping: LargeTable

    def __iter__(self) -> Iterator[tuple[str, TensorInfo]]:
        return ((info.key, info) for info in self._mapping.infos())


class Names(KeysView[str], Sequence[str]):
    """The keys of a table: a set, and a sequence in the order of the file.

    Args:
        table: whose they are.
        header: its header.
    """

    def __init__(self, table: LargeTable, header: _native.Header) -> None:
        super().__init__(table)
        self._header = header

    def __eq__(self, other: object) -> bool:
        """Tell whether other keys are the same."""
        if isinstance(other, Names):
            return self._header.names_equal(other._header)
        return super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]  # as of other sets

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        """Return a key, or some."""
        if isinstance(index, int) and 0 <= index < len(self._header):
            return self._header.name(index)
        places = range(len(self))[index]
        if isinstance(places, range):
            return tuple(map(self._header.name, places))
        return self._header.name(places)
