"""What depends on where an element lies in its tensor: row index, sizes, random numbers.

A tensor may be computed in parts; a window says which part, so that these come out as for the
whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from bmerge.expr import philox
from bmerge.expr.seeds import STREAMS
from bmerge.records import dataclass

__all__ = ["POSITIONS", "Window", "position", "seeded"]

_SEED: ContextVar[tuple[int, int]] = ContextVar("bmerge_seed", default=(0, 0))
"""Seed and shift of streams of what a method draws while it is called as a plain function."""


@dataclass(frozen=True, slots=True)
class Window:
    """Which part of a tensor is computed: the whole, or consecutive elements of it.

    Args:
        shape: of the part; of one dimension or more. Only that of the whole has a meaning for
            reductions.
        rows: of the whole tensor.
        numel: elements of the whole tensor.
        begin: index of the part's first element in the flattened tensor.
        seed: of the whole tensor's random numbers.
        stream: that is added to those which are drawn from.
    """

    shape: tuple[int, ...]
    rows: int
    numel: int
    begin: int = 0
    seed: int = 0
    stream: int = 0

    @classmethod
    def whole(cls, shape: Sequence[int], seed: int | None = None) -> Window:
        """Return the window that is a whole tensor; one without dimensions has shape (1,).

        Args:
            shape: of the tensor.
            seed: None takes what :func:`seeded` says, or 0.
        """
        extent = tuple(shape) or (1,)
        known, stream = _SEED.get() if seed is None else (seed, 0)
        return cls(extent, extent[0], math.prod(extent), seed=known, stream=stream)

    def cut(self, begin: int, end: int) -> Window:
        """Return the elements from ``begin`` to before ``end``, flattened."""
        return replace(self, shape=(end - begin,), begin=begin)

    @property
    def count(self) -> int:
        """Number of elements in the part."""
        return math.prod(self.shape)


@contextmanager
def seeded(seed: int, stream: int) -> Iterator[None]:
    """Let :mod:`bmerge.ops` draw a job's random numbers from torch tensors meanwhile."""
    token = _SEED.set((seed, stream))
    try:
        yield
    finally:
        _SEED.reset(token)


def position(op: str, constants: Sequence[float], window: Window, device: torch.device) -> Tensor:
    """Compute one of the operations of :data:`POSITIONS`.

    Args:
        op: its name.
        constants: its constants.
        window: which elements are wanted.
        device: where the result is to lie.

    Returns:
        A float32 tensor of the window's shape, or one float64 without dimensions.
    """
    return POSITIONS[op](window, device, *constants)


def _row_index(window: Window, device: torch.device) -> Tensor:
    index = torch.arange(window.begin, window.begin + window.count, device=device)
    columns = max(window.numel // max(window.rows, 1), 1)
    return index.floor_divide_(columns).float().reshape(window.shape)


def _rows(window: Window, device: torch.device) -> Tensor:
    return torch.tensor(window.rows, dtype=torch.float64, device=device)


def _numel(window: Window, device: torch.device) -> Tensor:
    return torch.tensor(window.numel, dtype=torch.float64, device=device)


def _random(draw: Callable[..., Any]) -> Callable[..., Tensor]:
    def random(window: Window, device: torch.device, stream: float) -> Tensor:
        moved = (int(stream) + window.stream) % STREAMS
        numbers = draw(window.seed, moved, window.begin, window.count)
        return torch.from_numpy(numbers).to(device).reshape(window.shape)

    return random


POSITIONS: dict[str, Callable[..., Tensor]] = {
    "row_index": _row_index,
    "rows": _rows,
    "numel": _numel,
    "random_uniform": _random(philox.uniform),
    "random_normal": _random(philox.normal),
}
"""Operation → function of the window, the device and then its constants."""
