"""Studies killed again and again while a trial runs end as if they had been left alone."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bmerge import StudyError
from bmerge.storage.stored import has_study, read_study
from bmerge.testing.checkpoints import write_checkpoint
from bmerge.trials.trial import Trial
from soak import killing

EXAMPLE = Path(__file__).parents[1] / "plugin_project" / "bmerge_example.py"
ROUNDS = 20
TRIALS = 45
AT_ONCE = 4
"""Trials that a run makes at most until it is killed."""
STUDY = """
name: soak
merge: {method: weighted_sum, models: [a.safetensors, b.safetensors]}
space: {alpha: {per: single}}
payloads: {prompts: [one, two, three], seeds: [1, 2]}
generator: {name: swatch}
scorers: [{name: brightness, target: 1.0}]
optimiser: {name: random, init_points: 2, n_iters: 40}
racing: on
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two models of 400 kB, and a study of 45 trials with six pictures each."""
    folder = tmp_path_factory.mktemp("study")
    for name, value in (("a", 0.1), ("b", 0.9)):
        tensors = {f"layers.{n}.w": np.full((100, 500), value) for n in range(2)}
        write_checkpoint(folder / f"{name}.safetensors", tensors)
    (folder / "study.yaml").write_text(STUDY)
    return folder


def pixels(path: Path) -> tuple[bytes, Mapping[str, str]]:
    """Return a picture and what it says of itself, but for which start of its trial it is of."""
    with Image.open(path) as image:
        return image.tobytes(), {k: v for k, v in image.info.items() if k != "token"}


def outcome(out: Path) -> tuple[object, ...]:
    """Return all that a study has come to: trials, pictures, best merge."""
    trials = [
        (t.number, t.state, t.sequence, dict(t.proposal.values), t.score, t.pictures)
        for t in read_study(out).trials.values()
    ]
    pictures = {path.relative_to(out): pixels(path) for path in out.rglob("*.png")}
    best = [(out / "best" / name).read_bytes() for name in ("best.safetensors", "recipe.yaml")]
    return json.dumps(trials, default=list), pictures, best


def read(out: Path) -> Mapping[int, Trial]:
    """Return the trials of a study; none where its run was killed while it made the database."""
    try:
        return read_study(out).trials
    except StudyError as error:
        assert "yet: its run ended while it made study.db" in str(error)  # noqa: PT017
        return {}


def test_a_study_that_is_killed_again_and_again_ends_as_one_left_alone(folder, tmp_path, note):
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "TMPDIR": str(temporary)}

    def command(out):
        study = folder / "study.yaml"
        return killing.command("run", study, "--plugin", EXAMPLE, "--out", out)

    whole = tmp_path / "whole"
    all_of_it = killing.effort(command(whole), environment)
    start = killing.effort(command(whole), environment)  # and finds nothing left to do
    longest = start + AT_ONCE * max(0.0, all_of_it - start) / TRIALS
    expected = outcome(whole)
    dice = random.Random(7)
    killed = started = 0
    while killed < killing.kills():
        out = tmp_path / f"killed-{started}"
        started += 1
        complete: set[int] = set()
        for _ in range(ROUNDS):
            killed += killing.killed_after(command(out), environment, dice.uniform(0, longest))
            if has_study(out):
                now = {n for n, t in read(out).items() if t.state == "complete"}
                assert complete <= now, "a trial that was complete is lost"
                complete = now
        killing.duration(command(out), environment)
        assert outcome(out) == expected
        assert not list(temporary.iterdir())
        # After each, so that who stops it before its end knows how far it came.
        told = f"{started} studies, all as whole"
        note(f"studies killed up to {ROUNDS} times each", killed, told)
