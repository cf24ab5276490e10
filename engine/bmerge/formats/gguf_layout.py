"""A GGUF file that is to be written: one model, under the names that loaders of GGUF look for."""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from bmerge import _native
from bmerge.dtypes import BLOCKS, is_float, nbytes_of
from bmerge.errors import FormatError
from bmerge.formats.gguf import MAGIC, PLAIN, QUANTISED, SHAPE
from bmerge.formats.prefixes import kind_of, prefix_of
from bmerge.formats.wholes import whole_of

__all__ = ["GgufLayout"]

_TYPES = {dtype: kind for kind, dtype in (PLAIN | QUANTISED).items()}
_VERSION, _U32, _I32, _TEXT, _LIST = 3, 4, 5, 8, 9
_ALIGNMENT = 32
_FILE_TYPES = {
    "F32": 0, "F16": 1, "BF16": 32, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9,
    "Q4_K": 14, "Q5_K": 16, "Q6_K": 18,
}  # fmt: skip
"""What a file is called after the type of most of its elements."""
_ROW = 256
"""Elements of a row that a tensor has if its own are not whole blocks."""
_LONGEST_NAME = 127
_OTHERS = "write a .safetensors file; --prune leaves out what only training needs"


class GgufLayout:
    """Where everything goes; see :class:`.layout.Layout`.

    Args:
        path: of the file, for messages.
        tensors: key, tag and shape of each; tags are those of safetensors, and ggml's of blocks. A
            prefix of diffusion models is left out.
        metadata: of the file.

    Raises:
        FormatError: if there are parts of several models, or a dtype or name that GGUF has not.
    """

    def __init__(
        self,
        path: Path,
        tensors: Sequence[tuple[str, str, Sequence[int]]],
        metadata: Mapping[str, str],
    ) -> None:
        names = [_name(path, key) for key, _, _ in tensors]
        if len(set(names)) < len(names):
            raise FormatError(f"{path}: two tensors would get the same name", path=path)
        self.offsets: list[int] = []
        rows, shapes = [], []
        at = 0
        for name, (key, dtype, shape) in zip(names, tensors, strict=True):
            if dtype not in _TYPES:
                message = f"{path}: GGUF has no {dtype}, which {key!r} is of"
                hint = "--dtype bf16 converts it" if is_float(dtype) else _OTHERS
                raise FormatError(message, path=path, key=key, hint=hint)
            self.offsets.append(at)
            extents = _extents(dtype, shape)
            if extents != tuple(shape):
                shapes.append(_shape(name, shape))
            rows.append(_row(name, dtype, extents, at))
            at += nbytes_of(dtype, math.prod(shape))
            at += -at % _ALIGNMENT
        pairs = [*_pairs(names, _file_type(tensors), metadata), *shapes]
        start = MAGIC + struct.pack("<IQQ", _VERSION, len(rows), len(pairs))
        header = start + b"".join((*pairs, *rows))
        self._header = header + bytes(-len(header) % _ALIGNMENT)
        self.offsets = [len(self._header) + offset for offset in self.offsets]
        self.size = len(self._header) + at

    def finish(self, file: _native.OutputFile) -> None:
        """Write the header."""
        file.write_at(0, self._header)


def _name(path: Path, key: str) -> str:
    start = prefix_of(key)
    if kind_of(start) in {"control", "vae", "text"}:
        message = f"{path}: a GGUF file holds one model, not {key!r} beside a diffusion model"
        hint = "write the diffusion model alone: 'bmerge convert MODEL --parts unet -o FILE.gguf'"
        raise FormatError(message, path=path, key=key, hint=hint)
    name = key[len(start) :]
    if len(name.encode()) > _LONGEST_NAME:
        message = f"{path}: {name!r} is longer than the {_LONGEST_NAME} bytes that GGUF has"
        raise FormatError(message, path=path, key=key, hint="write a .safetensors file")
    return name


def _extents(dtype: str, shape: Sequence[int]) -> tuple[int, ...]:
    """Return the shape that a tensor has in the file: of rows of whole blocks."""
    elements, _ = BLOCKS.get(dtype, (1, 0))
    if shape and shape[-1] % elements:
        return math.prod(shape) // _ROW, _ROW
    return tuple(shape)


def _shape(name: str, shape: Sequence[int]) -> bytes:
    """Return the pair that tells a tensor's own shape."""
    listed = struct.pack(f"<IIQ{len(shape)}i", _LIST, _I32, len(shape), *shape)
    return _text(SHAPE + name) + listed


def _file_type(tensors: Sequence[tuple[str, str, Sequence[int]]]) -> int:
    elements: Counter[str] = Counter()
    for _, dtype, shape in tensors:
        elements[dtype] += math.prod(shape)
    return _FILE_TYPES[max(_FILE_TYPES, key=lambda dtype: elements[dtype])]


def _pairs(names: Sequence[str], file_type: int, metadata: Mapping[str, str]) -> list[bytes]:
    """Return the pairs of the header: what the model is, and the metadata as text."""
    whole = whole_of({"": names}, names)
    found = {} if whole is None or whole.gguf is None else {"general.architecture": whole.gguf}
    texts = {**{key: text for key, text in metadata.items() if key != "format"}, **found}
    numbers = {"general.quantization_version": 2, "general.file_type": file_type}
    order = sorted(texts, key=lambda key: (key != "general.architecture", key))
    return [
        *(_text(key) + struct.pack("<I", _TEXT) + _text(texts[key]) for key in order),
        *(_text(key) + struct.pack("<II", _U32, number) for key, number in numbers.items()),
    ]


def _row(name: str, dtype: str, shape: Sequence[int], offset: int) -> bytes:
    extents = tuple(reversed(shape)) or (1,)
    sizes = struct.pack(f"<I{len(extents)}Q", len(extents), *extents)
    return _text(name) + sizes + struct.pack("<IQ", _TYPES[dtype], offset)


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data
