"""``python -m benchmarks.evaluators``: what several evaluators of a study save.

``bmerge run`` of 40 equal trials whose pictures sleep, over the blocks of two tiny SD1.5 models
with ``auto``, by one evaluator and by four. Beside the share of the time it prints where the time
goes: until the first trial and after the last (by the clock, and of CPU time), between two trials
of an evaluator (median, most), and while some evaluators have not begun yet or are done.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from bmerge.testing.checkpoints import write_random
from bmerge.testing.layouts import sd1_layout, shrink

PICTURES = 4
PLUGIN = '''
import itertools, json, os, time
from PIL import Image
from bmerge import GeneratorKind, Picture, ScorerKind, hookimpl

count = itertools.count()

class Sleeper:
    """Sleeps, paints grey, and notes when each trial began and ended."""

    def __init__(self, *, seconds: float = 0.25, log: str = ""):
        self.seconds, self.log = seconds, log

    def load(self, model):
        self.start = time.monotonic(), time.process_time()

    def generate(self, payloads):
        for payload in payloads:
            time.sleep(self.seconds)
            quality = (next(count) * 0.618) % 1
            if payload == payloads[-1]:
                with open(self.log, "a") as file:
                    now = time.monotonic(), time.process_time()
                    file.write(json.dumps([id(self), *self.start, *now]) + "\\n")
            yield Picture(payload, Image.new("RGB", (8, 8), (90, 120, 150)), {"quality": quality})

    def close(self):
        pass

class Judge:
    """Takes the quality that the generator tells."""

    def score(self, pictures):
        return [picture.info["quality"] for picture in pictures]

@hookimpl
def bmerge_generators():
    return [GeneratorKind("sleeper", Sleeper, "sleeps")]

@hookimpl
def bmerge_scorers():
    return [ScorerKind("told", Judge, "what the generator tells")]
'''
STUDY = """\
name: sleep
merge: {{method: weighted_sum, models: [a.safetensors, b.safetensors]}}
payloads: {{prompts: [a, b, c, d]}}
generator: {{name: sleeper, seconds: {seconds}, log: {log}}}
scorers: [{{name: told}}]
optimiser: {{name: auto, trials: {trials}}}
racing: "off"
confirm: {{pictures: 0}}
evaluators: {evaluators}
plugins: [{{path: sleeper.py}}]
"""


class Run(NamedTuple):
    """Seconds that a study took, of CPU time, and where they went."""

    wall: float
    cpu: float
    start: float
    cpu_start: float
    end: float
    cpu_end: float
    gaps: list[float]
    tails: float


def _run(folder: Path, seconds: float, trials: int, evaluators: int) -> Run:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        log, file = Path(place) / "log", folder / f"study-{evaluators}.yaml"
        file.write_text(
            STUDY.format(seconds=seconds / PICTURES, log=log, trials=trials, evaluators=evaluators)
        )
        null = os.open(os.devnull, os.O_RDWR)
        silent = [(os.POSIX_SPAWN_DUP2, null, stream) for stream in (1, 2)]
        command = [str(Path(sys.executable).with_name("bmerge")), "run", str(file), "--out", place]
        start = time.monotonic()
        process = os.posix_spawn(command[0], command, os.environ, file_actions=silent)
        _, status, usage = os.wait4(process, 0)
        end = time.monotonic()
        os.close(null)
        if status:
            raise SystemExit(f"failed: {' '.join(command)}")
        rows = [json.loads(line) for line in log.read_text().splitlines()]
    return _told(rows, start, end, usage.ru_utime + usage.ru_stime)


def _told(rows: list[list[float]], start: float, end: float, cpu: float) -> Run:
    slots: defaultdict[float, list[list[float]]] = defaultdict(list)
    for slot, *row in sorted(rows, key=lambda row: row[1]):
        slots[slot].append(row)
    firsts, lasts = [row[0] for row in slots.values()], [row[-1] for row in slots.values()]
    first, last = min(firsts), max(lasts, key=lambda row: row[2])
    gaps = [b[0] - a[2] for row in slots.values() for a, b in itertools.pairwise(row)]
    tails = sum(one[0] - first[0] for one in firsts) + sum(last[2] - one[2] for one in lasts)
    return Run(
        end - start, cpu, first[0] - start, first[1], end - last[2], cpu - last[3], gaps, tails
    )


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evaluators", description=__doc__)
    parser.add_argument("--seconds", type=float, nargs="+", default=[1.0, 0.5], help="of a trial")
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    columns = (
        "trial s | evaluators | s | of one | CPU s | before, s | after, s | gap ms, most | idle s"
    )
    print(f"| {columns} |\n|{'---|' * 9}")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # installed packages have bytecode
    with tempfile.TemporaryDirectory(prefix="bmerge-evaluators-") as name:
        folder = Path(name)
        (folder / "sleeper.py").write_text(PLUGIN)
        for seed, model in enumerate("ab"):
            layout = shrink(sd1_layout("F16"))
            write_random(folder / f"{model}.safetensors", layout, seed=seed)
        for seconds, _ in itertools.product(options.seconds, range(options.rounds)):
            one = _run(folder, seconds, options.trials, 1)
            four = _run(folder, seconds, options.trials, 4)
            for evaluators, run in ((1, one), (4, four)):
                print(
                    f"| {seconds:g} | {evaluators} | {run.wall:.2f} | {run.wall / one.wall:.1%} |"
                    f" {run.cpu:.2f} | {run.start:.2f}, {run.cpu_start:.2f} |"
                    f" {run.end:.2f}, {run.cpu_end:.2f} |"
                    f" {1000 * statistics.median(run.gaps):.0f}, {1000 * max(run.gaps):.0f} |"
                    f" {run.tails:.2f} |",
                    flush=True,
                )
    print(f"\nload {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
