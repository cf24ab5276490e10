"""The drawing of an architecture: every block once, nothing on top of anything else."""

from __future__ import annotations

from itertools import combinations

import pytest

from bmerge.report.blocks import BlockBox, draw_blocks


def _unet(depth: int, *apart: str) -> list[str]:
    numbers = range(depth)
    return [*apart, *(f"IN{i:02}" for i in numbers), "M00", *(f"OUT{i:02}" for i in numbers)]


ARCHITECTURES = {
    "sd1": _unet(12, "BASE"),
    "sdxl": _unet(9, "BASE", "VAE"),
    "many apart": _unet(9, "CLIPL", "CLIPG", "VAE", "TIME", "LABEL"),
    "no middle": [block for block in _unet(4) if block != "M00"],
    "flux": ["CLIP", "T5", "IN", *(f"D{i:02}" for i in range(19)), "OUT"],
    "in without out": ["IN00", "IN01", "OUT00"],
    "gap": ["IN00", "IN02", "OUT00", "OUT02"],
    "one": ["ALL"],
}


def _overlap(a: BlockBox, b: BlockBox) -> bool:
    apart_x = a.x + a.width <= b.x or b.x + b.width <= a.x
    apart_y = a.y + a.height <= b.y or b.y + b.height <= a.y
    return not (apart_x or apart_y)


@pytest.mark.parametrize("blocks", ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_every_block_is_drawn_once_inside_and_apart(blocks: list[str]) -> None:
    drawing = draw_blocks(blocks)
    assert sorted(box.block for box in drawing.boxes) == sorted(blocks)
    for box in drawing.boxes:
        assert box.x >= 0
        assert box.y >= 0
        assert box.x + box.width <= drawing.width
        assert box.y + box.height <= drawing.height
    assert not [pair for pair in combinations(drawing.boxes, 2) if _overlap(*pair)]


def test_a_u_has_a_skip_from_each_in_block_to_its_out_block() -> None:
    drawing = draw_blocks(ARCHITECTURES["sd1"])
    box = {b.block: b for b in drawing.boxes}
    for i in range(12):
        assert box[f"IN{i:02}"].y == box[f"OUT{11 - i:02}"].y
    assert sum(link.skip for link in drawing.links) == 12


def test_a_u_goes_down_through_the_middle_and_up() -> None:
    box = {b.block: b for b in draw_blocks(ARCHITECTURES["sd1"]).boxes}
    down = [box[f"IN{i:02}"].y for i in range(12)]
    up = [box[f"OUT{i:02}"].y for i in range(12)]
    assert down == sorted(down)
    assert up == sorted(up, reverse=True)
    assert box["M00"].y > max(down)
    assert box["BASE"].y < min(down)


@pytest.mark.parametrize("name", ["flux", "in without out", "gap", "one"])
def test_what_is_no_u_is_a_list_without_links(name: str) -> None:
    assert draw_blocks(ARCHITECTURES[name]).links == ()
