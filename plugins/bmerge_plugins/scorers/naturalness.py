"""How free a picture is of blocks, blur and noise: PIQE, which needs no training and no files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from bmerge import Picture, ScorerKind, hookimpl
from bmerge_plugins.needs import PIXELS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    Array = NDArray[np.float64]

_BLOCK = 16
_SEGMENT = 6  # pixels of an edge that are looked at together
_ACTIVE = 0.1  # variance from which a block counts
_FLAT = 0.1  # deviation below which a segment of a block's edge is a fault


class Naturalness:
    """Scores 1 - PIQE / 100: 1 is faultless, 0 is spoilt or empty.

    The picture's luminance is made free of local brightness and contrast; blocks of 16 x 16 that
    have structure left count as distorted where a stretch of their edge is flat (blur and the
    blocks of JPEG), or their centre varies as their surround does (noise). After Venkatanath et
    al., "Blind image quality evaluation using perception based features", NCC 2015, with the
    constants of MATLAB's ``piqe``. Cut off at 0 and 1, which few pictures pass.
    """

    def score(self, pictures: Sequence[Picture]) -> list[float]:
        """Return one number for each picture."""
        return [min(max(1 - _distortion(picture.image), 0.0), 1.0) for picture in pictures]


def _distortion(image: Image) -> float:
    """Return PIQE / 100."""
    import numpy as np

    blocks = _blocks(_normalised(np.asarray(image.convert("L"), dtype=np.float64)))
    variance = blocks.var(axis=(1, 2), ddof=1)
    blocks, variance = blocks[variance > _ACTIVE], variance[variance > _ACTIVE]
    faulty, noisy = _has_flat_edge(blocks), _is_noisy(blocks, np.sqrt(variance))
    spoilt = float((faulty * (1 - variance) + noisy * variance).sum())
    return (spoilt + 1) / (len(blocks) + 1)


def _normalised(grey: Array) -> Array:
    """Return the picture, padded to whole blocks, less its local mean over local deviation."""
    import numpy as np
    from scipy.ndimage import correlate1d  # type: ignore[import-untyped]

    pad = [(0, -size % _BLOCK) for size in grey.shape]
    grey = np.pad(grey, pad, mode="symmetric")
    grey = np.round(255 * grey / max(grey.max(), 1.0))
    weights = np.exp(-0.5 * (np.arange(-3, 4) * 6 / 7) ** 2)
    weights /= weights.sum()

    def smooth(values: Array) -> Array:
        rows = correlate1d(values, weights, axis=0, mode="nearest")
        result: Array = correlate1d(rows, weights, axis=1, mode="nearest")
        return result

    mean = smooth(grey)
    normalised: Array = (grey - mean) / (np.sqrt(np.abs(smooth(grey**2) - mean**2)) + 1)
    return normalised


def _blocks(picture: Array) -> Array:
    """Return n blocks of 16 x 16."""
    rows, columns = (size // _BLOCK for size in picture.shape)
    parts = picture.reshape(rows, _BLOCK, columns, _BLOCK).swapaxes(1, 2)
    return parts.reshape(-1, _BLOCK, _BLOCK)


def _has_flat_edge(blocks: Array) -> Array:
    import numpy as np

    sides = (blocks[:, 0], blocks[:, -1], blocks[:, :, 0], blocks[:, :, -1])
    edges = np.stack(sides, axis=1)
    segments = np.lib.stride_tricks.sliding_window_view(edges, _SEGMENT, axis=2)
    flat: Array = (segments.std(axis=3, ddof=1) < _FLAT).any(axis=(1, 2))
    return flat


def _is_noisy(blocks: Array, deviation: Array) -> Array:
    import numpy as np

    centre = blocks[:, :, 7:9].std(axis=(1, 2), ddof=1)
    around = np.delete(blocks, (7, 8), axis=2).std(axis=(1, 2), ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):  # a flat surround: not noise
        ratio = centre / around
        apart = np.abs(deviation - ratio) / np.maximum(deviation, ratio)
    noisy: Array = deviation > 2 * apart
    return noisy


@hookimpl
def bmerge_scorers() -> Iterable[ScorerKind]:
    """Offer the scorer."""
    summary = "freedom from blocks, blur and noise, 0 … 1: PIQE"
    return [ScorerKind("naturalness", Naturalness, summary, needs=("scipy", *PIXELS))]
