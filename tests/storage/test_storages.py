"""The storage that ships keeps to the protocol, and a plugin's is used as well as it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

import postgres
import toy_study
from bmerge import StudyError, StudyInterruptedError, hookimpl
from bmerge.host.discovery import PluginCandidate
from bmerge.host.manager import PluginHost
from bmerge.host.registry import Registry
from bmerge.space.protocols import Parameter
from bmerge.storage import storages
from bmerge.storage.optuna_storage import OptunaStorage
from bmerge.storage.protocol import StorageKind, StoredTrial
from bmerge.storage.stored import read_study
from bmerge.study.events import Paused, TrialStarted
from bmerge.study.loop import run_study
from bmerge.testing import check_storage
from toy_study import make_study

needs_postgres = pytest.mark.skipif(
    postgres.home() is None, reason="there is no PostgreSQL server (apt install postgresql)"
)


@pytest.fixture(scope="module")
def server():
    server = postgres.Postgres()
    server.start()
    yield server
    server.remove()


@pytest.fixture
def kept():
    """Forget what plugins have offered."""
    before = storages._offered
    yield
    storages.offer(before)


def test_sqlite_keeps_to_the_protocol(tmp_path):
    check_storage(lambda *, create: OptunaStorage(tmp_path, None, create=create))
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    check_storage(lambda *, create: OptunaStorage(tmp_path, url, create=create))


@needs_postgres
def test_postgresql_keeps_to_the_protocol(tmp_path, server):
    check_storage(lambda *, create: OptunaStorage(tmp_path, server.url, create=create))


class Forgetful(OptunaStorage):
    """Breaks promises."""

    def note(self, study, number, attributes):
        super().note(study, number, {k: v for k, v in attributes.items() if k != "parked"})


class Doubling(OptunaStorage):
    def add(self, study, trials):
        for trial in trials:
            if trial.number == 5:
                self._rdb.create_new_trial(self._id(study))
            super().add(study, [replace(trial, number=len(self.trials(study)))])


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [(Forgetful, "attributes of trials"), (Doubling, "added twice is there twice")],
)
def test_the_suite_finds_broken_promises(tmp_path, kind, complaint):
    with pytest.raises(AssertionError, match=complaint):
        check_storage(lambda *, create: kind(tmp_path, None, create=create))


def test_what_an_unanswered_call_has_left_is_not_doubled(tmp_path):
    storage = OptunaStorage(tmp_path, None, create=True)
    storage.create("study", 1)
    alpha = {"alpha": Parameter("alpha", 0.0, 1.0)}
    for number in (0, 1, 1, 2, 2):
        own = len(storage.trials("study"))
        row = StoredTrial(number, "running", {"alpha": own / 10}, alpha, {"own": own})
        storage.add("study", [row])
    kept = [(t.number, t.values["alpha"], t.attributes) for t in storage.trials("study")]
    assert kept == [(0, 0.0, {"own": 0}), (1, 0.2, {"own": 2}), (2, 0.3, {"own": 3})]
    storage.close()


def test_a_plugin_offers_a_storage(tmp_path, kept):
    class Plugin:
        @hookimpl
        def bmerge_storages(self):
            def open_it(url, *, create):
                folder = tmp_path / url.removeprefix("drawer:")
                folder.mkdir(exist_ok=True)
                return OptunaStorage(folder, None, create=create)

            return [StorageKind("drawer", frozenset({"drawer"}), open_it)]

    host = PluginHost()
    host.add(PluginCandidate("drawers", Plugin))
    Registry(host)
    out = tmp_path / "out"
    run_study(make_study(out, storage="drawer:top", n_iters=0, init=0))
    assert [t.state for t in read_study(out).trials.values()] == ["complete"] * 3
    assert (tmp_path / "top" / "study.db").is_file()
    assert not (out / "study.db").exists()


@needs_postgres
def test_a_server_that_is_killed_costs_no_picture_and_doubles_no_trial(tmp_path, monkeypatch):
    """The database dies in mid-trial, once for each of several moments, and comes back."""
    monkeypatch.setattr("bmerge.study.waiting._FIRST", 0.05)
    server = postgres.Postgres()
    server.start()
    painted, events, kills = [], [], []

    def again():
        time.sleep(0.3)
        server.start()
        kills.append(len(painted))

    class Painter(toy_study.Generator):
        def generate(self, payloads):
            for picture in super().generate(payloads):
                painted.append(picture.payload.id)
                if len(painted) in {8, 13, 24}:  # first, second, last picture of a trial
                    server.kill()
                    threading.Thread(target=again).start()
                yield picture

    def study_of(folder, generator, **changes):
        study = make_study(folder, n_iters=4, init=2, design="random", **changes)
        return replace(study, evaluator=replace(study.evaluator, generator=generator))

    try:
        study = study_of(tmp_path / "killed", Painter(), storage=server.url)
        run_study(study, on_event=events.append)
        assert len(kills) == 3
        assert len(painted) == 27, "a finished picture was made again"
        run_study(study_of(tmp_path / "whole", toy_study.Generator()))
        one, other = (
            [(t.number, t.state, dict(t.proposal.values), t.score, t.sequence, t.pictures)
             for t in read_study(tmp_path / name).trials.values()]
            for name in ("killed", "whole")
        )  # fmt: skip
        assert one == other
        reasons = [event.reason for event in events if isinstance(event, Paused)]
        assert reasons
        assert all("the storage postgresql" in reason for reason in reasons)
    finally:
        server.remove()


@needs_postgres
def test_a_study_goes_on_in_postgresql_after_its_run_is_killed(tmp_path, server):
    run = [sys.executable, toy_study.__file__, tmp_path / "out", "random", "4", server.url]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for _ in range(2):
        process = subprocess.Popen(run, stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(9):
            process.stdout.readline()
        process.kill()
        process.communicate()
    subprocess.run(run, check=True, stdout=subprocess.DEVNULL, env=environment, timeout=100)
    trials = read_study(tmp_path / "out").trials
    assert [(t.number, t.state) for t in trials.values()] == [(n, "complete") for n in range(10)]


@needs_postgres
def test_a_server_that_is_not_there_is_one_line(tmp_path, server):
    url = server.url.replace(f":{server.port}/", ":1/")
    with pytest.raises(StudyError, match=r"^the storage .* cannot be used: .*refused") as caught:
        run_study(make_study(tmp_path, storage=url))
    assert "\n" not in str(caught.value)


def test_a_trial_takes_the_place_of_what_a_call_that_failed_has_left(tmp_path):
    storage = OptunaStorage(tmp_path, None, create=True)
    storage.create("s", 1)
    for word in ("left over", "left over too", "its own"):
        storage.add("s", [StoredTrial(0, "running", {}, {}, {"word": word})])
    (trial,) = storage.trials("s")
    storage.close()
    assert (trial.number, trial.attributes) == (0, {"word": "its own"})


@pytest.mark.parametrize("again", [False, True], ids=["at once", "by the next run"])
def test_what_another_program_has_ended_is_finished_all_the_same(tmp_path, again):
    """Optuna's tools may fail a trial that runs; what came of it is not lost for that."""
    study = make_study(tmp_path, n_iters=0, init=0)

    def fail(event):
        if isinstance(event, TrialStarted) and event.number == 1:
            with contextlib.closing(sqlite3.connect(tmp_path / "study.db")) as other, other:
                other.execute("UPDATE trials SET state = 'FAIL' WHERE state = 'RUNNING'")
            if again:
                raise KeyboardInterrupt

    with contextlib.suppress(StudyInterruptedError):
        run_study(study, on_event=fail)
    if again:
        assert [t.state for t in read_study(tmp_path).trials.values()] == ["complete", "running"]
        run_study(study)
    assert [t.state for t in read_study(tmp_path).trials.values()] == ["complete"] * 3
    with contextlib.closing(sqlite3.connect(tmp_path / "study.db")) as other:
        assert set(other.execute("SELECT state FROM trials")) == {("COMPLETE",)}


@pytest.mark.parametrize(
    ("tables", "what"), [(("trials",), "trial 1 of the study 'toy'"), (("studies",), "'toy'")]
)
def test_what_somebody_has_removed_from_a_database_is_one_line(tmp_path, tables, what):
    def remove(event):
        if isinstance(event, TrialStarted) and event.number == 1:
            with contextlib.closing(sqlite3.connect(tmp_path / "study.db")) as other, other:
                for table in tables:
                    other.execute(f"DELETE FROM {table}")

    with pytest.raises(StudyError, match=f"{what} is not in its database any more"):
        run_study(make_study(tmp_path, n_iters=0, init=0), on_event=remove)


def test_a_run_beside_another_whose_lock_was_removed_takes_no_trial_from_it(tmp_path):
    """Who takes a lock for a stale one removes it: then the later run goes on, the former stops."""

    def interfere(event):
        if isinstance(event, TrialStarted) and event.number == 1:
            (tmp_path / "study.lock").unlink()
            run_study(make_study(tmp_path, n_iters=1, init=0), trials=4)

    with pytest.raises(StudyError, match="^another run has gone on with the study 'toy' meanwhile"):
        run_study(make_study(tmp_path, n_iters=1, init=0), on_event=interfere)
    trials = read_study(tmp_path).trials.values()
    assert [(trial.number, trial.state) for trial in trials] == [
        (number, "complete") for number in range(4)
    ]
