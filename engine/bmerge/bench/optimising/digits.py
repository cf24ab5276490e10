"""A real landscape that costs little: merges of two networks of 26 layers that read digits.

A base learns to read drawn digits of 8 × 8 points; one fine-tune goes on with mostly 0 to 4, one
with mostly 5 to 9. A merge has a weight for each layer. Its quality is the mean probability that it
gives to the right digit, over digits that nobody has learned from; a picture is a sheet of such
digits. How high the best merge reaches is not known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["LAYERS", "Digits"]

Array: TypeAlias = NDArray[np.float64]
_Labels: TypeAlias = NDArray[np.int64]

LAYERS = 26
_WIDTH, _SIDE, _KINDS = 24, 8, 10
_LEARNED, _HELD_OUT, _SHEET, _BATCH = 4000, 1000, 30, 64
_STEPS, _MORE = 250, 800  # of the base, and of a fine-tune
_OTHERS = 0.03  # part of the digits of the other half that a fine-tune sees
_RATE, _NOISE = 0.004, 0.3
_GLYPHS = (
    "111101101101111", "010110010010111", "111001111100111", "111001111001111", "101101111001001",
    "111100111001111", "111100111101111", "111001010010010", "111101111101111", "111101111001111",
)  # fmt: skip
"""Digits of 5 rows of 3 points."""

_Network: TypeAlias = list[Array]  # a matrix of each layer; the last row of each is the bias


class Digits:
    """Two networks, and the digits by which their merges are judged.

    Args:
        rng: draws everything.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        images, labels = _drawn(rng, _LEARNED)
        base = _learned(_fresh(rng), images, labels, _STEPS, rng)
        low, seldom = labels < _KINDS // 2, rng.random(_LEARNED) < _OTHERS
        self._models = [
            _learned(base, images[some | seldom], labels[some | seldom], _MORE, rng)
            for some in (low, ~low)
        ]
        self._images, self._labels = _drawn(rng, _HELD_OUT)

    def __call__(self, point: Array) -> float:
        """Return what a merge is worth.

        Args:
            point: for each layer how much of it comes from the second network.
        """
        return self._right(point, self._images, self._labels)

    def painter(self, rng: np.random.Generator, pictures: int) -> Callable[[Array, int], float]:
        """Draw sheets of digits to judge merges by; return what scores a point by one of them."""
        sheets = [_drawn(rng, _SHEET) for _ in range(pictures)]
        return lambda point, picture: self._right(point, *sheets[picture])

    def _right(self, point: Array, images: Array, labels: _Labels) -> float:
        """Return the mean probability that a merge gives to the right digits."""
        first, second = self._models
        merged = [(1 - w) * a + w * b for w, a, b in zip(point, first, second, strict=True)]
        chances = _chances(_forward(merged, images)[-1])
        return float(chances[np.arange(len(labels)), labels].mean())


def _drawn(rng: np.random.Generator, count: int) -> tuple[Array, _Labels]:
    """Return digits as rows of points, somewhere in the picture and noisy, and which they are."""
    labels = rng.integers(0, _KINDS, count)
    images = rng.normal(0, _NOISE, (count, _SIDE, _SIDE))
    for image, label in zip(images, labels, strict=True):
        glyph = np.array([*map(float, _GLYPHS[label])]).reshape(5, 3)
        top, left = rng.integers(0, 3), rng.integers(1, 4)
        image[top : top + 5, left : left + 3] += glyph
    return images.reshape(count, -1), labels


def _fresh(rng: np.random.Generator) -> _Network:
    """Return a network that has learned nothing."""
    sizes = [_SIDE * _SIDE, *[_WIDTH] * (LAYERS - 1), _KINDS]
    return [
        np.vstack([rng.normal(0, a**-0.5, (a, b)), np.zeros((1, b))]) for a, b in pairwise(sizes)
    ]


def _forward(network: _Network, images: Array) -> list[Array]:
    """Return what goes into each layer, and the logits.

    All layers but the first and the last add a little to what they get.
    """
    found = [images, np.tanh(_affine(network[0], images))]
    for layer in network[1:-1]:
        found.append(found[-1] + np.tanh(_affine(layer, found[-1])) * _SHARE)
    return [*found, _affine(network[-1], found[-1])]


_SHARE = (LAYERS - 2) ** -0.5


def _affine(layer: Array, values: Array) -> Array:
    return np.asarray(values @ layer[:-1] + layer[-1])


def _chances(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))


def _learned(
    network: _Network, images: Array, labels: _Labels, steps: int, rng: np.random.Generator
) -> _Network:
    """Return the network after some steps of Adam (Kingma and Ba, 2015) on cross-entropy."""
    network = [layer.copy() for layer in network]
    means, squares = ([np.zeros_like(layer) for layer in network] for _ in range(2))
    for step in range(1, steps + 1):
        some = rng.integers(0, len(images), _BATCH)
        for layer, slope in enumerate(_slopes(network, images[some], labels[some])):
            means[layer] += 0.1 * (slope - means[layer])
            squares[layer] += 0.01 * (slope * slope - squares[layer])
            spread = np.sqrt(squares[layer] / (1 - 0.99**step)) + 1e-8
            network[layer] -= _RATE * means[layer] / (1 - 0.9**step) / spread
    return network


def _slopes(network: _Network, images: Array, labels: _Labels) -> Sequence[Array]:
    """Return the gradient of the cross-entropy by each layer."""
    values = _forward(network, images)
    back = _chances(values[-1])
    back[np.arange(len(labels)), labels] -= 1
    back /= len(labels)
    found = [_slope(values[-2], back)]
    back = back @ network[-1][:-1].T
    for place in range(LAYERS - 2, 0, -1):
        layer, before, after = network[place], values[place], values[place + 1]
        inner = (after - before) / _SHARE
        through = back * _SHARE * (1 - inner * inner)
        found.append(_slope(before, through))
        back = back + through @ layer[:-1].T
    through = back * (1 - values[1] * values[1])
    found.append(_slope(images, through))
    return found[::-1]


def _slope(values: Array, back: Array) -> Array:
    return np.vstack([values.T @ back, back.sum(0)])
