"""What the machine can do at best, so that a ratio can be judged on any: ``roofline(folder)``.

A merge is bound by one of these: copying memory, the kernel's copies between the page cache and a
process, or the pages that are touched for the first time. All are measured with one thread and
with two, on the file system of the benchmark's own folder, and told in GB/s of bytes moved once.
"""

from __future__ import annotations

import mmap
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

__all__ = ["roofline"]

_SIZE = 256 << 20
_PIECE = 1 << 20
_ROUNDS = 5

Work = Callable[[int, int], None]
"""Does the bytes from the first up to the second."""


def roofline(folder: Path) -> list[str]:
    """Measure, in some seconds, and return lines of a table.

    Args:
        folder: where a file of 256 MB is written for it.
    """
    source, target = np.ones(_SIZE, np.uint8), np.ones(_SIZE, np.uint8)
    path = folder / "roofline.bin"
    path.write_bytes(source.data)
    file = os.open(path, os.O_RDWR)
    try:
        works: dict[str, Callable[[], Work]] = {
            "copying memory": lambda: _copies(source, target),
            "reading the page cache": lambda: _reads(file, target),
            "writing to the page cache": lambda: _writes(file, source),
            "touching new pages": _faults,
        }
        rows = [
            f"| {name} | {_rate(make, 1):.1f} | {_rate(make, 2):.1f} |"
            for name, make in works.items()
        ]
    finally:
        os.close(file)
        path.unlink()
    return ["| GB/s of | one thread | two threads |", "|---|---|---|", *rows]


def _rate(make: Callable[[], Work], threads: int) -> float:
    """Return the median of GB/s over some rounds."""
    begins = range(0, _SIZE, _SIZE // threads)
    ends = [begin + _SIZE // threads for begin in begins]
    rates = []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(_ROUNDS):
            work = make()
            start = time.perf_counter()
            list(pool.map(work, begins, ends))
            rates.append(_SIZE / (time.perf_counter() - start) / 1e9)
    return statistics.median(rates)


def _copies(source: np.ndarray, target: np.ndarray) -> Work:
    def work(begin: int, end: int) -> None:
        for at in range(begin, end, _PIECE):
            np.copyto(target[at : at + _PIECE], source[at : at + _PIECE])

    return work


def _reads(file: int, target: np.ndarray) -> Work:
    """Read into a buffer of one piece, which stays in the processor's cache as a merge's does."""

    def work(begin: int, end: int) -> None:
        buffer = memoryview(target[begin : begin + _PIECE])
        for at in range(begin, end, _PIECE):
            os.preadv(file, [buffer], at)

    return work


def _writes(file: int, source: np.ndarray) -> Work:
    """Write anew what is not in the page cache: a merge writes a new file."""
    os.ftruncate(file, 0)
    os.ftruncate(file, _SIZE)

    def work(begin: int, end: int) -> None:
        buffer = memoryview(source[begin : begin + _PIECE])
        for at in range(begin, end, _PIECE):
            os.pwritev(file, [buffer], at)

    return work


def _faults() -> Work:
    memory = mmap.mmap(-1, _SIZE)
    pages = np.frombuffer(memory, np.uint8)

    def work(begin: int, end: int) -> None:
        pages[begin : end : mmap.PAGESIZE] = 1

    return work
