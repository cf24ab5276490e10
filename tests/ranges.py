"""Models without weights: which bytes of which file each tensor is made of, by whatever name.

A layout that is written into a file has offsets of its own; ``Written.origin`` follows them back to
the bytes of the model that it was made of. So two files of one model can be compared in any
layouts, at their true shapes, by what their tensors are made of.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from pathlib import Path

from bmerge.formats import Checkpoint, TensorInfo
from bmerge.formats.composed import pieces_of
from bmerge.formats.layouts import layout_of, other_layouts

__all__ = ["Written", "forms_of", "ranges_of"]


def ranges_of(tensor):
    """Return what a tensor is made of: first and last byte, one range after another."""
    found = []
    for piece in pieces_of(tensor):
        stored = piece.tensor
        size = stored.nbytes // max(1, stored.numel)
        begin = stored.offset + piece.first * size
        if found and found[-1][1] == begin:
            begin = found.pop()[0]
        found.append((begin, stored.offset + (piece.first + piece.count) * size))
    return tuple(found)


def forms_of(tensors):
    """Return name of a layout → a model's tensors in it, for all that are known of it."""
    found = {layout_of(tensors) or "only": tensors}
    for name, converted in other_layouts(tensors):
        found.setdefault(name, converted)
    return found


@dataclass(frozen=True)
class Written:
    """A model in a file of its own.

    Args:
        checkpoint: its table of contents.
        starts: where its tensors begin.
        made_of: the ranges of the model that they were made of.
    """

    checkpoint: Checkpoint
    starts: tuple[int, ...]
    made_of: tuple[tuple[tuple[int, int], ...], ...]

    @classmethod
    def of(cls, name, tensors, prefix=""):
        """Write tensors into a file, with a prefix before their names."""
        table, starts, file = {}, [0], Path(name)
        for key, tensor in tensors.items():
            size = 2 * tensor.numel
            info = TensorInfo(prefix + key, "BF16", tensor.shape, file, starts[-1], size)
            table[info.key] = info
            starts.append(starts[-1] + size)
        made_of = tuple(map(ranges_of, tensors.values()))
        return cls(Checkpoint(file, table), tuple(starts), made_of)

    def origin(self, tensor):
        """Return the ranges of the first model that a tensor of this file is made of."""
        found = []
        for first, last in ranges_of(tensor):
            at = first
            while at < last:
                index = bisect_right(self.starts, at) - 1
                place = self.starts[index]
                for begin, end in self.made_of[index]:
                    low, high = max(at, place), min(last, place + end - begin)
                    if low < high:
                        found.append((begin + low - place, begin + high - place))
                    place += end - begin
                at = place
        joined = []
        for begin, end in found:
            start = joined.pop()[0] if joined and joined[-1][1] == begin else begin
            joined.append((start, end))
        return tuple(joined)


def without_prefix(tensors, prefix):
    """Return tensors of a part by their names in it."""
    return {
        key.removeprefix(prefix): replace(tensor, key=key.removeprefix(prefix))
        for key, tensor in tensors.items()
        if key.startswith(prefix)
    }
