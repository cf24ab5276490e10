"""A file as ``torch.save`` writes it: a zip archive of a pickle and of each tensor's bytes.

Its members are stored as they are, each tensor at a multiple of 64 bytes, so all places are known
beforehand. The checksums are computed when the tensors are there.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from bmerge import _native
from bmerge.dtypes import SIZES
from bmerge.errors import FormatError
from bmerge.formats.torch_pickle import state_dict_pickle
from bmerge.records import dataclass

__all__ = ["TorchLayout"]

_FOLDER = "archive"
_ALIGNED = 64
_LARGE = 0xFFFFFFFF
_MANY = 0xFFFF
_DATE = 0x0021
"""The first of January 1980, the earliest that an archive can tell: always the same bytes."""
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class _Member:
    """One file of the archive.

    Args:
        name: in the archive.
        header: first byte of its header.
        begin: first byte of its content.
        size: bytes of its content.
    """

    name: bytes
    header: int
    begin: int
    size: int

    def local(self, crc: int) -> bytes:
        """Return its header, up to its content."""
        zip64 = struct.pack("<HHQQ", 1, 16, self.size, self.size) if self.size >= _LARGE else b""
        room = self.begin - self.header - 30 - len(self.name) - len(zip64)
        extra = zip64 + struct.pack("<2sH", b"FB", room - 4) + b"Z" * (room - 4)
        size = min(self.size, _LARGE)
        fixed = (0x04034B50, 45 if zip64 else 20, 0, 0, 0, _DATE, crc, size, size)
        lengths = (len(self.name), len(extra))
        return struct.pack("<IHHHHHIIIHH", *fixed, *lengths) + self.name + extra

    def central(self, crc: int) -> bytes:
        """Return its entry in the directory."""
        size, header = min(self.size, _LARGE), min(self.header, _LARGE)
        large = [self.size] * 2 * (size == _LARGE) + [self.header] * (header == _LARGE)
        extra = struct.pack(f"<HH{len(large)}Q", 1, 8 * len(large), *large) if large else b""
        version = 45 if large else 20
        fixed = (0x02014B50, version, version, 0, 0, 0, _DATE, crc, size, size)
        rest = (len(self.name), len(extra), 0, 0, 0, 0, header)
        return struct.pack("<IHHHHHHIIIHHHHHII", *fixed, *rest) + self.name + extra


class TorchLayout:
    """A file that ``torch.load(weights_only=True)`` opens; see :class:`.layout.Layout`.

    Args:
        path: of the file, for messages.
        tensors: key, tag and shape of each.
        metadata: of the file.

    Raises:
        FormatError: if there is a dtype that torch has not.
    """

    def __init__(
        self,
        path: Path,
        tensors: Sequence[tuple[str, str, Sequence[int]]],
        metadata: Mapping[str, str],
    ) -> None:
        for key, dtype, _ in tensors:
            if dtype not in SIZES:
                message = f"{path}: torch has no {dtype}, which {key!r} is of"
                hint = "write a .safetensors file"
                raise FormatError(message, path=path, key=key, hint=hint)
        self._pickle = state_dict_pickle(tensors, metadata)
        sizes = [math.prod(shape) * SIZES[dtype] for _, dtype, shape in tensors]
        self._members: list[_Member] = []
        self._add("data.pkl", len(self._pickle))
        for number, size in enumerate(sizes):
            self._add(f"data/{number}", size)
        self._add("version", len(_VERSION))
        self.offsets = [member.begin for member in self._members[1:-1]]
        last = self._members[-1]
        self._directory = last.begin + last.size
        self.size = self._directory + len(self._tail([0] * len(self._members)))

    def finish(self, file: _native.OutputFile) -> None:
        """Write all but the tensors, whose bytes are read for their checksums."""
        small = {0: self._pickle, len(self._members) - 1: _VERSION}
        checksums = []
        with Path(file.temporary_path).open("rb", buffering=0) as written:
            for number, member in enumerate(self._members):
                if number in small:
                    file.write_at(member.begin, small[number])
                    checksums.append(zlib.crc32(small[number]))
                else:
                    checksums.append(_checksum(written, member))
                file.write_at(member.header, member.local(checksums[-1]))
        file.write_at(self._directory, self._tail(checksums))

    def _add(self, name: str, size: int) -> None:
        """Place a member after those that there are."""
        before = self._members[-1] if self._members else _Member(b"", 0, 0, 0)
        header = before.begin + before.size
        path = f"{_FOLDER}/{name}".encode()
        least = header + 30 + len(path) + 4 + (20 if size >= _LARGE else 0)
        begin = -(-least // _ALIGNED) * _ALIGNED
        self._members.append(_Member(path, header, begin, size))

    def _tail(self, checksums: Sequence[int]) -> bytes:
        """Return the directory of the archive and what ends it."""
        pairs = zip(self._members, checksums, strict=True)
        directory = b"".join(member.central(crc) for member, crc in pairs)
        count, begin = len(self._members), self._directory
        end = begin + len(directory)
        large = b""
        if count >= _MANY or begin >= _LARGE or len(directory) >= _LARGE:
            fixed = (0x06064B50, 44, 45, 45, 0, 0, count, count, len(directory), begin)
            large = struct.pack("<IQHHIIQQQQ", *fixed) + struct.pack("<IIQI", 0x07064B50, 0, end, 1)
        numbers = (min(count, _MANY),) * 2
        places = (min(len(directory), _LARGE), min(begin, _LARGE))
        return directory + large + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, *numbers, *places, 0)


_VERSION = b"3\n"


def _checksum(file: BinaryIO, member: _Member) -> int:
    crc, left = 0, member.size
    file.seek(member.begin)
    while left and (data := file.read(min(left, _CHUNK))):
        crc = zlib.crc32(data, crc)
        left -= len(data)
    return crc
