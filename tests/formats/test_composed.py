"""Tensors made of ranges of others, against what numpy makes of the same values."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bmerge.formats import ComposedTensor, TensorInfo
from bmerge.formats.composed import joined, reshaped, rows_of

FILE = Path("x.safetensors")
STORED = np.arange(60, dtype="f4")


def stored(key, shape, first):
    """Return a tensor that lies in the file from its element ``first`` on."""
    return TensorInfo(key, "F32", shape, FILE, 4 * first, 4 * int(np.prod(shape)))


def values(tensor):
    """Return what a tensor stands for, from its pieces."""
    if isinstance(tensor, TensorInfo):
        return STORED[tensor.offset // 4 :][: tensor.numel].reshape(tensor.shape)
    parts = [
        values(piece.tensor).reshape(-1)[piece.first : piece.first + piece.count]
        for piece in tensor.pieces
    ]
    return np.concatenate(parts).reshape(tensor.shape)


def test_rows_of_a_stored_tensor_lie_plainly_in_its_file():
    part = rows_of(stored("qkv", (6, 3), 10), "k", 2, 4)
    assert part == TensorInfo("k", "F32", (2, 3), FILE, 4 * 16, 24)


def test_swapped_halves_are_two_ranges_and_swapped_again_one():
    whole = stored("lin", (4, 3), 5)
    once = joined([rows_of(whole, "b", 2, 4), rows_of(whole, "a", 0, 2)], "swapped")
    assert isinstance(once, ComposedTensor)
    assert len(once.pieces) == 2
    assert (values(once) == np.roll(values(whole), 2, axis=0)).all()
    assert (once.nbytes, once.numel, once.files) == (48, 12, (FILE,))
    again = joined([rows_of(once, "b", 2, 4), rows_of(once, "a", 0, 2)], "lin")
    assert again == whole


def test_rows_across_pieces_are_those_of_the_whole():
    parts = [stored("q", (2, 3), 40), stored("k", (1, 3), 0), stored("v", (3, 3), 20)]
    whole = joined(parts, "qkv")
    expected = np.concatenate([values(part) for part in parts])
    assert (values(whole) == expected).all()
    for begin in range(6):
        for end in range(begin + 1, 7):
            part = rows_of(whole, "part", begin, end)
            assert part.shape == (end - begin, 3)
            assert (values(part) == expected[begin:end]).all()


def test_another_shape_has_the_same_elements():
    whole = joined([stored("q", (2, 3), 40), stored("k", (2, 3), 0)], "qk")
    assert (values(reshaped(whole, (3, 4))) == values(whole).reshape(3, 4)).all()
    assert reshaped(stored("q", (2, 3), 40), (6,)).offset == 160


def test_what_lies_side_by_side_in_two_files_is_not_one_range():
    first = stored("a", (2, 3), 0)
    other = TensorInfo("b", "F32", (2, 3), Path("y.safetensors"), 24, 24)
    whole = joined([first, other], "ab")
    assert isinstance(whole, ComposedTensor)
    assert [piece.tensor.file.name for piece in whole.pieces] == ["x.safetensors", "y.safetensors"]
