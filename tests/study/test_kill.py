"""Processes that are killed, or that want the same study: nothing is lost, doubled or changed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import toy_study
from bmerge.storage.stored import read_study
from bmerge.study.events import PictureDone
from bmerge.study.loop import run_study
from toy_study import ONE, TWO, make_study

N_ITERS = 6


def start(folder, optimiser, n_iters=N_ITERS, options=()):
    return subprocess.Popen(
        [sys.executable, toy_study.__file__, folder, optimiser, str(n_iters), *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip


def kill_after(process, lines):
    """Kill a run with SIGKILL once it has reported so many events; tell whether it was alive."""
    for _ in range(lines):
        if not process.stdout.readline():
            break
    time.sleep(random.Random(lines).random() * 0.02)
    process.kill()
    process.communicate()


def rows(folder):
    return [
        (
            t.number,
            t.state,
            t.proposal.phase,
            dict(t.proposal.values),
            t.score,
            t.scores,
            t.sequence,
        )
        for t in read_study(folder).trials.values()
    ]


def check_kills(tmp_path, optimiser, kills, seed, events=(1, 14), n_iters=N_ITERS, *, two=False):
    """Kill a run again and again, let it end, and compare it with one that was left alone.

    ``events`` bounds how many events a run may report before it is killed; a trial has five.
    """
    objectives, options = (TWO, ("--two",)) if two else (ONE, ())
    run_study(
        make_study(
            *(tmp_path / "whole", optimiser),
            n_iters=n_iters, design="random", objectives=objectives,
        )
    )  # fmt: skip
    dice = random.Random(seed)
    finished = set()
    for _ in range(kills):
        process = start(tmp_path / "killed", optimiser, n_iters, options)
        kill_after(process, dice.randrange(*events))
        if (tmp_path / "killed" / "best" / "recipe.yaml").exists():
            break
        now = {r[0] for r in rows(tmp_path / "killed") if r[1] == "complete"}
        assert finished <= now
        finished = now
    last = start(tmp_path / "killed", optimiser, n_iters, options)
    _, errors = last.communicate(timeout=100)
    assert last.returncode == 0, errors
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole")
    fronts = [p.relative_to(tmp_path / "whole") for p in tmp_path.glob("whole/front/*")]
    assert bool(fronts) == two
    for name in ("best/recipe.yaml", "best/best.safetensors", *fronts):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    files = lambda kind: sorted(  # noqa: E731
        p.relative_to(tmp_path / kind) for p in Path(tmp_path / kind / "pictures").rglob("*.png")
    )
    assert files("killed") == files("whole")


def test_killed_study_ends_as_if_it_was_left_alone(tmp_path):
    check_kills(tmp_path, "random", kills=5, seed=1)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "optimiser", ["bayes", *(pytest.param(o, marks=pytest.mark.slow) for o in ("gp", "nevergrad"))]
)
def test_killed_study_of_an_optimiser_ends_as_if_it_was_left_alone(tmp_path, optimiser):
    check_kills(tmp_path, optimiser, kills=1, seed=3, events=(33, 44), n_iters=3)


@pytest.mark.slow
def test_killed_study_of_two_normalised_objectives_ends_as_if_left_alone(tmp_path):
    check_kills(tmp_path, "nsga2", kills=3, seed=2, events=(8, 24), two=True)


def check_crew_kills(folder, kills, seed, n_iters):
    """Kill a run of three evaluators again and again in mid-trial, and let it end."""
    dice, told = random.Random(seed), []
    for _ in range(kills):
        process = start(folder, "random", n_iters, ("--crew",))
        told += [process.stdout.readline() for _ in range(dice.randrange(4, 20))]
        process.kill()
        rest, _ = process.communicate()
        told += rest.splitlines(keepends=True)
    last = start(folder, "random", n_iters, ("--crew",))
    rest, errors = last.communicate(timeout=300)
    assert last.returncode == 0, errors
    told += rest.splitlines(keepends=True)
    trials = read_study(folder).trials
    count = 6 + n_iters
    assert [(t.number, t.state) for t in trials.values()] == [(n, "complete") for n in range(count)]
    assert sorted(t.sequence for t in trials.values()) == list(range(count))
    points = [tuple(t.proposal.values.values()) for t in trials.values() if t.proposal.asked]
    assert len(set(points)) == len(points) == n_iters, "a point was proposed twice"
    pictures = [line for line in told if line.startswith("PictureDone ") and line.endswith("\n")]
    assert len(set(pictures)) == len(pictures), "a picture that was stored was made again"
    assert len(list(folder.rglob("*.png"))) == 3 * count


def test_a_killed_run_of_several_evaluators_loses_and_doubles_nothing(tmp_path):
    check_crew_kills(tmp_path, kills=2, seed=4, n_iters=3)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(8))
def test_runs_of_several_evaluators_that_are_killed_thirty_times(tmp_path, seed):
    check_crew_kills(tmp_path, kills=30, seed=seed, n_iters=120)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(4))
def test_study_killed_twenty_times_ends_as_if_it_was_left_alone(tmp_path, seed):
    check_kills(tmp_path, "random", kills=20, seed=seed)


_DIES = """
import os, sys, time, toy_study
from pathlib import Path
from bmerge.evaluate import evaluation
from bmerge.study.loop import run_study

class Dies(toy_study.Generator):
    loads = 0

    def load(self, model):
        super().load(model)
        self.loads += 1

    def generate(self, payloads):
        for index, picture in enumerate(super().generate(payloads)):
            if (self.loads, index) == (5, 2):
                while not second.exists():  # this one takes its time; that is scored meanwhile
                    time.sleep(0.01)
                os._exit(9)
            yield picture

evaluation._PATIENCE = 0.0  # pictures are scored at once, as those are that take their time
toy_study.PAYLOADS = tuple(toy_study.Payload(f"q{i}", "", seed=i) for i in range(5))
second = Path(sys.argv[1], "pictures", "0004", "q1.png")
study = toy_study.make_study(sys.argv[1], design="random", racing="off")
dies = toy_study.replace(study.evaluator, generator=Dies())
run_study(toy_study.replace(study, evaluator=dies))
"""


def test_pictures_of_a_trial_in_which_the_process_dies_are_not_made_again(tmp_path, monkeypatch):
    """The trial's row knows nothing of them: they tell themselves what they are."""
    path = os.pathsep.join(sys.path)
    dead = subprocess.run(
        [sys.executable, "-c", _DIES, tmp_path],
        env={**os.environ, "PYTHONPATH": path}, timeout=100, check=False,
    )  # fmt: skip
    assert dead.returncode == 9
    assert read_study(tmp_path).trials[4].pictures == ()
    stranger = tmp_path / "pictures" / "0004" / "q3.png"  # of an earlier attempt, say
    stranger.write_bytes((tmp_path / "pictures" / "0003" / "q3.png").read_bytes())
    monkeypatch.setattr(
        toy_study, "PAYLOADS", tuple(toy_study.Payload(f"q{i}", "", seed=i) for i in range(5))
    )
    events = []
    run_study(make_study(tmp_path, design="random", racing="off"), on_event=events.append)
    made = [event.index for event in events if isinstance(event, PictureDone) and event.number == 4]
    assert made == [2, 3, 4]
    run_study(make_study(tmp_path / "whole", design="random", racing="off"))
    assert rows(tmp_path) == rows(tmp_path / "whole")
    for one, other in zip(
        *(read_study(f).trials.values() for f in (tmp_path, tmp_path / "whole")), strict=True
    ):
        assert (one.means, one.pictures) == (other.means, other.pictures)


def test_killed_before_the_first_trial(tmp_path):
    """Kill at any moment of the storage's making; the next run must not stumble over it."""
    for delay in (0.0, 0.05, 0.1, 0.2):
        process = start(tmp_path, "random")
        while process.poll() is None and not (tmp_path / "study.lock").exists():
            time.sleep(0.002)
        time.sleep(delay)
        process.kill()
        process.communicate()
    last = start(tmp_path, "random")
    _, errors = last.communicate(timeout=100)
    assert last.returncode == 0, errors
    assert len(rows(tmp_path)) == 6 + N_ITERS


def test_two_runs_at_once(tmp_path):
    first = start(tmp_path, "random")
    assert first.stdout.readline().strip() == "StudyStarted"
    first.send_signal(signal.SIGSTOP)  # or it may be done before the second one has begun
    second = start(tmp_path, "random")
    _, errors = second.communicate(timeout=60)
    first.send_signal(signal.SIGCONT)
    assert second.returncode == 1
    assert f"another run is working on the study in {tmp_path} (process {first.pid})" in errors
    first.communicate(timeout=60)
    assert first.returncode == 0
    assert [row[0] for row in rows(tmp_path)] == list(range(6 + N_ITERS))
