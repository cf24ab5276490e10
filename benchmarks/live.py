"""``python -m benchmarks.live``: merges into live tensors, beside a copy of memory by threads.

An SD1.5 UNet lies in memory as a pipeline would hold it, and is merged anew in place, from two
checkpoints in the page cache: all of it, and one block of it, as a study does from trial to trial.
The merge of n bytes reads 2 n and writes n. It is compared with two copies by as many threads:

- ``memory`` moves as many bytes within memory, where ``memcpy`` reads as much as it writes: it
  copies 1.5 n.
- ``files`` reads n bytes of each checkpoint from the page cache, as anything must that does not
  keep both in memory of its own, and copies n bytes to the live tensors.

Copies and merges run in turn in one process. With ``--device`` the live tensors are torch's, on a
GPU for example, and torch merges into them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.merge.models import KINDS, make
from bmerge.executors import Executor, NativeExecutor
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


def _in_threads(threads: int, work: Callable[[int], object]) -> Callable[[], None]:
    """Return a call of ``work`` with the number of each thread."""

    def run() -> None:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, range(threads)))

    return run


def _memory(size: int, threads: int) -> Callable[[], None]:
    """Return a copy of ``size`` bytes of memory and of half of them again."""
    source, target = np.ones(size, np.uint8), np.ones(size, np.uint8)
    pieces = [*range(0, size, _PIECE), *range(0, size // 2, _PIECE)]

    def copy(first: int) -> None:
        for begin in pieces[first::threads]:
            np.copyto(target[begin : begin + _PIECE], source[begin : begin + _PIECE])

    return _in_threads(threads, copy)


def _files(models: Sequence[Path], size: int, threads: int) -> Callable[[], None]:
    """Return a read of ``size`` bytes of each model, of which one goes to memory."""
    files = [model.open("rb", buffering=0) for model in models]
    target = np.ones(size, np.uint8)
    buffers = [np.ones(_PIECE, np.uint8) for _ in range(threads)]

    def copy(first: int) -> None:
        buffer = buffers[first]
        for begin in range(first * _PIECE, size, threads * _PIECE):
            count = min(_PIECE, size - begin)
            for file in files:
                os.preadv(file.fileno(), [buffer.data[:count]], begin)
            np.copyto(target[begin : begin + count], buffer[:count])

    return _in_threads(threads, copy)


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _zeros(shape: tuple[int, ...], device: str | None) -> Any:
    """Return a live tensor: an array, or torch's on a device."""
    if device is None:
        return np.zeros(shape, np.float16)
    import torch

    return torch.zeros(shape, dtype=torch.float16, device=device)


def measure(
    models: Sequence[Path], executor: Executor, *, device: str | None, rounds: int, threads: int
) -> None:
    """Print the medians of as many rounds."""
    plans = {"all blocks": _plan(models, "0.4"), "one block": _plan(models, "IN05=0.4,*=0.3")}
    outputs = [output for output in plans["all blocks"].outputs if output.key.startswith(_UNET)]
    live = {output.key: _zeros(output.shape, device) for output in outputs}
    nbytes = sum(int(tensor.nbytes) for tensor in live.values())
    block = {job.key for job in plans["one block"].merges if job.block == "IN05"}
    works = {
        "all blocks": (plans["all blocks"].only(live), live, nbytes),
        "one block": (
            plans["one block"].only(block),
            {key: live[key] for key in block},
            sum(int(live[key].nbytes) for key in block),
        ),
    }
    for name, (plan, tensors, size) in works.items():
        merge = partial(merge_into, plan, tensors, executor=executor)
        runs = (_memory(size, threads), _files(models, size, threads), merge)
        for run in runs:  # they touch all memory once
            run()
        rows = [[_seconds(run) for run in runs] for _ in range(rounds)]
        in_memory, from_files, seconds = map(statistics.median, zip(*rows, strict=True))
        of_memory, of_files = (statistics.median(r[i] / r[2] for r in rows) for i in (0, 1))
        print(
            f"{name}: {size / 1e6:.0f} MB, memory {in_memory:.3f} s, files {from_files:.3f} s, "
            f"merge {seconds:.3f} s ({3 * size / seconds / 1e9:.1f} GB/s): "
            f"{of_memory:.0%} and {of_files:.0%} of the copies' speed",
            flush=True,
        )


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.live", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--io", choices=["auto", "read", "mmap"], default="auto")
    parser.add_argument(
        "--device", help="of torch's live tensors, such as cuda; the core's if none"
    )
    parser.add_argument("--scratch", type=Path, help="folder of models, made if not there")
    options = parser.parse_args()
    with TemporaryDirectory() as temporary:
        folder = options.scratch or Path(temporary)
        made = make(KINDS["sd15"], ("a", "b"), folder)
        models = [made["a"], made["b"]]
        executor: Executor = NativeExecutor(threads=options.threads, io=options.io)
        if options.device:
            from bmerge.executors.torch import TorchExecutor

            executor = TorchExecutor(options.device)
        measure(
            models, executor, device=options.device, rounds=options.rounds, threads=options.threads
        )


if __name__ == "__main__":
    main()
