"""Opening a checkpoint, whatever its format: the one door into :mod:`bmerge.formats`.

What a path is, is decided by its name, and for a folder by what lies in it; the reader of that
format then checks the bytes.
"""

from __future__ import annotations

import re
from pathlib import Path

from bmerge.errors import FormatError
from bmerge.formats.checkpoint import Checkpoint
from bmerge.formats.safetensors import open_safetensors
from bmerge.formats.sharded import open_sharded
from bmerge.formats.target import PICKLED_SUFFIXES
from bmerge.reading import check_regular

__all__ = ["open_checkpoint"]

_INDEX_SUFFIX = ".safetensors.index.json"
_SHARD = re.compile(r".*-\d{5,}-of-(\d{5,})(\..*)?\.safetensors")
_HINT = "give a .safetensors file, a *.safetensors.index.json, a .ckpt, or a folder with one"


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint's table of contents; no tensor data is read.

    Args:
        path: a .safetensors file, a shard index, a .ckpt or .pt file, or a folder that holds
            one index or else one .safetensors file.

    Raises:
        FormatError: if there is no such file, or it is not a sound checkpoint.
    """
    path = Path(path)
    if path.is_dir():
        return _open_file(_only_checkpoint_of(path), named=path)
    if not path.exists():
        raise FormatError(f"no such file: {path}", path=path, hint=_nearby(path))
    return _open_file(path, named=path)


def _open_file(path: Path, *, named: Path) -> Checkpoint:
    try:
        check_regular(path)
    except OSError as error:
        message = f"{path}: cannot be read as a checkpoint: {error.strerror}"
        raise FormatError(message, path=path) from error
    if path.name.endswith(_INDEX_SUFFIX):
        return open_sharded(path, named=named)
    if path.suffix.lower() in PICKLED_SUFFIXES:
        from bmerge.formats.pickled import open_pickled  # its imports take longer than most merges

        return open_pickled(path, named=named)
    return open_safetensors(path, named=named)


def _only_checkpoint_of(folder: Path) -> Path:
    """Return the index in a folder, or else its only .safetensors file."""
    for pattern in (f"*{_INDEX_SUFFIX}", "*.safetensors"):
        found = sorted(folder.glob(pattern))
        if len(found) == 1:
            return _whole(found[0])
        if found:
            names = ", ".join(file.name for file in found[:3])
            message = f"{folder} holds {len(found)} checkpoints ({names}, …)"
            raise FormatError(message, path=folder, hint="name one of the files")
    raise FormatError(f"no checkpoint in folder {folder}", path=folder, hint=_HINT)


def _whole(path: Path) -> Path:
    """Return a file that is the only one in its folder, unless others of its set are missing."""
    shard = _SHARD.fullmatch(path.name)
    if shard and int(shard[1]) > 1:
        message = f"{path.parent} holds {path.name}, one of {int(shard[1])} shards, and no index"
        hint = "download all files of the model, the *.safetensors.index.json too"
        raise FormatError(message, path=path.parent, hint=hint)
    return path


def _nearby(path: Path) -> str | None:
    """Return a hint with the checkpoints that lie where ``path`` should be."""
    if not path.parent.is_dir():
        return f"the folder {path.parent} does not exist"
    names = sorted(file.name for file in path.parent.glob("*.safetensors"))
    return f"{path.parent} has {', '.join(names[:5])}" if names else None
