"""Draw the demo's world: one coloured shape on a dark, softly varied background.

The training pictures and the judge's examples come from here, so the demo needs no data file.
Shapes are drawn at four times the size and box-resized, which gives smooth edges from Pillow's
aliased polygons.  Needs Pillow and numpy only.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

SIZE: Final = 64
"""Width and height of a picture, in pixels."""

_SCALE: Final = 4
_HSV: Final[dict[str, tuple[float, float, float]]] = {
    "red": (0.0, 0.92, 0.92),
    "orange": (0.078, 0.95, 1.0),
    "yellow": (0.158, 0.90, 1.0),
    "green": (0.35, 0.85, 0.75),
    "cyan": (0.49, 0.75, 0.95),
    "blue": (0.62, 0.88, 0.95),
    "purple": (0.76, 0.75, 0.75),
    "pink": (0.915, 0.48, 1.0),
    "white": (0.1, 0.02, 0.97),
}

Point = tuple[float, float]
Shape = list[list[Point]]
"""Outlines in the unit circle, filled by turns: the first adds, the second cuts a hole."""


def _disc(radius: float, x: float = 0.0, y: float = 0.0) -> list[Point]:
    steps = (2 * math.pi * i / 48 for i in range(48))
    return [(x + radius * math.cos(a), y + radius * math.sin(a)) for a in steps]


def _spokes(count: int, inner: float) -> list[Point]:
    radii = (1.0 if i % 2 == 0 else inner for i in range(2 * count))
    angles = (-math.pi / 2 + math.pi * i / count for i in range(2 * count))
    return [(r * math.cos(a), r * math.sin(a)) for r, a in zip(radii, angles, strict=True)]


def _heart() -> list[Point]:
    points = []
    for step in range(48):
        t = 2 * math.pi * step / 48
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        points.append((math.sin(t) ** 3, -(y + 2.5) / 16))
    return points


def _cross(arm: float = 0.3) -> list[Point]:
    quarter = [(arm, -1.0), (arm, -arm), (1.0, -arm), (1.0, arm), (arm, arm), (arm, 1.0)]
    return quarter + [(-x, -y) for x, y in quarter]


_ARROW: Final[list[Point]] = [
    (-1.0, -0.27), (0.05, -0.27), (0.05, -0.8), (1.0, 0.0), (0.05, 0.8), (0.05, 0.27), (-1.0, 0.27),
]  # fmt: skip
_OUTLINES: Final[dict[str, Callable[[], Shape]]] = {
    "circle": lambda: [_disc(0.9)],
    "square": lambda: [[(-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)]],
    "triangle": lambda: [[(0.0, -0.95), (0.95, 0.75), (-0.95, 0.75)]],
    "cross": lambda: [_cross()],
    "ring": lambda: [_disc(0.98), _disc(0.58)],
    "star": lambda: [_spokes(5, 0.42)],
    "diamond": lambda: [[(0.0, -1.0), (0.62, 0.0), (0.0, 1.0), (-0.62, 0.0)]],
    "heart": lambda: [_heart()],
    "moon": lambda: [_disc(0.95), _disc(0.8, 0.42, -0.1)],
    "arrow": lambda: [_ARROW],
}


def _mask(shape: str, rng: np.random.Generator) -> Image.Image:
    side = SIZE * _SCALE
    radius = side * rng.uniform(0.26, 0.36)
    angle = math.radians(rng.uniform(-10, 10))
    x, y = side / 2 + side * rng.uniform(-0.1, 0.1, 2)
    cos, sin = radius * math.cos(angle), radius * math.sin(angle)
    mask = Image.new("L", (side, side), 0)
    draw = ImageDraw.Draw(mask)
    for index, outline in enumerate(_OUTLINES[shape]()):
        points = [(x + cos * px - sin * py, y + sin * px + cos * py) for px, py in outline]
        draw.polygon(points, fill=0 if index % 2 else 255)
    return mask.resize((SIZE, SIZE), Image.Resampling.BOX)


def _background(rng: np.random.Generator) -> np.ndarray:
    base = rng.uniform(12, 48) + rng.uniform(-8, 8, 3)
    slope = rng.uniform(-18, 18, 2)
    grid = np.linspace(-0.5, 0.5, SIZE)
    shade = slope[0] * grid[:, None, None] + slope[1] * grid[None, :, None]
    return np.asarray(np.clip(base + shade, 0, 255))


def _tint(colour: str, rng: np.random.Generator) -> np.ndarray:
    hue, saturation, value = _HSV[colour]
    hue = (hue + rng.uniform(-0.012, 0.012)) % 1.0
    saturation = min(1.0, saturation * rng.uniform(0.92, 1.06))
    value = min(1.0, value * rng.uniform(0.9, 1.05))
    return np.array(colorsys.hsv_to_rgb(hue, saturation, value)) * 255


def render(colour: str, shape: str, rng: np.random.Generator) -> Image.Image:
    """Draw one picture of "a {colour} {shape}".

    Args:
        colour: a word of ``words.COLOURS``.
        shape: a word of ``words.SHAPES``.
        rng: source of the place, size, turn, tint and background.

    Returns:
        A ``SIZE`` x ``SIZE`` RGB picture.
    """
    alpha = np.asarray(_mask(shape, rng), dtype=np.float64)[..., None] / 255
    pixels = _background(rng) * (1 - alpha) + _tint(colour, rng) * alpha
    return Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))
