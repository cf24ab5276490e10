"""Where each block is drawn: a U for architectures that have one, a list for all others.

Pure geometry, in the units of the drawing's view box. An architecture is a U if it has as many
``IN`` as ``OUT`` blocks, numbered from 0; its remaining blocks stand apart, above.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from bmerge.records import dataclass

__all__ = ["BlockBox", "Drawing", "Link", "draw_blocks"]

WIDTH = 460
_BOX = 126
_HEIGHT = 26
_GAP = 5
_LEVEL_GAP = 13
_LEVEL = 3  # blocks per resolution, in every SD UNet
_INDENT = 15
_MARGIN = 4


@dataclass(frozen=True, slots=True)
class BlockBox:
    """One block's rectangle."""

    block: str
    x: float
    y: float
    width: float = _BOX
    height: float = _HEIGHT


@dataclass(frozen=True, slots=True)
class Link:
    """A connection, as an SVG path; ``skip`` ones leap across the U."""

    path: str
    skip: bool


@dataclass(frozen=True, slots=True)
class Drawing:
    """All boxes and connections, and the extent of the view box."""

    boxes: tuple[BlockBox, ...]
    links: tuple[Link, ...]
    width: float
    height: float


def draw_blocks(blocks: Sequence[str]) -> Drawing:
    """Lay out an architecture's blocks.

    Args:
        blocks: ids, in the architecture's order.
    """
    inner = _numbered(blocks, "IN")
    outer = _numbered(blocks, "OUT")
    if not inner or len(inner) != len(outer):
        return _list(blocks)
    middle = [block for block in blocks if re.fullmatch(r"M\d+", block)]
    apart = [block for block in blocks if block not in {*inner, *outer, *middle}]
    return _u(apart, inner, middle, outer)


def _numbered(blocks: Sequence[str], prefix: str) -> list[str]:
    """Return the blocks ``prefix`` + number in order, or nothing if they do not count from 0."""
    found = {
        int(match[1]): block
        for block in blocks
        if (match := re.fullmatch(rf"{prefix}(\d+)", block))
    }
    return [found[i] for i in range(len(found))] if set(found) == set(range(len(found))) else []


def _list(blocks: Sequence[str]) -> Drawing:
    columns = 3
    step = (WIDTH - 2 * _MARGIN + _GAP) / columns
    rows = -(-len(blocks) // columns)
    boxes = tuple(
        BlockBox(
            block,
            _MARGIN + (index // rows) * step,
            _MARGIN + (index % rows) * (_HEIGHT + _GAP),
            step - _GAP,
        )
        for index, block in enumerate(blocks)
    )
    return Drawing(boxes, (), WIDTH, 2 * _MARGIN + rows * (_HEIGHT + _GAP) - _GAP)


def _u(apart: list[str], inner: list[str], middle: list[str], outer: list[str]) -> Drawing:
    head = _row(apart, _MARGIN)
    top = _MARGIN + (_HEIGHT + 22 if apart else 0)
    left, right = [], []
    for depth, (down, up) in enumerate(zip(inner, reversed(outer), strict=True)):
        level = depth // _LEVEL
        x = _MARGIN + level * _INDENT
        y = top + depth * (_HEIGHT + _GAP) + level * _LEVEL_GAP
        left.append(BlockBox(down, x, y))
        right.append(BlockBox(up, WIDTH - x - _BOX, y))
    bottom = left[-1].y + _HEIGHT + 22
    foot = _row(middle, bottom)
    links = (*_skips(left, right), *_turn(left[-1], foot, right[-1]))
    height = (bottom + _HEIGHT if middle else bottom) + _MARGIN
    return Drawing((*head, *left, *foot, *right), links, WIDTH, height)


def _row(blocks: list[str], y: float) -> list[BlockBox]:
    """Return boxes side by side, centred; narrower where there are many."""
    if not blocks:
        return []
    width = min(_BOX, (WIDTH - 2 * _MARGIN + _GAP) / len(blocks) - _GAP)
    start = (WIDTH - len(blocks) * (width + _GAP) + _GAP) / 2
    return [BlockBox(block, start + i * (width + _GAP), y, width) for i, block in enumerate(blocks)]


def _skips(left: list[BlockBox], right: list[BlockBox]) -> list[Link]:
    return [
        Link(f"M{a.x + a.width} {a.y + a.height / 2}H{b.x}", skip=True)
        for a, b in zip(left, right, strict=True)
    ]


def _turn(last_in: BlockBox, middle: list[BlockBox], first_out: BlockBox) -> list[Link]:
    """Return the way from the deepest IN through the middle to the deepest OUT."""
    if not middle:
        return []
    y = middle[0].y + _HEIGHT / 2
    down, up = last_in.x + last_in.width / 3, first_out.x + first_out.width * 2 / 3
    end = middle[-1].x + middle[-1].width
    return [
        Link(f"M{down} {last_in.y + _HEIGHT}V{y - 8}q0 8 8 8H{middle[0].x}", skip=False),
        Link(f"M{end} {y}H{up - 8}q8 0 8 -8V{first_out.y + _HEIGHT}", skip=False),
    ]
