"""One .safetensors file: its header, validated by the native core, as a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bmerge import _native
from bmerge.dtypes import BITS
from bmerge.errors import FormatError
from bmerge.formats.checkpoint import Checkpoint, TensorInfo
from bmerge.formats.table import LargeTable

__all__ = ["open_safetensors"]

LARGE = 1 << 16
"""Tensors; a file of more has a table that makes them when they are asked for."""
_TAGS = {tag: tag for tag in BITS}
"""Each dtype's one text: a header has one of its own for each tensor."""


def open_safetensors(path: Path, *, named: Path | None = None) -> Checkpoint:
    """Read the table of contents of one .safetensors file.

    Args:
        path: the file.
        named: what the user called it, if that is something else (its folder).

    Raises:
        FormatError: if the file cannot be read or breaks the specification.
    """
    try:
        header = _native.read_header(path)
    except _native.HeaderError as error:
        raise FormatError(_with_path(path, error), path=path, hint=_hint(path)) from error
    except _native.IoError as error:
        raise FormatError(_with_path(path, error), path=path) from error
    if len(header) > LARGE:
        tensors: Mapping[str, TensorInfo] = LargeTable(path, header, _TAGS)
        unknown = sorted(set(header.dtypes) - _TAGS.keys())
    else:
        rows = header.tensors
        unknown = [row[1] for row in rows if row[1] not in _TAGS]
        tensors = {
            key: TensorInfo(key, _TAGS[tag], shape, path, begin, end - begin)
            for key, tag, shape, begin, end in (rows if not unknown else ())
        }
    if unknown:
        key = next(key for key, tag, *_ in header.tensors if tag == unknown[0])
        message = f"{path}: tensor {key!r} has the unsupported dtype {unknown[0]}"
        raise FormatError(message, path=path, key=key)
    return Checkpoint(named or path, tensors, dict(header.metadata), origin=(path,))


def _with_path(path: Path, error: Exception) -> str:
    """Return the error's text, with the file's name before it unless it is in it."""
    text = str(error)
    return text if str(path) in text else f"{path}: {text}"


def _hint(path: Path) -> str | None:
    """Return what else a file that is not safetensors may be."""
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError:  # which the error tells
        return None
    if start.startswith((b"PK\x03\x04", b"\x80\x02")):
        return "this is a pickled checkpoint: give it the suffix .ckpt or .pt"
    if start.startswith(b"version https://git-lfs"):
        return "this is a Git LFS pointer: fetch the file itself with 'git lfs pull'"
    if start.lstrip()[:1] == b"<":
        return "this is a web page: the download needs another address or a login"
    return None
