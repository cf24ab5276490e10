"""What surroundings do to a study: it waits, stops, goes on, and loses no trial and no picture."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from bmerge import GeneratorError, PluginError, ScorerError, StudyError
from bmerge.evaluate.evaluation import Evaluator
from bmerge.evaluate.scoring import WeightedScorer
from bmerge.storage.store import Store
from bmerge.storage.stored import read_study
from bmerge.study.events import Paused, PictureDone, TrialStarted
from bmerge.study.loop import run_study
from toy_study import PAYLOADS, Generator, Judge, Merger, make_study, weights_of

DOWN = GeneratorError("refused", transient=True)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("bmerge.study.waiting._FIRST", 0.001)


class Painter(Generator):
    """Counts pictures, and fails at chosen ones: number of the attempt → error."""

    def __init__(self, errors=()):
        super().__init__()
        self.errors, self.attempts, self.painted = dict(errors), 0, []

    def generate(self, payloads):
        for payload, picture in zip(payloads, super().generate(payloads), strict=True):
            self.attempts += 1
            if error := self.errors.pop(self.attempts, None):
                raise error
            self.painted.append(payload.id)
            yield picture


@pytest.fixture(autouse=True)
def one_at_a_time(monkeypatch):
    monkeypatch.setattr("bmerge.evaluate.evaluation._BATCH", 1)


def study_of(folder, generator=None, judge=None, **changes):
    scorers = (WeightedScorer("judge", 1.0, judge or Judge()),)
    evaluator = Evaluator(generator or Painter(), scorers, PAYLOADS)
    return make_study(folder, evaluator=evaluator, n_iters=2, init=1, design="random", **changes)


def summary(folder):
    return [
        (t.number, t.state, dict(t.proposal.values), t.score, t.means, t.pictures, t.sequence)
        for t in read_study(folder).trials.values()
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    run_study(study_of(folder))
    return summary(folder)


@pytest.mark.parametrize("at", [1, 2, 10, 18], ids=["start", "picture", "middle", "end"])
def test_generator_that_fails_for_a_while_costs_nothing(tmp_path, whole, at):
    generator = Painter({at: DOWN, at + 1: DOWN, at + 2: OSError(errno.ECONNRESET, "reset")})
    events = []
    run_study(study_of(tmp_path, generator), on_event=events.append)
    assert summary(tmp_path) == whole
    assert len(generator.painted) == 18  # none twice
    reasons = [e.reason.split(" (/")[0] for e in events if isinstance(e, Paused)]
    assert reasons[:2] == ["refused", "refused"]
    assert re.fullmatch(
        r"the generator failed at 'p\d\d-s\d' \(picture \d\): "
        r"ConnectionResetError: \[Errno 104\] reset",
        reasons[2],
    )
    assert len(reasons) == 3
    assert [e.again for e in events if isinstance(e, TrialStarted)].count(True) == 3
    assert [e.index for e in events if isinstance(e, PictureDone)] == [0, 1, 2] * 6


def test_an_import_that_fails_in_a_trial_stops_the_study_and_fails_no_trial(tmp_path):
    upgraded = Painter({7: ImportError("cannot import name 'x' from 'bmerge.plan'")})
    with pytest.raises(StudyError, match="cannot import name 'x'"):
        run_study(study_of(tmp_path, upgraded, patience=0.0))
    assert [t.state for t in read_study(tmp_path).trials.values()] == [
        "complete", "complete", "running",
    ]  # fmt: skip


def test_scorer_that_fails_for_a_while_judges_the_same_pictures_later(tmp_path, whole):
    class Server(Judge):
        calls = 0

        def score(self, pictures):
            self.calls += 1
            if self.calls in {5, 6, 17}:
                raise ScorerError("refused", transient=True)
            return super().score(pictures)

    generator = Painter()
    run_study(study_of(tmp_path, generator, Server()))
    assert summary(tmp_path) == whole
    assert len(generator.painted) == 18


@pytest.mark.parametrize("at", [2, 14], ids=["first trial", "later trial"])
def test_patience_that_runs_out_leaves_the_trial_to_the_same_command(tmp_path, whole, at):
    with pytest.raises(StudyError, match="cannot be evaluated: refused") as told:
        run_study(study_of(tmp_path, Painter({at: DOWN}), patience=0))
    assert "run the same command again: it continues" in told.value.hint
    trial = list(read_study(tmp_path).trials.values())[-1]
    assert (trial.state, trial.number) == ("running", (at - 1) // 3)
    assert [p["id"] for p in trial.pictures] == ["p00-s0"]
    again = Painter()
    run_study(study_of(tmp_path, again))
    assert summary(tmp_path) == whole
    assert again.painted[:3] == ["p01-s1", "p02-s2", "p00-s0"]


def test_interrupted_trial_keeps_its_pictures(tmp_path, whole):
    with pytest.raises(StudyError):
        run_study(study_of(tmp_path, Painter({15: DOWN}), patience=0))
    with pytest.raises(Exception, match="interrupted"):
        run_study(study_of(tmp_path, Painter({2: KeyboardInterrupt()})))
    last = Painter()
    run_study(study_of(tmp_path, last))
    assert summary(tmp_path) == whole
    assert last.painted[0] == "p00-s0"  # of the trial after it: all of its own were there


def wrong(study):
    """Return a study with another definition."""
    return replace(study, definition=replace(study.definition, baselines=False))


@pytest.mark.parametrize(
    "error", [GeneratorError("no such sampler", blame="study"), PluginError("no such option")]
)
def test_mistake_of_the_study_is_not_recorded(tmp_path, whole, error):
    with pytest.raises(type(error), match="no such"):
        run_study(wrong(study_of(tmp_path, Painter({2: error}))))
    with study_of(tmp_path).open_store() as store:
        assert store.trials == {}
    run_study(study_of(tmp_path))
    assert summary(tmp_path) == whole


def test_mistake_of_the_study_that_shows_late_is_waited_for(tmp_path, whole):
    error = GeneratorError("no such node", blame="study")
    run_study(study_of(tmp_path / "back", Painter({15: error, 16: error})))
    assert summary(tmp_path / "back") == whole
    with pytest.raises(StudyError, match="trial 4 cannot be evaluated: no such node"):
        run_study(study_of(tmp_path, Painter({15: error}), patience=0))
    assert [row[1] for row in summary(tmp_path)] == ["complete"] * 4 + ["running"]
    run_study(study_of(tmp_path))
    assert summary(tmp_path) == whole


def test_mistake_of_the_study_that_a_later_picture_of_the_first_trial_shows_stops(tmp_path):
    error = GeneratorError("no such sampler", blame="study")
    with pytest.raises(GeneratorError, match="no such sampler"):
        run_study(study_of(tmp_path, Painter({3: error})))
    assert summary(tmp_path) == []


class Greedy(Merger):
    """Asks for more memory than there is for one trial's values, or from there on for all."""

    def __init__(self, values, *, ever_after=False):
        super().__init__()
        self.value, self.ever_after, self.met = values["alpha.BASE"], ever_after, False

    def model(self, merge):
        bad = weights_of(merge)["alpha"].of("BASE") == self.value
        self.met = self.met or bad
        if bad or (self.met and self.ever_after):
            raise MemoryError
        return super().model(merge)


def test_trial_that_fails_while_one_that_worked_works_still_is_given_up(
    tmp_path, whole, monkeypatch
):
    monkeypatch.setattr("bmerge.study.waiting._UNEXPLAINED_FOR", 0.0)
    run_study(study_of(tmp_path, merger=Greedy(whole[5][2])))
    found = summary(tmp_path)
    assert [row[1] for row in found] == ["complete"] * 5 + ["failed"]
    assert [row[2:6] for row in found[:5]] == [row[2:6] for row in whole[:5]]
    reason = read_study(tmp_path).trials[5].reason
    assert re.match(r"MemoryError.* \(\d+ times, while everything else worked\)$", reason)


def test_trial_is_not_given_up_while_one_that_worked_fails_too(tmp_path, whole, monkeypatch):
    monkeypatch.setattr("bmerge.study.waiting._UNEXPLAINED_FOR", 0.0)
    merger = Greedy(whole[5][2], ever_after=True)
    with pytest.raises(StudyError, match="trial 5 cannot be evaluated: MemoryError"):
        run_study(study_of(tmp_path, merger=merger, patience=0.002))
    assert [row[1] for row in summary(tmp_path)] == ["complete"] * 5 + ["running"]
    run_study(study_of(tmp_path))
    assert summary(tmp_path) == whole


def test_trial_is_not_given_up_while_the_picture_of_one_that_worked_fails_too(
    tmp_path, whole, monkeypatch
):
    monkeypatch.setattr("bmerge.study.waiting._UNEXPLAINED_FOR", 0.0)
    down = Painter(dict.fromkeys(range(16, 9999), DOWN))
    with pytest.raises(StudyError, match="trial 5 cannot be evaluated: refused"):
        run_study(study_of(tmp_path, down, patience=0.002))
    assert [row[1] for row in summary(tmp_path)] == ["complete"] * 5 + ["running"]
    run_study(study_of(tmp_path))
    assert summary(tmp_path) == whole


def test_unfinished_first_trial_binds_nobody_to_its_definition(tmp_path, whole):
    with pytest.raises(StudyError):
        run_study(wrong(study_of(tmp_path, Painter({3: DOWN}), patience=0)))
    painter = Painter()
    run_study(study_of(tmp_path, painter))
    assert summary(tmp_path) == whole
    assert len(painter.painted) == 18


class CheckedPainter(Painter):
    def __init__(self, error=None):
        super().__init__()
        self.error = error

    def check(self, *, paint):
        assert not paint
        if self.error:
            raise self.error


@pytest.mark.parametrize("blame", ["surroundings", "study", None])
def test_check_before_the_first_trial_stops_the_run(tmp_path, blame):
    generator = CheckedPainter(GeneratorError("wrong password", blame=blame))
    with pytest.raises((GeneratorError, StudyError), match="wrong password"):
        run_study(study_of(tmp_path, generator))
    assert generator.painted == []
    with pytest.raises(StudyError, match="wrong password"):
        run_study(
            study_of(tmp_path, CheckedPainter(ScorerError("wrong password", blame="surroundings")))
        )
    assert summary(tmp_path) == []


def test_check_of_a_scorer_comes_before_the_first_trial_too(tmp_path):
    class Absent(Judge):
        def check(self, *, paint):
            raise ScorerError("no weights", blame="study")

    generator = Painter()
    with pytest.raises(ScorerError, match="no weights"):
        run_study(study_of(tmp_path, generator, Absent()))
    assert generator.painted == []


def test_server_that_starts_with_the_run_is_waited_for(tmp_path, whole):
    class Starting(CheckedPainter):
        checks = 0

        def check(self, *, paint):
            self.checks += 1
            if self.checks < 4:
                raise DOWN

    run_study(study_of(tmp_path, Starting()))
    assert summary(tmp_path) == whole


def test_nobody_is_asked_when_nothing_is_left_to_do(tmp_path, whole):
    run_study(study_of(tmp_path))
    finished = run_study(study_of(tmp_path, CheckedPainter(DOWN)))
    assert finished.best.number == max(whole, key=lambda row: row[3])[0]


def test_storage_that_fails_for_a_while_costs_no_picture(tmp_path, whole, monkeypatch):
    for name in ("start", "finish", "revise"):
        method, calls = getattr(Store, name), []

        def flaky(self, *arguments, method=method, calls=calls):
            calls.append(None)
            if len(calls) in {2, 3, 8}:
                raise StudyError("locked", blame="surroundings")
            return method(self, *arguments)

        monkeypatch.setattr(Store, name, flaky)
    generator = Painter()
    run_study(study_of(tmp_path, generator))
    assert summary(tmp_path) == whole
    assert len(generator.painted) == 18


def test_full_disk_is_waited_for_when_a_picture_is_stored(tmp_path, whole, monkeypatch):
    from bmerge.evaluate import durable

    make, calls = durable._make, []

    def full(*arguments):
        calls.append(None)
        if len(calls) in {4, 5}:
            raise OSError(errno.ENOSPC, "No space left on device")
        make(*arguments)

    monkeypatch.setattr(durable, "_make", full)
    generator, events = Painter(), []
    run_study(study_of(tmp_path, generator), on_event=events.append)
    assert summary(tmp_path) == whole
    assert len(generator.painted) == 18
    assert "no room is left for" in next(e.reason for e in events if isinstance(e, Paused))


def test_full_disk_is_waited_for_when_the_best_is_written(tmp_path):
    study = study_of(tmp_path)
    write, calls = study.merger.write, []

    def full(weights, output):
        calls.append(None)
        if len(calls) < 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(weights, output)

    study.merger.write = full
    finished = run_study(study)
    assert finished.checkpoint.is_file()
    assert len(calls) == 3


PROGRAM = """
import sys
from pathlib import Path
from bmerge import GeneratorError
from bmerge.study import waiting
from bmerge.study.loop import run_study
from test_outages import Painter, study_of

class Down(Painter):
    def generate(self, payloads):
        for payload, picture in zip(payloads, super().generate(payloads), strict=True):
            if Path(sys.argv[1], "down").exists() and self.attempts > 14:
                raise GeneratorError("refused", transient=True)
            yield picture

import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored here
from bmerge.evaluate import evaluation
evaluation._BATCH = 1
run_study(study_of(sys.argv[1], Down()), on_event=lambda event: print(event, flush=True))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_killed_while_it_waits(tmp_path, whole, number):
    path = os.pathsep.join([os.path.dirname(__file__), *sys.path])  # noqa: PTH120
    command = [sys.executable, "-c", PROGRAM, tmp_path]
    (tmp_path / "down").touch()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": path},
    ) as process:  # fmt: skip
        for line in process.stdout:
            if "Paused" in line:
                process.send_signal(number)
                break
        process.communicate(timeout=60)
    waiting = read_study(tmp_path).trials[4]
    assert waiting.state == "running"
    assert [p["id"] for p in waiting.pictures] == ["p00-s0", "p01-s1"]
    painter = Painter()
    run_study(study_of(tmp_path, painter))
    assert summary(tmp_path) == whole
    assert painter.painted[0] == "p02-s2"


def test_a_file_in_place_of_a_folder_is_not_waited_for(tmp_path):
    (tmp_path / "best").write_text("somebody's")
    events = []
    with pytest.raises(StudyError, match="best cannot be written: File exists"):
        run_study(make_study(tmp_path, init=0, n_iters=0), on_event=events.append)
    assert not any(isinstance(event, Paused) for event in events)
    assert (tmp_path / "best").read_text() == "somebody's"
