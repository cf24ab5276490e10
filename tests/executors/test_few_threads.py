"""A system that lets few threads begin: what there is does the work, with the same result."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bmerge.testing.checkpoints import write_checkpoint

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it limits memory as Linux does")
STACK = 1 << 32  # bytes that a thread of the core reserves here; nothing of it is used

MERGE = """
import resource, sys
from pathlib import Path
from bmerge.cli.call import call
from bmerge.executors import NativeExecutor
from bmerge.pipeline import merge_to_file
from merges import plan_of

folder, stacks = Path(sys.argv[1]), float(sys.argv[2])
size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
room = size + int(stacks * int(sys.argv[3]))
resource.setrlimit(resource.RLIMIT_AS, (room, room))
plan = plan_of([folder / "a.safetensors", folder / "b.safetensors"])
report = merge_to_file(
    plan, folder / sys.argv[4], executor=NativeExecutor(threads=8), hashes=False, sync=False
)
print(report.execution.processor.threads)
"""


@pytest.fixture
def folder(tmp_path):
    for name, seed in (("a", 0), ("b", 1)):
        values = np.random.default_rng(seed).random(1 << 20, np.float32)
        write_checkpoint(tmp_path / f"{name}.safetensors", {"w": values})
    return tmp_path


def merge(folder, stacks, output):
    """Merge in a process that has room for so many stacks of threads."""
    environment = {**os.environ, "RUST_MIN_STACK": str(STACK)}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    return subprocess.run(
        [sys.executable, "-c", MERGE, folder, str(stacks), str(STACK), output],
        capture_output=True, text=True, env=environment, timeout=60, check=False,
    )  # fmt: skip


def test_the_threads_that_begin_do_all_of_the_work(folder):
    several, few = merge(folder, 9.5, "several.safetensors"), merge(folder, 2.5, "few.safetensors")
    assert (several.stdout, few.stdout) == ("8\n", "2\n"), several.stderr + few.stderr
    assert (folder / "few.safetensors").read_bytes() == Path(
        folder / "several.safetensors"
    ).read_bytes()


def test_none_that_begins_is_an_error_of_the_system(folder):
    none = merge(folder, 0.5, "none.safetensors")
    assert "cannot start a thread: Resource temporarily unavailable" in none.stderr
    assert sorted(file.name for file in folder.iterdir()) == ["a.safetensors", "b.safetensors"]
