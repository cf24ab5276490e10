"""Sizes as people write them: ``512M``, ``4G``."""

from __future__ import annotations

import re

from bmerge.errors import ExecutorError

__all__ = ["parse_size"]

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_LARGEST = 2.0**63
_SIZE = r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?"


def parse_size(text: str) -> int:
    """Return a number of bytes from ``512M``, ``4G``, ``1.5GiB`` or plain digits.

    Units are powers of 1024.

    Raises:
        ExecutorError: if it is not a size.
    """
    match = re.fullmatch(_SIZE, text.strip(), re.IGNORECASE)
    if match is None:
        raise ExecutorError(f"{text!r} is not a size; write 512M or 4G")
    size = float(match[1]) * _UNITS[match[2].upper()]
    if size >= _LARGEST:
        raise ExecutorError(f"{text[:20]!r} is more than there is")
    if size < 1:
        raise ExecutorError(f"{text[:20]!r} is less than one byte")
    return int(size)
