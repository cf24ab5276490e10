"""How near factors of layers come to the exact decomposition, beside those of other ways.

    python -m benchmarks.svd [BASE TUNED] [--rank 32] [--layers 12] [--output FILE]

Takes layers of all sizes from the difference of two checkpoints; without any it makes such
differences, of shapes that SD1.5 has: 64 falling strengths and noise. Beside ours are
``torch.svd_lowrank`` and the whole SVD by torch, which kohya's script takes. The error is the
Frobenius norm of what a product lacks, beside that of the best product of the rank (numpy's exact
SVD in float64).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from bmerge.formats import open_checkpoint
from bmerge.lora.arrays import Array, read_array
from bmerge.lora.decompose import Wanted, factorise

_LEAST = 320
"""Rows; smaller layers are decomposed exactly."""

_TITLE = "# Factors of LoRAs beside the exact decomposition"
_SMALL = 16
_STRENGTHS = 64
_SHAPES = ((320, 320), (640, 640), (640, 1280), (1280, 1280), (1280, 5120), (1280, 23040))

Product = Callable[[Array, int], Array]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path, nargs="*", metavar="MODEL", help="base and tuned")
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--layers", type=int, default=12, help="of models")
    parser.add_argument("--output", type=Path, help="a file for the table")
    arguments = parser.parse_args()
    if len(arguments.models) not in {0, 2}:
        parser.error("name two models, or none")
    found = _made()
    if arguments.models:
        base, tuned = arguments.models
        found = _layers(base, tuned, arguments.layers)
    with threadpool_limits(1, user_api="blas"):
        lines = list(_lines(found, arguments.rank))
    if arguments.output:
        arguments.output.write_text("\n".join([_TITLE, "", *lines, ""]), encoding="utf-8")


def _lines(layers: Iterable[tuple[str, Array]], rank: int) -> Iterator[str]:
    """Yield the lines of the table, and print each when it is known."""
    ways: dict[str, Product] = {"bmerge": _ours, "torch.svd_lowrank": _torch, "whole SVD": _whole}
    for product in ways.values():
        product(np.eye(_SMALL, dtype=np.float32), 1)  # imports torch
    totals = dict.fromkeys(ways, 0.0)
    worst = dict.fromkeys(ways, 1.0)

    def line(name: str, cells: Iterable[str]) -> str:
        text = f"| {name} | {' | '.join(cells)} |"
        print(text, flush=True)
        return text

    yield line("layer", (f"{way}: error / least, CPU s" for way in ways))
    yield line("---", ["---"] * len(ways))
    for key, matrix in layers:
        values = np.linalg.svd(matrix.astype("f8"), compute_uv=False)
        least = float(np.sqrt(np.sum(values[rank:] ** 2)))
        cells = []
        for way, product in ways.items():
            clock = time.process_time()
            found = product(matrix, rank)
            spent = time.process_time() - clock
            ratio = float(np.linalg.norm(matrix - found)) / least
            totals[way] += spent
            worst[way] = max(worst[way], ratio)
            cells.append(f"{ratio:.4f}, {spent:.3f}")
        shape = " x ".join(map(str, matrix.shape))
        yield line(f"{key.rpartition('diffusion_model.')[2]} {shape}".strip(), cells)
    yield line("all", (f"{worst[way]:.4f} at most, {totals[way]:.2f} in all" for way in ways))


def _made() -> Iterator[tuple[str, Array]]:
    """Yield differences as fine-tunes have them: some strong directions, falling, and noise."""
    random = np.random.default_rng(0)
    for rows, columns in _SHAPES:
        up = random.standard_normal((rows, _STRENGTHS), dtype=np.float32)
        down = random.standard_normal((_STRENGTHS, columns), dtype=np.float32)
        falling = np.float32(0.9) ** np.arange(_STRENGTHS, dtype=np.float32)
        noise = random.standard_normal((rows, columns), dtype=np.float32)
        yield "", (up * falling) @ down * np.float32(1e-3) + noise * np.float32(1e-3)


def _layers(base: Path, tuned: Path, count: int) -> Iterator[tuple[str, Array]]:
    """Yield differences of layers, from the smallest to the largest that are not huge."""
    first, second = open_checkpoint(base).tensors, open_checkpoint(tuned).tensors
    keys = [key for key, info in first.items() if len(info.shape) > 1 and "diffusion" in key]
    keys = [key for key in keys if first[key].shape[0] >= _LEAST]
    keys.sort(key=lambda key: first[key].numel)
    for index in np.linspace(0, len(keys) - 1, count).astype(int):
        key = keys[index]
        difference = read_array(second[key]) - read_array(first[key])
        yield key, difference.reshape(len(difference), -1)


def _ours(matrix: Array, rank: int) -> Array:
    factors = factorise(matrix, Wanted(rank))
    return factors.up @ factors.down


def _torch(matrix: Array, rank: int) -> Array:
    import torch

    torch.set_num_threads(1)
    u, s, v = torch.svd_lowrank(torch.from_numpy(matrix), q=rank + 10, niter=2)
    product: Array = ((u[:, :rank] * s[:rank]) @ v[:, :rank].T).numpy()
    return product


def _whole(matrix: Array, rank: int) -> Array:
    import torch

    torch.set_num_threads(1)
    u, s, vh = torch.linalg.svd(torch.from_numpy(matrix), full_matrices=False)
    product: Array = ((u[:, :rank] * s[:rank]) @ vh[:rank]).numpy()
    return product


if __name__ == "__main__":
    main()
