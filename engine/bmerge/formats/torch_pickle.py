"""The pickle in a file of torch, written without torch: a state dict whose tensors lie elsewhere.

Only opcodes and names that ``torch.load(weights_only=True)`` allows. The metadata is an attribute
of the ordered dict, as torch's own ``_metadata`` is, so that its keys are those of the model.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence

from bmerge.dtypes import SIZES, TAGS

__all__ = ["METADATA", "state_dict_pickle"]

METADATA = "bmerge_metadata"
"""Name of the attribute that holds a file's string map."""

_STORAGES = {
    "F64": "DoubleStorage", "F32": "FloatStorage", "F16": "HalfStorage",
    "BF16": "BFloat16Storage", "I64": "LongStorage", "I32": "IntStorage", "I16": "ShortStorage",
    "I8": "CharStorage", "U8": "ByteStorage", "BOOL": "BoolStorage",
}  # fmt: skip
_NAMES = {tag: name for name, tag in TAGS.items()}
_DICT = ("collections", "OrderedDict")


def state_dict_pickle(
    tensors: Sequence[tuple[str, str, Sequence[int]]], metadata: Mapping[str, str]
) -> bytes:
    """Return the pickle of a state dict, of protocol 2 as torch writes it.

    Args:
        tensors: key, safetensors tag and shape; the bytes of number n are in ``data/n``.
        metadata: of the file; its entries are sorted.
    """
    pickle = _Pickle()
    pickle.named(_DICT)
    pickle.add(b")R(")
    for number, (key, dtype, shape) in enumerate(tensors):
        pickle.text(key)
        pickle.tensor(str(number), dtype, shape)
    pickle.add(b"u}")
    pickle.text(METADATA)
    pickle.add(b"}(")
    for name in sorted(metadata):
        pickle.text(name)
        pickle.text(metadata[name])
    pickle.add(b"usb.")
    return pickle.joined()


class _Pickle:
    """The opcodes written so far."""

    def __init__(self) -> None:
        self._parts = [b"\x80\x02"]
        self._memo: dict[tuple[str, str], int] = {}

    def joined(self) -> bytes:
        return b"".join(self._parts)

    def add(self, opcodes: bytes) -> None:
        self._parts.append(opcodes)

    def named(self, name: tuple[str, str]) -> None:
        """Push what a module calls so; from the second time on, by its number."""
        if name in self._memo:
            self.add(b"h" + bytes([self._memo[name]]))
            return
        self._memo[name] = len(self._memo)
        self.add(f"c{name[0]}\n{name[1]}\nq".encode() + bytes([self._memo[name]]))

    def text(self, text: str) -> None:
        data = text.encode("utf-8", "surrogatepass")
        self.add(b"X" + struct.pack("<I", len(data)) + data)

    def integer(self, value: int) -> None:
        if value < 1 << 31:
            self.add(b"J" + struct.pack("<i", value))
        else:
            data = value.to_bytes(value.bit_length() // 8 + 1, "little")
            self.add(b"\x8a" + bytes([len(data)]) + data)

    def integers(self, values: Sequence[int]) -> None:
        """Push a tuple."""
        self.add(b"(")
        for value in values:
            self.integer(value)
        self.add(b"t")

    def tensor(self, storage: str, dtype: str, shape: Sequence[int]) -> None:
        """Push a call that makes a contiguous tensor of the whole of a storage."""
        known = dtype in _STORAGES
        count = math.prod(shape) * (1 if known else SIZES[dtype])
        self.named(("torch._utils", "_rebuild_tensor_v2" if known else "_rebuild_tensor_v3"))
        self.add(b"((")
        self.text("storage")
        self.named(("torch", _STORAGES[dtype]) if known else ("torch.storage", "UntypedStorage"))
        self.text(storage)
        self.text("cpu")
        self.integer(count)
        self.add(b"tQ")
        self.integer(0)
        self.integers(shape)
        self.integers([math.prod(shape[axis + 1 :]) for axis in range(len(shape))])
        self.add(b"\x89")
        self.named(_DICT)
        self.add(b")R")
        if not known:
            self.named(("torch", _NAMES[dtype]))
        self.add(b"tR")
