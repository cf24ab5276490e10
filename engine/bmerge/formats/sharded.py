"""A checkpoint in several files with a Hugging Face index beside them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

from bmerge.errors import FormatError
from bmerge.formats.checkpoint import Checkpoint, Tensor
from bmerge.reading import check_regular

__all__ = ["open_sharded"]

_LARGEST_INDEX = 100_000_000
"""Bytes; the specification's own limit for a header."""


Opening: TypeAlias = "Callable[[Path], Checkpoint]"


def open_sharded(path: Path, opening: Opening, *, named: Path | None = None) -> Checkpoint:
    """Read the table of contents of a sharded checkpoint.

    Keys are in the order of the index. Every key must lie in the shard that the index names.

    Args:
        path: the ``*.safetensors.index.json``, or that of a variant or of pickled shards.
        opening: opens one shard.
        named: what the user called it, if that is something else (its folder).

    Raises:
        FormatError: if the index or a shard is missing or broken, or they do not agree.
    """
    weight_map = _read_weight_map(path)
    shards = {name: _open_shard(path, name, opening) for name in dict.fromkeys(weight_map.values())}
    tensors = {key: _find(path, key, name, shards[name]) for key, name in weight_map.items()}
    metadata = {key: value for shard in shards.values() for key, value in shard.metadata.items()}
    return Checkpoint(named or path, tensors, metadata)


def _read_weight_map(path: Path) -> dict[str, str]:
    """Return key → file name from an index."""
    try:
        if path.stat().st_size > _LARGEST_INDEX:
            raise FormatError(f"{path}: index larger than {_LARGEST_INDEX} bytes", path=path)
        index: Any = json.loads(path.read_bytes())
    except OSError as error:
        raise FormatError(f"{path}: {error.strerror}", path=path) from error
    except RecursionError as error:
        raise FormatError(f"{path}: not a JSON index: nested too deeply", path=path) from error
    except ValueError as error:  # Python adds how its limit of digits can be raised
        reason = str(error).partition("; use sys.")[0]
        raise FormatError(f"{path}: not a JSON index: {reason}", path=path) from error
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise FormatError(f"{path}: the index has no 'weight_map'", path=path)
    if not all(isinstance(name, str) for name in weight_map.values()):
        raise FormatError(f"{path}: 'weight_map' must map keys to file names", path=path)
    return weight_map


def _open_shard(index: Path, name: str, opening: Opening) -> Checkpoint:
    """Open one shard; names that lead out of the index's folder are refused."""
    if PurePosixPath(name).name != name or "\\" in name or name in {"", ".", ".."}:
        raise FormatError(f"{index}: shard name {name!r} is not a plain file name", path=index)
    if name.endswith(".json"):  # it might be this index again
        raise FormatError(f"{index}: shard {name!r} would be an index of its own", path=index)
    path = index.parent / name
    try:
        check_regular(path)
    except FileNotFoundError as error:
        message = f"{index}: shard {name} is missing"
        hint = "download all files of the model"
        raise FormatError(message, path=index, hint=hint) from error
    except OSError as error:
        message = f"{index}: shard {name} cannot be read: {error.strerror}"
        raise FormatError(message, path=index) from error
    return opening(path)


def _find(index: Path, key: str, name: str, shard: Checkpoint) -> Tensor:
    try:
        return shard.tensors[key]
    except KeyError:
        message = f"{index}: tensor {key!r} is not in {name}, where the index says it is"
        raise FormatError(message, path=index, key=key) from None
