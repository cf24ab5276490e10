"""Reads the body of an answer: no more of it than can be meant, and JSON that can be walked."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from bmerge import GeneratorError
from bmerge_plugins.servers.faults import one_line

if TYPE_CHECKING:
    import httpx2

__all__ = ["decode_json", "read_body"]

_LARGEST = 1 << 28  # bytes: a picture of 8192 x 8192 in base64 has room
_DEEPEST = 100  # objects and lists within each other
_PIECE = 1 << 20


def read_body(response: httpx2.Response, what: str) -> bytes:
    """Return the whole body, unpacked.

    Args:
        response: of which only the headers have been read.
        what: the request, for messages.

    Raises:
        GeneratorError: if it is larger than any picture, or packed in a way not asked for.
    """
    pieces, size = [], 0
    for piece in _unpacked(response, what):
        size += len(piece)
        if size > _LARGEST:
            message = f"{what}: the answer is larger than {_LARGEST >> 20} MiB"
            raise GeneratorError(message, blame="surroundings")
        pieces.append(piece)
    return b"".join(pieces)


def decode_json(content: bytes, what: str, redact: Callable[[str], str]) -> Any:
    """Return what JSON says, None for nothing.

    Args:
        content: an answer's body.
        what: the request, for messages.
        redact: strikes secrets out of what is quoted.

    Raises:
        GeneratorError: transient, if it is not JSON, or is nested as no answer is.
    """
    if not content.strip():
        return None
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        text = one_line(redact(content[:80].decode(errors="replace")))
        # What a proxy says while its server starts, or the first half of an answer.
        message = f"{what}: the answer is not JSON: {text}"
        raise GeneratorError(message, transient=True) from None
    if _is_deep(value):  # whatever walks it, or prints it, would end in a recursion's limit
        message = f"{what}: the answer is nested more than {_DEEPEST} levels deep"
        raise GeneratorError(message, transient=True)
    return value


def _unpacked(response: httpx2.Response, what: str) -> Iterator[bytes]:
    """Yield the body piece by piece; a piece is never much larger than its limit."""
    coding = response.headers.get("Content-Encoding", "").strip().lower()
    if coding in ("", "identity"):
        yield from response.iter_raw()
        return
    if coding not in ("gzip", "x-gzip"):
        message = f"{what}: the answer is packed as {one_line(coding)!r}, not as was asked"
        raise GeneratorError(message, blame="surroundings")
    unpacker = zlib.decompressobj(wbits=31)
    try:
        for piece in response.iter_raw():
            rest = piece
            while rest and not unpacker.eof:
                yield unpacker.decompress(rest, _PIECE)
                rest = unpacker.unconsumed_tail
    except zlib.error as error:
        raise GeneratorError(f"{what}: the answer cannot be unpacked", transient=True) from error
    if not unpacker.eof:
        raise GeneratorError(f"{what}: the packed answer was cut", transient=True)


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(_DEEPEST):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return False
    return True


def _inside(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value
