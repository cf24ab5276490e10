"""Putting a set of shards into the place of what lies there, so that one of both is always whole.

All shards have appeared under names of their own before anything happens here. Then the steps
are, each of them one system call:

1. the index is replaced by one that names the new shards by those names: from here on the new
   set is what is read, before it the old one;
2. each shard gets its proper name too, as a second link, in the place of an old one;
3. the index is replaced by one that names these;
4. the first names, and what else the set takes the place of, go.

So an index never names a file of another set, wherever it ends.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from bmerge import _native
from bmerge.system import sync_folder

__all__ = ["appear", "remove", "replace_set"]


def appear(
    staged: Sequence[Path], shards: Sequence[Path], index: _native.OutputFile, *, sync: bool
) -> None:
    """Give shards their names where nothing has them, then let the index appear.

    Args:
        staged: the shards as they lie there.
        shards: their names.
        index: names these.
        sync: whether each step is to be on the disk before the next.

    Raises:
        OSError: if a shard cannot be renamed; none is left then.
        IoError: if the index cannot appear; no shard is left then.
    """
    try:
        for source, target in zip(staged, shards, strict=True):
            source.rename(target)
        if sync:
            sync_folder(shards[0].parent)
        index.commit(sync=sync)
    except BaseException:
        if not _names(Path(index.path), shards[0]):
            remove((*staged, *shards))
        raise


def replace_set(
    staged: Sequence[Path],
    shards: Sequence[Path],
    indices: tuple[_native.OutputFile, _native.OutputFile],
    old: Collection[Path],
    *,
    sync: bool,
) -> tuple[str, ...]:
    """Put shards and their index into the place of others.

    Args:
        staged: the shards as they lie there.
        shards: the names that they are to have.
        indices: one that names the shards as they lie there, one that names the others.
        old: what they take the place of.
        sync: whether each step is to be on the disk before the next.

    Returns:
        What the user should know: names that could not be given or removed.

    Raises:
        IoError: if the first index cannot appear; the old set is as it was, the new one gone.
    """
    first, last = indices
    try:
        first.commit(sync=sync)
    except BaseException:
        if not _names(Path(first.path), staged[0]):
            remove(staged)
        raise
    rest = [path for path in old if path != Path(first.path)]
    try:
        for source, target in zip(staged, shards, strict=True):
            target.unlink(missing_ok=True)
            target.hardlink_to(source)
        if sync:
            sync_folder(shards[0].parent)
        last.commit(sync=sync)
    except (OSError, _native.IoError) as error:
        if not _names(Path(last.path), shards[0]):
            reason = getattr(error, "strerror", None) or str(error)
            note = f"the shards are called {staged[0].name}, …: they cannot be renamed: {reason}"
            return (note, *remove(dict.fromkeys((*shards, *rest))))
    left = remove((*staged, *(path for path in rest if path not in shards)))
    if sync:
        sync_folder(shards[0].parent)
    return left


def remove(files: Iterable[Path]) -> tuple[str, ...]:
    """Remove files as far as that can be done; return notes about the others."""
    notes = []
    for file in files:
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            notes.append(f"{file} cannot be removed: {error.strerror}")
    return tuple(notes)


def _names(index: Path, shard: Path) -> bool:
    """Tell whether an index names a shard: an error may come after it has appeared."""
    name = json.dumps(shard.name, ensure_ascii=False).encode("utf-8", "backslashreplace")
    try:
        return name in index.read_bytes()
    except OSError:
        return False
