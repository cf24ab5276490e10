"""The bytes of small tensors, read into memory."""

from __future__ import annotations

from bmerge.errors import FormatError
from bmerge.formats.checkpoint import Tensor, TensorInfo
from bmerge.formats.composed import runs_of

__all__ = ["read_bytes"]


def read_bytes(tensor: Tensor, most: int | None = None) -> bytes:
    """Read the bytes that a tensor is.

    Args:
        tensor: as it is read.
        most: how many of them at most.

    Raises:
        FormatError: if a file cannot be read or has become shorter, or the tensor must be decoded.
    """
    runs = runs_of(tensor)
    if runs is None:
        message = f"{tensor.file}: {tensor.key!r} is not stored as {tensor.dtype}"
        raise FormatError(message, path=tensor.file, key=tensor.key)
    left = sum(run.nbytes for run in runs) if most is None else most
    parts: list[bytes] = []
    for run in runs:
        wanted = min(left, run.nbytes)
        parts.append(_read(run, wanted))
        left -= wanted
    return b"".join(parts)


def _read(run: TensorInfo, count: int) -> bytes:
    try:
        with run.file.open("rb") as file:
            file.seek(run.offset)
            data = file.read(count)
    except OSError as error:
        raise FormatError(f"{run.file}: {error.strerror}", path=run.file) from error
    if len(data) < count:
        message = f"{run.file} is shorter than it was: {run.key!r} ends beyond it"
        raise FormatError(message, path=run.file, key=run.key)
    return data
