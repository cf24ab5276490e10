"""A checkpoint in another order, as a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bmerge import _native
from bmerge.errors import ExecutorError
from bmerge.formats import Checkpoint
from bmerge.formats.registry import lay_out
from bmerge.formats.target import new_output, target_of
from bmerge.rebasin.rule import ChannelRule
from bmerge.rebasin.structure import Order
from bmerge.rebasin.weights import dtype_of, in_order, raw

__all__ = ["write_in_order"]


def write_in_order(
    model: Checkpoint,
    rule: ChannelRule,
    orders: Mapping[str, Order],
    output: Path,
    *,
    metadata: Mapping[str, str],
) -> _native.OutputFile:
    """Write a checkpoint with its channels in another order, one tensor at a time.

    Weights of codes are decoded: scales of rows or blocks do not follow their channels.

    Args:
        model: the checkpoint.
        rule: its rule.
        orders: space → for each place the channel that comes there.
        output: the file's name, which says its format.
        metadata: of the file.

    Returns:
        The whole file under its temporary name: ``commit`` lets it appear, and it goes if
        nobody does.

    Raises:
        ExecutorError: if it cannot be written.
        FormatError: if the model cannot be read, or no file of that name be written.
    """
    rows = [(info.key, dtype_of(info), info.shape) for info in model.tensors.values()]
    try:
        layout = lay_out(output, rows, metadata)
        file = new_output(target_of(output), layout.size)
        for info, offset in zip(model.tensors.values(), layout.offsets, strict=True):
            array = in_order(raw(info), rule.axes.get(info.key, ()), orders)
            file.write_at(offset, np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        layout.finish(file)
    except _native.IoError as error:
        raise ExecutorError(f"cannot write {output}: {error}") from error
    return file
