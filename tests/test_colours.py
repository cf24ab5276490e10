"""Colours: the scale's ends, and text that can be read on every one of them."""

from __future__ import annotations

import pytest

from bmerge.colours import ink_on, weight_colour


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def _contrast(a: str, b: str) -> float:
    bright, dark = sorted((_luminance(a), _luminance(b)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("percent", range(0, 101, 5))
def test_the_text_on_a_weight_meets_wcag_aa(percent: int) -> None:
    colour = weight_colour(percent, 0, 100)
    assert _contrast(colour, ink_on(colour)) >= 4.5


def test_the_scale_is_blue_low_grey_in_the_middle_and_orange_high() -> None:
    low, middle, high = (weight_colour(v, -1, 3) for v in (-1, 1, 3))
    assert int(low[5:], 16) > int(low[1:3], 16) + 80
    assert int(high[1:3], 16) > int(high[5:], 16) + 80
    channels = [int(middle[i : i + 2], 16) for i in (1, 3, 5)]
    assert max(channels) - min(channels) < 12


@pytest.mark.parametrize(("value", "same_as"), [(-5.0, 0.0), (9.0, 1.0)], ids=["below", "above"])
def test_values_beyond_the_scale_have_the_colour_of_its_end(value: float, same_as: float) -> None:
    assert weight_colour(value, 0, 1) == weight_colour(same_as, 0, 1)


def test_a_scale_without_extent_has_the_middle_colour() -> None:
    assert weight_colour(0.3, 0.3, 0.3) == weight_colour(0.5, 0, 1)
