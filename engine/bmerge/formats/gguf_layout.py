"""A GGUF file that is to be written: one model, under the names that loaders of GGUF look for."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

from bmerge import _native
from bmerge.dtypes import SIZES
from bmerge.errors import FormatError
from bmerge.formats.gguf import MAGIC, PLAIN
from bmerge.formats.prefixes import kind_of, prefix_of
from bmerge.formats.wholes import whole_of

__all__ = ["GgufLayout"]

_TYPES = {dtype: kind for kind, dtype in PLAIN.items()}
_VERSION, _TEXT, _U32 = 3, 8, 4
_ALIGNMENT = 32
_FILE_TYPES = {"F32": 0, "F16": 1, "BF16": 32}
_LONGEST_NAME = 127


class GgufLayout:
    """Where everything goes; see :class:`.layout.Layout`.

    Args:
        path: of the file, for messages.
        tensors: key, safetensors tag and shape of each. A prefix of diffusion models is left out.
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
        rows = []
        at = 0
        for name, (key, dtype, shape) in zip(names, tensors, strict=True):
            if dtype not in _TYPES:
                message = f"{path}: GGUF has no {dtype}, which {key!r} is of"
                raise FormatError(message, path=path, key=key, hint="--dtype bf16 converts it")
            self.offsets.append(at)
            rows.append(_row(name, dtype, shape, at))
            at += math.prod(shape) * SIZES[dtype]
            at += -at % _ALIGNMENT
        pairs = _pairs(names, [dtype for _, dtype, _ in tensors], metadata)
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
    if kind_of(start) in {"vae", "text"}:
        message = f"{path}: a GGUF file holds one model, not {key!r} beside a diffusion model"
        hint = "write the diffusion model alone: 'bmerge convert MODEL --parts unet -o FILE.gguf'"
        raise FormatError(message, path=path, key=key, hint=hint)
    name = key[len(start) :]
    if len(name.encode()) > _LONGEST_NAME:
        message = f"{path}: {name!r} is longer than the {_LONGEST_NAME} bytes that GGUF has"
        raise FormatError(message, path=path, key=key)
    return name


def _pairs(names: Sequence[str], dtypes: Sequence[str], metadata: Mapping[str, str]) -> list[bytes]:
    """Return the pairs of the header: what the model is, and the metadata as text."""
    whole = whole_of({"": names}, names)
    found = {} if whole is None or whole.gguf is None else {"general.architecture": whole.gguf}
    texts = {**{key: text for key, text in metadata.items() if key != "format"}, **found}
    most = max(_FILE_TYPES, key=dtypes.count)
    numbers = {"general.quantization_version": 2, "general.file_type": _FILE_TYPES[most]}
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
