"""How near factors of layers come to the exact decomposition, beside torch.svd_lowrank's.

    python -m benchmarks.svd BASE TUNED [--rank 32] [--layers 12]

Takes layers of all sizes from the difference of two checkpoints. The error is the Frobenius norm of
what a product lacks, beside that of the best product of the rank (numpy's exact SVD in float64).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from bmerge.formats import open_checkpoint
from bmerge.lora.arrays import Array, read_array
from bmerge.lora.decompose import Wanted, factorise

_LEAST = 320
"""Rows; smaller layers are decomposed exactly."""

Product = Callable[[Array, int], Array]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", type=Path)
    parser.add_argument("tuned", type=Path)
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--layers", type=int, default=12)
    arguments = parser.parse_args()
    ways: dict[str, Product] = {"bmerge": _ours, "torch.svd_lowrank": _torch}
    totals = dict.fromkeys(ways, 0.0)
    worst = dict.fromkeys(ways, 1.0)
    print("| layer | " + " | ".join(f"{way}: error / least, CPU s" for way in ways) + " |")
    print("|---" * (len(ways) + 1) + "|")
    with threadpool_limits(1, user_api="blas"):
        for key, matrix in _layers(arguments.base, arguments.tuned, arguments.layers):
            values = np.linalg.svd(matrix.astype("f8"), compute_uv=False)
            least = float(np.sqrt(np.sum(values[arguments.rank :] ** 2)))
            cells = []
            for way, product in ways.items():
                clock = time.process_time()
                found = product(matrix, arguments.rank)
                spent = time.process_time() - clock
                ratio = float(np.linalg.norm(matrix - found)) / least
                totals[way] += spent
                worst[way] = max(worst[way], ratio)
                cells.append(f"{ratio:.6f}, {spent:.3f}")
            shape = " x ".join(map(str, matrix.shape))
            print(
                f"| {key.rpartition('diffusion_model.')[2]} {shape} | " + " | ".join(cells) + " |"
            )
    cells = [f"{worst[way]:.6f} at most, {totals[way]:.2f} in all" for way in ways]
    print("| all | " + " | ".join(cells) + " |")


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


if __name__ == "__main__":
    main()
