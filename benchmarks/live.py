"""``python -m benchmarks.live``: merges into live tensors, beside a copy of memory by threads.

An SD1.5 UNet lies in memory as a pipeline would hold it, and is merged anew in place, from two
checkpoints in the page cache: all of it, and one block of it, as a study does from trial to trial.
The merge of n bytes reads 2 n and writes n. Its floor moves as many bytes with ``memcpy``, which
reads and writes the same number: it copies 1.5 n, by as many threads. Floor and merges run in
turn in one process.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.merge.models import KINDS, make
from bmerge.executors import NativeExecutor
from bmerge.formats import open_checkpoint
from bmerge.host import load_registry
from bmerge.host.merges import architecture_of, plan_merge
from bmerge.pipeline import merge_into
from bmerge.plan import Plan
from bmerge.recipe import ModelRef, Recipe, parse_weights

_UNET = "model.diffusion_model."
_PIECE = 1 << 20
"""Bytes that a thread of the floor copies at a time."""


def _plan(models: Sequence[Path], alpha: str) -> Plan:
    registry = load_registry()
    checkpoints = [open_checkpoint(path) for path in models]
    architecture = architecture_of(None, checkpoints, registry)
    refs = tuple(ModelRef(str(path)) for path in models)
    recipe = Recipe("weighted_sum", refs, {"alpha": parse_weights(alpha, architecture)})
    return plan_merge(recipe, checkpoints, registry)


def _copies(source: np.ndarray, target: np.ndarray, threads: int) -> Callable[[], None]:
    """Return a copy of all of ``source`` and half of it again."""
    pieces = [*range(0, source.size, _PIECE), *range(0, source.size // 2, _PIECE)]

    def copy(first: int) -> None:
        for begin in pieces[first::threads]:
            np.copyto(target[begin : begin + _PIECE], source[begin : begin + _PIECE])

    def run() -> None:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(copy, range(threads)))

    return run


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def measure(models: Sequence[Path], *, rounds: int, threads: int) -> None:
    """Print the medians of as many rounds."""
    executor = NativeExecutor(threads=threads)
    plans = {"all blocks": _plan(models, "0.4"), "one block": _plan(models, "IN05=0.4,*=0.3")}
    outputs = [output for output in plans["all blocks"].outputs if output.key.startswith(_UNET)]
    live: Mapping[str, np.ndarray] = {
        output.key: np.zeros(output.shape, np.float16) for output in outputs
    }
    nbytes = sum(array.nbytes for array in live.values())
    block = {job.key for job in plans["one block"].merges if job.block == "IN05"}
    works = {
        "all blocks": (plans["all blocks"].only(live), live, nbytes),
        "one block": (
            plans["one block"].only(block),
            {key: live[key] for key in block},
            sum(live[key].nbytes for key in block),
        ),
    }
    for name, (plan, tensors, size) in works.items():
        source, target = np.ones(size, np.uint8), np.ones(size, np.uint8)
        copy = _copies(source, target, threads)
        merge = partial(merge_into, plan, tensors, executor=executor)
        for run in (copy, merge):  # they touch all memory once
            run()
        pairs = [(_seconds(copy), _seconds(merge)) for _ in range(rounds)]
        floor, seconds = (statistics.median(column) for column in zip(*pairs, strict=True))
        reached = statistics.median(one / other for one, other in pairs)
        print(
            f"{name}: {size / 1e6:.0f} MB, copy {floor:.3f} s, merge {seconds:.3f} s, "
            f"{3 * size / seconds / 1e9:.1f} GB/s, {reached:.0%} of the copy's speed",
            flush=True,
        )


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.live", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--scratch", type=Path, help="folder of models, made if not there")
    options = parser.parse_args()
    with TemporaryDirectory() as temporary:
        folder = options.scratch or Path(temporary)
        made = make(KINDS["sd15"], ("a", "b"), folder)
        measure([made["a"], made["b"]], rounds=options.rounds, threads=options.threads)


if __name__ == "__main__":
    main()
