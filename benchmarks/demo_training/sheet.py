"""Draw a contact sheet: one row of pictures for each model, the same prompts and seeds in each.

``python -m benchmarks.demo_training.sheet --out sheet.png``
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import torch
from PIL import Image, ImageDraw

from bmerge_plugins.demo import assets
from bmerge_plugins.demo.renderer import SIZE
from bmerge_plugins.demo.sampler import sample
from bmerge_plugins.demo.words import COLOURS, SHAPES, article

from .landscape import Bench, Weights, split, spread

GAP, HEAD, SIDE = 3, 28, 110
ROWS: Mapping[str, Weights | None] = {
    "base": None,
    "A: shapes": spread(0, 0, 0, 0),
    "B: colours": spread(1, 1, 1, 1),
    "uniform 0.25": spread(0.25, 0.25, 0.25, 0.25),
    "uniform 0.5": spread(0.5, 0.5, 0.5, 0.5),
    "uniform 0.75": spread(0.75, 0.75, 0.75, 0.75),
    "text A, OUT B": spread(0, 0.5, 0.5, 1),
    "OUT B, A from 06": split(0.5, 6, 1.0, 0.0),
    "OUT A, B from 06": split(0.5, 6),
    "OUT A, B from 09": split(0.5, 9),
}


def draw(bench: Bench, rows: Mapping[str, Weights | None], seed: int) -> Image.Image:
    """Return the sheet; None as weights stands for the base."""
    step = SIZE + GAP
    size = (SIDE + step * len(bench.prompts), HEAD + step * len(rows))
    sheet = Image.new("RGB", size, (70, 70, 70))
    pen = ImageDraw.Draw(sheet)
    for column, prompt in enumerate(bench.prompts):
        pen.text((SIDE + column * step + 2, 2), prompt.split(" ", 1)[1].replace(" ", "\n"))
    for row, (label, weights) in enumerate(rows.items()):
        bench.model.load_state_dict(bench.base if weights is None else bench.merged(weights))
        seeds = range(seed, seed + len(bench.prompts))
        pen.text((4, HEAD + row * step + SIZE // 2 - 6), label)
        for column, picture in enumerate(sample(bench.model, bench.prompts, seeds)):
            sheet.paste(picture, (SIDE + column * step, HEAD + row * step))
    return sheet


def main() -> None:
    """Draw the sheet of the shipped models."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.demo_training.sheet")
    parser.add_argument("--assets", type=Path, default=assets.path("base").parent)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=18, help="pictures in a row")
    parser.add_argument("--seed", type=int, default=500)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    pairs = [(i % len(COLOURS), (3 * i + i // 10) % len(SHAPES)) for i in range(options.pictures)]
    prompts = [f"{article(COLOURS[c])} {COLOURS[c]} {SHAPES[s]}" for c, s in pairs]
    draw(Bench(options.assets, prompts), ROWS, options.seed).save(options.out)


if __name__ == "__main__":
    main()
