from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from bmerge.compare.heat import HeatGrid, page, svg


def grid(title="x", **options):
    cells = {("IN00", "all"): 0.5, ("IN00", "norm"): None, ("<b>", "all"): 1.0}
    return HeatGrid(title, ["IN00", "<b>"], ["all", "norm"], cells, lambda x: f"{x:.1f}", **options)


def test_names_of_files_and_blocks_are_text_and_no_markup():
    title = "a & <script>alert(1)</script>.safetensors"
    drawing = ET.fromstring(svg(grid(title)))
    texts = [element.text for element in drawing.iter() if element.tag.endswith("}text")]
    assert title in texts
    assert "<b>" in texts
    html = page(grid(title), [title])
    assert "<script>" not in html
    assert html.count("&lt;script&gt;") >= 3


@pytest.mark.parametrize("diverging", [False, True])
def test_numbers_can_be_read_on_their_colours(diverging):
    drawing = svg(grid(diverging=diverging))
    pairs = re.findall(r'fill="(#\w{6})"/><text[^>]*style="fill:(#\w{6})"', drawing)
    assert len(pairs) == 2

    def light(colour):
        parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        red, green, blue = (((c + 0.055) / 1.055) ** 2.4 if c > 0.04 else c / 12.92 for c in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    for back, ink in pairs:
        low, high = sorted((light(back), light(ink)))
        assert (high + 0.05) / (low + 0.05) > 4.5


def test_greater_numbers_are_darker_and_none_is_blank():
    assert grid().colour(0.2) != grid().colour(0.9)
    assert "norm: " not in svg(grid())
