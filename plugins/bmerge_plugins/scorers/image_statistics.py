"""Scorers without any learning: one number from the pixels, the same on every machine.

They know nothing of taste and nothing of the prompt. They are of use beside a judge that does:
as a second objective, as a guard against washed-out or burnt pictures, or as a column in the
report. All run on the 8-bit RGB values divided by 255; luminance is Rec. 709's weighting of
them. Every range given holds for every picture, and greater is more of what the name says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from bmerge import Picture, Scorer, ScorerKind, hookimpl
from bmerge_plugins.needs import PIXELS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.float64]
    """Height × width × 3, in 0 … 1."""

_HALF_SHARP = 100 / 255**2
"""Laplacian variance below which photographs are customarily called blurred (100 in 8 bit)."""


class ImageStatistic:
    """A scorer that applies one formula to each picture.

    Args:
        formula: maps pixels, height × width × 3 float64 in 0 … 1, to a finite number.
    """

    def __init__(self, formula: Callable[[Pixels], float]) -> None:
        self._formula = formula

    def score(self, pictures: Sequence[Picture]) -> list[float]:
        """Return the formula's value for each picture."""
        import numpy as np

        return [
            self._formula(np.asarray(picture.image.convert("RGB"), dtype=np.float64) / 255)
            for picture in pictures
        ]


def sharpness() -> Scorer:
    """Variance of the luminance's Laplacian, v / (v + 100/255²).

    The 3×3 Laplacian with four neighbours, on inner pixels only; a picture less than three
    pixels wide or high scores 0. One half is the customary border between a blurred and a
    sharp photograph. After Pech-Pacheco et al., "Diatom autofocusing in brightfield
    microscopy", ICPR 2000.

    Returns:
        A scorer with range 0 … 1 (1 is never reached).
    """

    def formula(pixels: Pixels) -> float:
        y = _luminance(pixels)
        inner = y[1:-1, 1:-1]
        if not inner.size:
            return 0.0
        laplacian = y[:-2, 1:-1] + y[2:, 1:-1] + y[1:-1, :-2] + y[1:-1, 2:] - 4 * inner
        variance = float(laplacian.var())
        return variance / (variance + _HALF_SHARP)

    return ImageStatistic(formula)


def contrast() -> Scorer:
    """Twice the standard deviation of luminance: root-mean-square contrast.

    After Peli, "Contrast in complex images", J. Opt. Soc. Am. A 7 (1990), doubled so that a
    picture half black and half white scores 1.

    Returns:
        A scorer with range 0 … 1.
    """
    return ImageStatistic(lambda pixels: 2 * float(_luminance(pixels).std()))


def colourfulness() -> Scorer:
    """Hasler and Süsstrunk's M3, divided by 100.

    With rg = R - G and yb = (R + G)/2 - B on the 8-bit scale: the root of the sum of their
    variances plus 0.3 times the root of the sum of their squared means. From "Measuring
    colourfulness in natural images", Proc. SPIE 5007 (2003), whose scale reads, divided
    likewise: 0 not, 0.33 moderately, 0.59 quite, 1.09 extremely colourful.

    Returns:
        A scorer with range 0 … 3.
    """

    def formula(pixels: Pixels) -> float:
        red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
        rg, yb = red - green, (red + green) / 2 - blue
        spread = float(rg.var() + yb.var()) ** 0.5
        offset = float(rg.mean() ** 2 + yb.mean() ** 2) ** 0.5
        colourful: float = 2.55 * (spread + 0.3 * offset)
        return colourful

    return ImageStatistic(formula)


def exposure() -> Scorer:
    """How well exposed the picture is: mean of exp(-(y - 0.5)² / (2 · 0.2²)) over luminance y.

    Mid-tones count 1, black and white 0.04. The measure of Mertens et al., "Exposure fusion",
    Pacific Graphics 2007, taken on luminance so that a saturated colour is not a fault.

    Returns:
        A scorer with range 0.04 … 1.
    """

    def formula(pixels: Pixels) -> float:
        import numpy as np

        return float(np.exp(-((_luminance(pixels) - 0.5) ** 2) / 0.08).mean())

    return ImageStatistic(formula)


def entropy() -> Scorer:
    """Shannon entropy of the luminance histogram, in bits over 8.

    256 equal bins. A flat picture scores 0, one that uses all grey levels equally 1.
    After Shannon, "A mathematical theory of communication" (1948).

    Returns:
        A scorer with range 0 … 1.
    """

    def formula(pixels: Pixels) -> float:
        import numpy as np

        counts, _ = np.histogram(_luminance(pixels), bins=256, range=(0, 1))
        share = counts[counts > 0] / counts.sum()
        return abs(float((share * np.log2(share)).sum())) / 8

    return ImageStatistic(formula)


@hookimpl
def bmerge_scorers() -> Iterable[ScorerKind]:
    """Offer the five statistics."""
    statistic = partial(ScorerKind, needs=PIXELS)
    return [
        statistic("sharpness", sharpness, "variance of the Laplacian, 0 … 1"),
        statistic("contrast", contrast, "spread of the luminance, 0 … 1"),
        statistic("colourfulness", colourfulness, "Hasler and Süsstrunk's measure, 0 … 3"),
        statistic("exposure", exposure, "share of mid-tones, 0.04 … 1"),
        statistic("entropy", entropy, "entropy of the luminance histogram, 0 … 1"),
    ]


def _luminance(pixels: Pixels) -> Pixels:
    """Return Rec. 709 luminance of gamma-encoded values, 0 … 1."""
    return 0.2126 * pixels[..., 0] + 0.7152 * pixels[..., 1] + 0.0722 * pixels[..., 2]
