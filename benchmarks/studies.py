"""What a study costs beside its merges and pictures: ``python -m benchmarks.studies``.

A study over 26 blocks whose merges and pictures cost nothing: CPU time of a trial of 16 pictures
about the 100th, memory over its trials, and CPU time until a study of 1,000 trials goes on and
for its report, of pictures of 512 × 512 pixels.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image

from bmerge import Payload, Picture
from bmerge.architectures import Architecture, Rule
from bmerge.evaluate.evaluation import Evaluator
from bmerge.evaluate.scoring import WeightedScorer
from bmerge.host import load_registry
from bmerge.method import Hyperparameter
from bmerge.recipe import ModelRef, Recipe
from bmerge.report import write_report
from bmerge.storage.definition import StudyDefinition
from bmerge.storage.sections import GeneratorDefinition, MergeDefinition, OptimiserDefinition
from bmerge.storage.transfer import export_study, import_study
from bmerge.study.events import Event, TrialFinished
from bmerge.study.loop import run_study
from bmerge.study.study import PreparedStudy, initial_proposals
from bmerge.study_file.space_config import build_space
from bmerge.study_file.space_entry import HyperparameterSpace
from bmerge.trials.baselines import baselines
from bmerge.trials.objective import Objective, Objectives

BLOCKS = tuple(f"B{place:02d}" for place in range(26))
PAYLOADS = tuple(Payload(f"p{place:02d}", f"picture {place}", seed=place) for place in range(16))
SEED, SAMPLE, INITIAL = 5, 20, 10


class _Merged:
    def __init__(self, merge: Any) -> None:
        self.merge = merge

    def close(self) -> None:
        """There is nothing to close."""


class _Merger:
    """Merges nothing; a merge is its weights."""

    scratch = Path("/")

    def close(self) -> None:
        """Keep nothing."""

    def model(self, merge: Any) -> _Merged:
        return _Merged(merge)

    def write(self, merge: Any, output: Path) -> None:  # noqa: ARG002
        output.write_bytes(b"")

    def size(self, weights: Any) -> int:  # noqa: ARG002
        return 0

    def recipe(self, merge: Any) -> Recipe:
        weights = {} if isinstance(merge, int) else merge
        return Recipe("weighted_sum", (ModelRef("/a"), ModelRef("/b")), weights, "F16", "sd1")


class _Painter:
    """Paints grey squares of 8 × 8 pixels."""

    def load(self, model: _Merged) -> None:
        weights = {} if isinstance(model.merge, int) else model.merge
        values = [weights["alpha"].of(block) if weights else model.merge for block in BLOCKS]
        self._quality = -float(np.square(np.array(values) - 0.3).sum())

    def generate(self, payloads: Sequence[Payload]) -> Iterator[Picture]:
        for payload in payloads:
            yield Picture(
                payload, Image.new("RGB", (8, 8), (90, 120, 150)), {"quality": self._quality}
            )

    def close(self) -> None:
        """There is nothing to close."""


class _Judge:
    def score(self, pictures: Sequence[Picture]) -> list[float]:
        return [picture.info["quality"] + 0.01 * picture.payload.seed for picture in pictures]


def _study(folder: Path, trials: int) -> PreparedStudy:
    objectives = Objectives((Objective("score", {"judge": 1.0}),))
    alpha = Hyperparameter("alpha", default=0.5, low=0.0, high=1.0)
    layout = Architecture("plain", "plain", BLOCKS, (Rule("", BLOCKS[0]),))
    search = build_space({"alpha": HyperparameterSpace()}, [alpha], layout)
    pure = {0: {"alpha": 0.0}, 1: {"alpha": 1.0}}
    queue = (*baselines(search, pure, 2), *initial_proposals(search, "sobol", INITIAL, SEED))
    kind = load_registry(()).optimiser("random")
    merge = json.loads(json.dumps(asdict(Recipe("weighted_sum", ()))))
    definition = StudyDefinition(
        merge=MergeDefinition.from_json({**merge, "models": ["0" * 64, "1" * 64]}),
        space=search.describe(),
        payloads=PAYLOADS,
        generator=GeneratorDefinition("painter"),
        scorers=(),
        objectives=objectives,
        optimiser=OptimiserDefinition("random", SEED, "sobol", INITIAL),
    )
    return PreparedStudy(
        name="plain",
        folder=folder,
        search=search,
        merger=_Merger(),
        evaluator=Evaluator(_Painter(), (WeightedScorer("judge", 1.0, _Judge()),), PAYLOADS),
        objectives=objectives,
        optimiser=lambda *arguments: kind.create(*arguments, options={}),
        optimiser_name="random",
        seed=SEED,
        queue=queue,
        n_iters=trials - len(queue),
        definition=definition,
        racing="off",
        confirm=0,
    )


def _resident() -> float:
    """Return the resident memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * 4096 / 1e6


def _run(folder: Path, trials: int) -> str:
    """Run a study of so many trials; return what a trial costs and what memory it takes."""
    marks: list[tuple[float, float]] = []

    def note(event: Event) -> None:
        if isinstance(event, TrialFinished):
            marks.append((time.process_time(), _resident()))

    run_study(_study(folder, trials), on_event=note)
    steps = [after[0] - before[0] for before, after in itertools.pairwise(marks)]
    middle = min(100, len(steps))
    cost = statistics.median(steps[max(0, middle - 10) : middle + 10])
    first, last = marks[min(SAMPLE, trials - 1)][1], marks[-1][1]
    return (
        f"trial {middle}: {1000 * cost:.0f} ms of CPU time; resident after {SAMPLE} trials "
        f"{first:.0f} MB, after {trials} {last:.0f} MB"
    )


def _resumed(folder: Path, trials: int) -> str:
    """Store a study of so many trials; return what it costs to go on with it."""
    run_study(_study(folder / "sample", trials), trials=SAMPLE)
    head, *lines = export_study(folder / "sample")
    rows = [json.loads(line) for line in lines]
    rng = np.random.default_rng(SEED)
    for number in range(len(rows), trials):
        row = json.loads(lines[-1])
        values = dict(zip(row["values"], rng.random(len(BLOCKS)).tolist(), strict=True))
        scores = [float(rng.normal())]
        pictures = [
            {**picture, "file": f"pictures/{number:04}/{picture['id']}.png"}
            for picture in row["attributes"]["pictures"]
        ]
        own = {"sequence": number, "asks_before": number - 12, "pictures": pictures}
        row |= {"trial": number, "values": values, "scores": scores}
        row["attributes"] |= own
        rows.append(row)
    import_study([head, *map(json.dumps, rows)], folder / "whole", source="a copy")
    start = time.process_time()
    run_study(_study(folder / "whole", trials + 1))
    taken = time.process_time() - start
    _paint(folder / "whole", trials)
    start = time.process_time()
    write_report(folder / "whole")
    return (
        f"{trials} trials are taken up, and one more made, in {taken:.2f} s of CPU time; "
        f"their report in {time.process_time() - start:.2f} s"
    )


def _paint(folder: Path, trials: int) -> None:
    """Give each trial its pictures: links to one."""
    noise = np.random.default_rng(SEED).normal(128, 30, (64, 64, 3)).clip(0, 255)
    one = folder / "one.png"
    Image.fromarray(noise.astype(np.uint8)).resize((512, 512)).save(one)
    for number in range(trials):
        place = folder / "pictures" / f"{number:04}"
        place.mkdir(parents=True, exist_ok=True)
        for payload in PAYLOADS:
            with contextlib.suppress(FileExistsError):
                os.link(one, place / f"{payload.id}.png")


@click.command()
@click.option("--trials", type=click.IntRange(30), default=320, help="Trials that are run.")
@click.option("--stored", type=click.IntRange(30), default=1000, help="Trials taken up.")
def main(trials: int, stored: int) -> None:
    """Print what a study costs beside its merges and pictures."""
    with tempfile.TemporaryDirectory() as folder:
        click.echo(_run(Path(folder) / "run", trials))
        click.echo(_resumed(Path(folder), stored))


if __name__ == "__main__":
    main()
