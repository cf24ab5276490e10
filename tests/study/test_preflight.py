"""What is asked before the first trial: room on disks, parts, and what the rest will take."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import replace

import pytest

from bmerge import GeneratorError, ScorerError, StudyError
from bmerge.evaluate.evaluation import Evaluator
from bmerge.evaluate.scoring import WeightedScorer
from bmerge.storage.lock import FolderLock
from bmerge.storage.stored import read_study
from bmerge.study import room
from bmerge.study.loop import run_study
from bmerge.study.preflight import check_all, forecast_of
from bmerge.trials.limits import Limits
from toy_study import PAYLOADS, Generator, Judge, Merger, Model, make_study, weights_of


class OfFiles(Generator):
    takes_files = True
    asked = ()

    def check(self, *, paint):
        self.asked = (*self.asked, paint)


class WrittenModel(Model):
    def file(self, *, lent=False):
        self.written = True


class BigMerger(Merger):
    def __init__(self, scratch):
        super().__init__()
        self.scratch = scratch

    def size(self, weights):
        return 4_000_000_000

    def model(self, merge):
        self.models.append(WrittenModel(weights_of(merge)))
        return self.models[-1]


def study_of(folder, generator=None, judge=None, payloads=PAYLOADS):
    scorers = (WeightedScorer("judge", 1.0, judge or Judge()),)
    evaluator = Evaluator(generator or OfFiles(), scorers, payloads)
    merger = BigMerger(folder.parent / "scratch" / "deep")
    return make_study(
        folder, evaluator=evaluator, merger=merger, n_iters=1, init=0, design="random", patience=0
    )


@pytest.fixture
def disk(monkeypatch):
    """Let every disk have so many bytes free."""
    usage = namedtuple("usage", "free")  # noqa: PYI024
    monkeypatch.setattr(room.shutil, "disk_usage", lambda _: usage(disk.free))
    disk = namedtuple("disk", "")  # noqa: PYI024
    disk.free = 10_000_000_000
    return disk


@pytest.mark.parametrize(
    ("generator", "needed"), [(OfFiles, "8.0 GB"), (Generator, "4.0 GB")], ids=["file", "live"]
)
def test_run_looks_for_room_before_the_first_trial(tmp_path, disk, generator, needed):
    disk.free = 3_900_000_000
    with pytest.raises(StudyError, match=r"3.9 GB are free, (\d.0 GB) are needed") as told:
        run_study(study_of(tmp_path / "study", generator()))
    assert needed in str(told.value)
    assert "best merge 4.0 GB" in str(told.value)
    assert "run the same command again to continue" in told.value.hint
    assert read_study(tmp_path / "study").trials == {}
    disk.free = 8_000_000_001
    run_study(study_of(tmp_path / "study", generator()))
    assert len(read_study(tmp_path / "study").trials) == 4


def test_room_for_pictures_is_estimated_then_measured(tmp_path):
    payloads = tuple(replace(p, width=1000, height=1000) for p in PAYLOADS)
    study = study_of(tmp_path / "study", payloads=payloads)
    before = {need.what: need.nbytes for need in room.needs_of(study, {}, count=2)}
    assert before == {
        "pictures": 9_000_000, "a merged file": 4_000_000_000, "the best merge": 4_000_000_000
    }  # fmt: skip
    assert {n.what for n in room.needs_of(study, {}, keep_best=False)} == {
        "pictures",
        "a merged file",
    }
    run_study(study)
    trials = read_study(tmp_path / "study").trials
    sizes = [
        sum((tmp_path / "study" / p["file"]).stat().st_size for p in trial.pictures)
        for trial in trials.values()
    ]
    after = {need.what: need.nbytes for need in room.needs_of(study, trials, count=2)}
    assert after["pictures"] == 2 * max(sizes)


def test_disks_are_looked_at_one_by_one(tmp_path, monkeypatch):
    usage = namedtuple("usage", "free")  # noqa: PYI024
    needs = [room.Need(tmp_path / "a", 5, "x"), room.Need(tmp_path / "b" / "c", 5, "y")]
    monkeypatch.setattr(room.shutil, "disk_usage", lambda _: usage(9))
    with pytest.raises(StudyError, match=r"needed \(x 0.0 MB, y 0.0 MB\)"):
        room.check_room(needs)
    (tmp_path / "b").mkdir()
    stat = type(tmp_path).stat
    other = namedtuple("other", "st_dev st_mode")  # noqa: PYI024
    monkeypatch.setattr(
        type(tmp_path),
        "stat",
        lambda self, **k: other(1, stat(self).st_mode) if self.name == "b" else stat(self, **k),
    )
    room.check_room(needs)


def test_check_asks_everybody_and_goes_on_after_complaints(tmp_path):
    class Absent(Judge):
        def check(self, *, paint):
            raise ScorerError("no weights", blame="study")

    generator = OfFiles()
    findings = list(check_all(study_of(tmp_path / "study", generator, Absent()), None))
    assert [(f.what, f.error and str(f.error), f.asked) for f in findings] == [
        ("room", None, True), ("generator", None, True), ("scorer judge", "no weights", True),
    ]  # fmt: skip
    assert generator.asked == (True,)
    assert list(tmp_path.iterdir()) == []


def test_check_of_a_begun_study_tells_another_definition_and_another_run(tmp_path):
    run_study(study_of(tmp_path / "study"), trials=1)
    stored = read_study(tmp_path / "study")
    study = study_of(tmp_path / "study")
    study = replace(study, definition=replace(study.definition, baselines=False))
    first = next(check_all(study, stored))
    assert (first.what, "made with different" in str(first.error)) == ("the study so far", True)
    with FolderLock(tmp_path / "study"), pytest.raises(StudyError, match="another run"):
        list(check_all(study, stored))


def test_forecast_says_what_was_measured(tmp_path):
    study = study_of(tmp_path / "study")
    before = forecast_of(study, None, Limits(4))
    assert (before.trials, before.measured) == (4, 0)
    assert before.seconds >= 0
    assert all(model.written and model.closed for model in study.merger.models)
    assert forecast_of(study_of(tmp_path / "study", Generator()), None, Limits(4)).seconds is None
    run_study(study, trials=3)
    stored = read_study(tmp_path / "study")
    after = forecast_of(study, stored, Limits(4))
    totals = [trial.seconds["total"] for trial in stored.trials.values()]
    assert (after.trials, after.measured) == (1, 3)
    assert after.seconds == pytest.approx(sum(totals) / 3)


def test_check_that_fails_before_the_run_is_told_once(tmp_path):
    class Refusing(OfFiles):
        def check(self, *, paint):
            raise GeneratorError("wrong password", blame="surroundings")

    with pytest.raises(StudyError, match="wrong password"):
        run_study(study_of(tmp_path / "study", Refusing()))
