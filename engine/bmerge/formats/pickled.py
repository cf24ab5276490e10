"""A .ckpt or .pt file as a checkpoint: its tensors are read where they lie, without torch.

``torch.save`` writes a zip archive whose members are stored as they are, so the pickle in it
only has to tell which member is which tensor. That pickle is read by :mod:`.unpickle`, which
runs no code of the file. What cannot be read in place (the format before torch 1.6, compressed
members, tensors that are not contiguous) is unpacked by :mod:`.spool`.
"""

from __future__ import annotations

import math
import pickle
import re
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from bmerge.dtypes import SIZES
from bmerge.errors import FormatError
from bmerge.formats.checkpoint import Checkpoint, TensorInfo
from bmerge.formats.spool import DENSE, spool
from bmerge.formats.state_dict import state_dict_of
from bmerge.formats.torch_pickle import METADATA
from bmerge.formats.unpickle import OrderedDict, StoredTensor, unpickle
from bmerge.logs import logger

__all__ = ["open_pickled"]

_LARGEST_PICKLE = 1 << 28
"""Bytes; that of SDXL with its optimiser has less than 10 MB."""


_CAST = "save the model with floats of 64 bits or fewer, or integers"
_NAMED = 5
"""How many names of what a file holds are told."""


class _NotStreamableError(Exception):
    """The tensors do not lie in the file as bmerge reads them."""


def open_pickled(path: Path, *, named: Path | None = None) -> Checkpoint:
    """Read the table of contents of a file that ``torch.save`` wrote.

    Args:
        path: the file.
        named: what the user called it, if that is something else.

    Raises:
        FormatError: if the file cannot be read or holds no tensors.
    """
    try:
        tensors, metadata = _contents(path)
    except _NotStreamableError as reason:
        message = "%s cannot be streamed (%s): unpacking it into a temporary file"
        logger(__name__).warning(message, path, reason)
        return spool(path, named=named or path)
    except OSError as error:
        raise FormatError(f"{path}: {error.strerror}", path=path) from error
    return Checkpoint(named or path, tensors, metadata)


def _contents(path: Path) -> tuple[dict[str, TensorInfo], dict[str, str]]:
    """Return where each tensor of the state dict lies, and the metadata that bmerge wrote."""
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            raise _NotStreamableError("the format of torch before 1.6")
        records = _records(path, file)
        _refuse_big_endian(file, records)
        state_dict = _state_dict(path, file, records)
    tensors = {
        key: _locate(path, key, value, records)
        for key, value in state_dict.items()
        if isinstance(value, StoredTensor) and isinstance(key, str)
    }
    if not tensors:
        names = ", ".join(f"{name!r}" for name in list(state_dict)[:_NAMED])
        hint = f"it holds {names}: save the one that is the model alone" if names else None
        raise FormatError(f"{path}: holds no tensors", path=path, hint=hint)
    return tensors, _metadata(state_dict)


def _refuse_big_endian(file: BinaryIO, records: Mapping[str, tuple[int, int]]) -> None:
    """Leave a file to torch if it says that its numbers begin with their highest byte."""
    begin, size = records.get("byteorder", (0, 0))
    file.seek(begin)
    if size and file.read(min(size, 8)) != b"little":
        raise _NotStreamableError("the byte order of another machine")


def _metadata(state_dict: Mapping[object, object]) -> dict[str, str]:
    attributes = state_dict.attributes if isinstance(state_dict, OrderedDict) else None
    found = (attributes or {}).get(METADATA)
    entries = found.items() if isinstance(found, dict) else ()
    return {str(k): str(v) for k, v in entries if _is_unicode(k) and _is_unicode(v)}


def _is_unicode(text: object) -> bool:
    """Tell whether something is text that can be written anywhere; pickles allow other text."""
    return isinstance(text, str) and not re.search("[\ud800-\udfff]", text)


def _records(path: Path, file: BinaryIO) -> dict[str, tuple[int, int]]:
    """Return (offset, size) of each member's bytes, by its name within the archive's folder."""
    try:
        members = zipfile.ZipFile(file).infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
        message = f"{path}: not a sound torch file, perhaps truncated: {error}"
        raise FormatError(message, path=path) from error
    size = path.stat().st_size
    records = {}
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED:
            raise _NotStreamableError("compressed")
        begin = -1
        if 0 <= member.header_offset <= size - 30:
            file.seek(member.header_offset + 26)
            begin = member.header_offset + 30 + sum(struct.unpack("<HH", file.read(4)))
        if begin < 0 or begin + member.file_size > size:
            raise FormatError(f"{path}: truncated within {member.filename!r}", path=path)
        records[member.filename.partition("/")[2]] = (begin, member.file_size)
    return records


def _state_dict(
    path: Path, file: BinaryIO, records: Mapping[str, tuple[int, int]]
) -> Mapping[object, object]:
    """Return the state dict, which lies within other mappings in checkpoints of trainers."""
    if "data.pkl" not in records:
        raise FormatError(f"{path}: a zip archive, but not of torch", path=path)
    offset, size = records["data.pkl"]
    if size > _LARGEST_PICKLE:
        raise FormatError(f"{path}: its pickle of {size} bytes is implausibly large", path=path)
    file.seek(offset)
    try:
        content = unpickle(file.read(size))
    except (pickle.UnpicklingError, MemoryError) as error:
        raise FormatError(f"{path}: its pickle cannot be read: {error}", path=path) from error
    inner = state_dict_of(content, StoredTensor)
    if inner is None:
        raise FormatError(f"{path}: holds no state dict", path=path)
    return inner


def _locate(
    path: Path, key: str, tensor: StoredTensor, records: Mapping[str, tuple[int, int]]
) -> TensorInfo:
    """Return where a tensor's bytes lie, if they lie in one piece."""
    if not _is_unicode(key):
        message = f"{path}: the name of tensor {key!r} is not Unicode"
        raise FormatError(message, path=path, key=key)
    if not tensor.storage:
        message = f"{path}: {key!r} is a {tensor.dtype}, which is not read"
        raise FormatError(message, path=path, key=key, hint=DENSE)
    if tensor.dtype not in SIZES:
        message = f"{path}: tensor {key!r} has the unsupported dtype {tensor.dtype}"
        raise FormatError(message, path=path, key=key, hint=_CAST)
    if not tensor.contiguous:
        raise _NotStreamableError(f"{key} is not contiguous")
    if tensor.turned:
        raise _NotStreamableError(f"{key} is to be negated or conjugated")
    item = SIZES[tensor.dtype]
    begin, size = records.get(f"data/{tensor.storage}", (0, -1))
    start, nbytes = tensor.offset * item, math.prod(tensor.shape) * item
    if start < 0 or start + nbytes > size:
        message = f"{path}: tensor {key!r} reaches beyond its storage"
        raise FormatError(message, path=path, key=key)
    return TensorInfo(key, tensor.dtype, tensor.shape, path, begin + start, nbytes)
