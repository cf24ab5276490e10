"""Philox4x32-10: random numbers by counter, the same on every executor.

A number depends on the seed, the stream and the element's index alone, never on the order of
computation. The layout of key and counter is that of ``bmerge._native.Program``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["normal", "rounding", "uniform"]

_Words: Any = npt.NDArray[np.uint64]
_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)
_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)
_UNIFORM, _NORMAL, _ROUNDING = 0, 1, 2


def uniform(seed: int, stream: int, start: int, count: int) -> npt.NDArray[np.float32]:
    """Return ``count`` numbers of [0, 1), from element ``start`` on."""
    return _uniform(_words(seed, stream, _UNIFORM, start, count), start, count)


def rounding(seed: int, start: int, count: int) -> npt.NDArray[np.float32]:
    """Return numbers as :func:`uniform` does, others than any method draws."""
    return _uniform(_words(seed, 0, _ROUNDING, start, count), start, count)


def normal(seed: int, stream: int, start: int, count: int) -> npt.NDArray[np.float32]:
    """Return ``count`` numbers of the standard normal distribution, from element ``start`` on."""
    words = (_words(seed, stream, _NORMAL, start, count) >> np.uint64(8)).astype(np.float64)
    radius = np.sqrt(-2.0 * np.log((words[:, 0::2] + 1.0) * 2.0**-24))
    angle = 2.0 * np.pi * (words[:, 1::2] * 2.0**-24)
    pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
    return _cut(pairs.astype(np.float32), start, count)


def _uniform(words: _Words, start: int, count: int) -> npt.NDArray[np.float32]:
    flat = (words >> np.uint64(8)).astype(np.float32) * np.float32(2.0**-24)
    return _cut(flat, start, count)


def _cut(groups: npt.NDArray[np.float32], start: int, count: int) -> npt.NDArray[np.float32]:
    first = start % 4
    return groups.reshape(-1)[first : first + count]


def _words(seed: int, stream: int, kind: int, start: int, count: int) -> _Words:
    """Return four words for each group of four elements that overlaps the range."""
    q = np.arange(start // 4, (start + count + 3) // 4, dtype=np.uint64)
    counter = [q & _LOW, q >> _32, np.full_like(q, stream), np.full_like(q, kind)]
    key = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        counter = _round(counter, [np.uint64(word) for word in key])
        key = [(word + step) & 0xFFFFFFFF for word, step in zip(key, _WEYL, strict=True)]
    return np.stack(counter, axis=-1)


def _round(counter: list[_Words], key: list[np.uint64]) -> list[_Words]:
    first = counter[0] * _MULTIPLIERS[0]
    second = counter[2] * _MULTIPLIERS[1]
    return [
        (second >> _32) ^ counter[1] ^ key[0],
        second & _LOW,
        (first >> _32) ^ counter[3] ^ key[1],
        first & _LOW,
    ]
