"""A matrix with rows and columns exchanged: the one thing that no ranges of a file are.

Layouts ask for it of one small matrix alone, the projection of a text encoder. So it is written
into a temporary file, which the rest of bmerge reads like any other.
"""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path

from bmerge.dtypes import SIZES
from bmerge.errors import FormatError
from bmerge.formats.checkpoint import Tensor, TensorInfo
from bmerge.formats.stored import read_bytes
from bmerge.temporaries import temporary_folder_until_exit, writing_within

__all__ = ["transposed"]

_known: dict[Hashable, Path] = {}
"""What has been transposed, with the state of its files → the transpose."""


def transposed(tensor: Tensor, key: str) -> TensorInfo:
    """Return the transpose of a matrix, which lies in a temporary file until the process ends.

    Args:
        tensor: a matrix that is stored as it is.
        key: what the transpose is called.

    Raises:
        FormatError: if it cannot be read or written.
    """
    rows, columns = tensor.shape
    try:
        file = _written(tensor)
    except OSError as error:
        raise FormatError(f"{tensor.file}: {error.strerror}", path=tensor.file) from error
    nbytes = tensor.numel * SIZES[tensor.dtype]
    return TensorInfo(key, tensor.dtype, (columns, rows), file, 0, nbytes)


def _written(tensor: Tensor) -> Path:
    """Write the transpose of a tensor, once as long as its files stay as they are."""
    status = [(file.stat().st_size, file.stat().st_mtime_ns) for file in tensor.files]
    kind = tensor, tuple(status)
    if kind not in _known:
        turned = _turned(read_bytes(tensor), tensor)
        folder = temporary_folder_until_exit("transposed")
        file = folder / tensor.file.name[:200]
        with writing_within(folder):
            file.write_bytes(turned)
        _known[kind] = file  # once it is whole
    return _known[kind]


def _turned(data: bytes, tensor: Tensor) -> bytearray:
    rows, columns = tensor.shape
    size = SIZES[tensor.dtype]
    turned = bytearray(len(data))
    for byte in range(size):
        into, numbers = memoryview(turned)[byte::size], memoryview(data)[byte::size]
        for row in range(rows):
            into[row::rows] = numbers[row * columns : (row + 1) * columns]
    return turned
