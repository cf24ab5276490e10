"""Tensors whose rows BOFT mixes with each other, some columns at a time.

Each column is turned by itself, so that a band of them takes a bounded amount of memory. It is
written row by row into its place.
"""

from __future__ import annotations

from typing import BinaryIO

import numpy as np

from bmerge.formats import rows_of
from bmerge.lora.arrays import Array, flat, read_array
from bmerge.lora.patched import PatchedTensor
from bmerge.lora.reparametrised import rotation_of

__all__ = ["is_mixed", "write_bands"]

_BAND = 1 << 22
"""Elements of a band: the fewer bands, the less often are a tensor's rows read."""
_ASIDE = 16
"""Columns that are rotated at once."""
_BLOCK = 1 << 19


def is_mixed(info: PatchedTensor) -> bool:
    """Tell whether all changes of a tensor are of BOFT, and made of each column alone."""
    return all(
        change.module.network == "BOFT"
        and not (change.is_bias or change.module.magnitude or change.place.turn)
        and change.channels is None
        and change.place.of is None
        for change in info.changes
    )


def write_bands(info: PatchedTensor, out: BinaryIO) -> None:
    """Write the values of a tensor of :func:`is_mixed` with its changes, in float32.

    Raises:
        FormatError: if a file cannot be read, or a rotation not be computed.
    """
    rows = info.shape[0]
    columns = info.numel // rows
    places = [change.place.rows or (0, rows) for change in info.changes]
    turns = [
        rotation_of(change.module, end - begin)
        for change, (begin, end) in zip(info.changes, places, strict=True)
    ]
    step = max(1, _BAND // rows)
    step -= step % _ASIDE if step > _ASIDE else 0
    room = np.empty(rows * min(step, columns), "f4")  # of all bands, one after another
    for first in range(0, columns, step):
        last = min(first + step, columns)
        values = room[: rows * (last - first)].reshape(rows, last - first)
        _fill(values, info, first, last)
        stored = values.copy() if len(turns) > 1 else values
        for change, (begin, end), turn in zip(info.changes, places, turns, strict=True):
            own = None if stored is values else stored[begin:end]
            turn(values[begin:end], own, change.weight)
        _write(out, values, first, columns)


def _write(out: BinaryIO, values: Array, first: int, columns: int) -> None:
    """Write some columns into their places."""
    if values.shape[1] == columns:
        out.write(values.data)
        return
    for row, line in enumerate(values):
        out.seek(4 * (row * columns + first))
        out.write(line.data)


def _fill(values: Array, info: PatchedTensor, first: int, last: int) -> None:
    """Read some columns of what is stored."""
    rows = info.shape[0]
    step = max(1, _BLOCK * rows // info.numel)
    for begin in range(0, rows, step):
        end = min(begin + step, rows)
        block = flat(read_array(rows_of(info.base, info.key, begin, end)))
        values[begin:end] = block[:, first:last]
