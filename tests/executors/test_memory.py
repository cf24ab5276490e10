"""The budget of memory is kept by the process, as the system measures it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bmerge.testing.checkpoints import write_checkpoint

MERGE = """
import sys
from pathlib import Path
from bmerge.executors import NativeExecutor
from bmerge.pipeline import merge_to_file
from merges import plan_of

def peak():
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) << 10

folder, memory, threads, io = Path(sys.argv[1]), *map(int, sys.argv[2:4]), sys.argv[4]
plan = plan_of([folder / "a.safetensors", folder / "b.safetensors"])
executor = NativeExecutor(memory=memory, threads=threads, io=io)
Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here on
before = peak()
merge_to_file(plan, folder / "o.safetensors", executor=executor, hashes=False, sync=False)
print(peak() - before)
"""
MB = 1 << 20
FIXED = 16 * MB  # stacks, the plan, modules that are imported and perhaps compiled meanwhile


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two checkpoints of 48 MB each: more than any budget here."""
    folder = tmp_path_factory.mktemp("large")
    tensors = {f"x.{n}.w": np.full(3 * MB, n, "f4") for n in range(4)}
    for name in "ab":
        write_checkpoint(folder / f"{name}.safetensors", tensors)
    yield folder
    for file in folder.iterdir():
        file.unlink()


def taken(folder, memory, threads, io):
    """Return the bytes that a merge takes at its peak, maps included."""
    tests = Path(__file__).parents[1]
    command = [sys.executable, "-c", MERGE, str(folder), str(memory), str(threads), io]
    done = subprocess.run(command, cwd=tests, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="nothing tells the peak there")
def test_many_threads_share_the_budget(folder):
    small, large = (taken(folder, memory, 40, "read") for memory in (8 * MB, 512 * MB))
    assert small < 8 * MB + FIXED
    assert large > small + 4 * MB  # or the budget would not show here; few threads may get work


@pytest.mark.skipif(sys.platform != "linux", reason="nothing tells the peak there")
def test_pages_of_maps_are_part_of_the_budget(folder):
    small, large = (taken(folder, memory, 2, "mmap") for memory in (8 * MB, 512 * MB))
    assert small < 8 * MB + FIXED
    assert large > small + 8 * MB
