"""``python -m benchmarks.start_up``: how long bmerge takes to begin, beside numpy and click.

The commands run in turn, in random order; medians of wall-clock and CPU time. Bytecode is kept
between the runs, as it is for installed packages. What says so does not wait for the disk, as
``python -m benchmarks.merge`` does not.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from bmerge.testing.checkpoints import write_random
from bmerge.testing.layouts import sd1_layout, shrink

LAYOUT = [(f"layers.{i}.w", "F16", (64, 1024)) for i in range(8)]  # 1 MB


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start_up", description=__doc__)
    parser.add_argument("--rounds", type=int, default=31)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="bmerge-start-") as folder:
        commands = _commands(Path(folder))
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": folder, "XDG_CACHE_HOME": folder}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for number in range(rounds + 1):
            for name in random.sample(sorted(commands), len(commands)):
                taken = _run(commands[name], environment)
                if number:  # the first round writes the bytecode
                    times[name].append(taken)
    print("| command | wall ms | CPU ms |\n|---|---|---|")
    for name, taken in times.items():
        wall, cpu = (1000 * statistics.median(column) for column in zip(*taken, strict=True))
        print(f"| {name} | {wall:.0f} | {cpu:.0f} |")
    print(f"\n{rounds} rounds, load {os.getloadavg()[0]:.1f}")


def _commands(folder: Path) -> dict[str, list[str]]:
    models = [
        str(write_random(folder / f"{name}.safetensors", LAYOUT, seed=seed))
        for seed, name in enumerate("ab")
    ]
    tiny = [
        str(write_random(folder / f"{name}.safetensors", shrink(sd1_layout("F16")), seed=seed))
        for seed, name in enumerate("cd")
    ]
    python, bmerge = sys.executable, str(Path(sys.executable).with_name("bmerge"))
    out = str(folder / "out.safetensors")
    end = ["--alpha", "0.3", "-o", out, "--force"]
    return {
        "python": [python, "-c", ""],
        "import re": [python, "-c", "import re"],
        "import numpy": [python, "-c", "import numpy"],
        "merge of two 1 MB files": [bmerge, "merge", "weighted_sum", *models, *end],
        "the same, --no-sync": [bmerge, "merge", "weighted_sum", *models, *end, "--no-sync"],
        "merge of two files with SD1.5's 1,131 tensors, tiny, --no-sync": [
            bmerge, "merge", "weighted_sum", *tiny, *end, "--no-sync",
        ],
        "import click": [python, "-c", "import click"],
        "bmerge --version": [bmerge, "--version"],
    }  # fmt: skip


def _run(command: list[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """Run a command; return its wall-clock and CPU seconds."""
    null = os.open(os.devnull, os.O_RDWR)
    silent = [(os.POSIX_SPAWN_DUP2, null, stream) for stream in (1, 2)]
    start = time.perf_counter()
    process = os.posix_spawn(command[0], command, environment, file_actions=silent)
    _, status, usage = os.wait4(process, 0)
    seconds = time.perf_counter() - start
    os.close(null)
    if status:
        raise SystemExit(f"failed: {' '.join(command)}")
    return seconds, usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
