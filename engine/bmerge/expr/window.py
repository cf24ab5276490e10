"""What depends on where an element lies in its tensor: row index, sizes, random numbers.

A tensor may be computed in parts; a window says which part, so that these come out as for the
whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bmerge.expr import philox

__all__ = ["POSITIONS", "Window", "position"]


@dataclass(frozen=True, slots=True)
class Window:
    """Which part of a tensor is computed: the whole, or consecutive elements of it.

    Args:
        shape: of the part; of one dimension or more.
        rows: of the whole tensor.
        numel: elements of the whole tensor.
        row: index of the part's first row.
        element: index of the part's first element in the flattened tensor.
        seed: of the whole tensor's random numbers.
    """

    shape: tuple[int, ...]
    rows: int
    numel: int
    row: int = 0
    element: int = 0
    seed: int = 0

    @classmethod
    def whole(cls, shape: Sequence[int], seed: int = 0) -> Window:
        """Return the window that is a whole tensor; one without dimensions has shape (1,)."""
        extent = tuple(shape) or (1,)
        return cls(extent, rows=extent[0], numel=math.prod(extent), seed=seed)


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
    return POSITIONS[op](window, *constants).to(device)


def _row_index(window: Window) -> Tensor:
    index = torch.arange(window.row, window.row + window.shape[0]).float()
    return index.reshape(-1, *[1] * (len(window.shape) - 1)).expand(window.shape)


def _rows(window: Window) -> Tensor:
    return torch.tensor(window.rows, dtype=torch.float64)


def _numel(window: Window) -> Tensor:
    return torch.tensor(window.numel, dtype=torch.float64)


def _random_uniform(window: Window, stream: float) -> Tensor:
    count = math.prod(window.shape)
    numbers = philox.uniform(window.seed, int(stream), window.element, count)
    return torch.from_numpy(numbers).reshape(window.shape)


def _random_normal(window: Window, stream: float) -> Tensor:
    count = math.prod(window.shape)
    numbers = philox.normal(window.seed, int(stream), window.element, count)
    return torch.from_numpy(numbers).reshape(window.shape)


POSITIONS: dict[str, Callable[..., Tensor]] = {
    "row_index": _row_index,
    "rows": _rows,
    "numel": _numel,
    "random_uniform": _random_uniform,
    "random_normal": _random_normal,
}
"""Operation → function of the window and then its constants."""
