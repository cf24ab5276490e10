"""A database that is locked, full, read-only, damaged or of another release, and what is said."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import sqlite3
import sys
import threading
from dataclasses import replace

import pytest

from bmerge import StudyError
from bmerge.evaluate import sqlite
from bmerge.storage import database, sqlite_file
from bmerge.storage.store import Store
from bmerge.storage.stored import read_study
from bmerge.study.loop import run_study
from bmerge.trials.trial import Trial
from toy_study import make_study

KINDS = ("open", "start", "park", "finish", "revise", "read")


def open_store(study):
    return Store(
        study.folder,
        study.name,
        definition=study.definition,
        objectives=study.objectives,
        budget=study.n_iters,
    )


def complete(trial):
    return Trial(trial.number, "complete", trial.proposal, means={"judge": 0.5}, sequence=1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    made = make_study(tmp_path_factory.mktemp("whole"), init=0, n_iters=0)
    run_study(made, trials=1)
    return made


@pytest.fixture
def study(whole, tmp_path):
    """Return a study with one finished trial, to be used and changed."""
    return replace(whole, folder=shutil.copytree(whole.folder, tmp_path / "out"))


@contextlib.contextmanager
def begun(study, kind):
    """Give what does the ``kind`` of statement, with all before it done."""
    if kind == "open":
        yield lambda: open_store(study).__exit__(None, None, None)
    elif kind == "read":
        yield lambda: read_study(study.folder)
    else:
        with open_store(study) as store:
            start = lambda: store.start(study.queue[1], study.search.space)  # noqa: E731
            if kind == "start":
                yield start
            elif kind == "revise":
                yield lambda: store.revise({"judge": {0: 0.25}})
            else:
                trial = start()
                park, finish = lambda: store.park(trial), lambda: store.finish(complete(trial))
                yield park if kind == "park" else finish


def lock(study):
    held = sqlite3.connect(study.folder / "study.db", isolation_level=None, check_same_thread=False)
    held.execute("BEGIN EXCLUSIVE")
    return held


@pytest.mark.parametrize("kind", KINDS)
def test_a_lock_is_waited_for(study, kind, monkeypatch, caplog):
    monkeypatch.setattr(sqlite_file, "AT_ONCE", 0.05)
    monkeypatch.setattr(database, "_PAUSE", 0.01)
    with begun(study, kind) as action:
        held = lock(study)
        free = threading.Timer(0.4, held.close)
        free.start()
        action()
        free.join()
    said = {r.getMessage() for r in caplog.records if "locked" in r.getMessage()}
    if kind != "start":  # where Optuna waits as well, and says nothing
        assert said == {f"{study.folder / 'study.db'} is locked by another program: waiting for it"}
    expected = ["complete", "running"] if kind in {"start", "park"} else ["complete"]
    expected += ["complete"] if kind == "finish" else []
    assert [t.state for t in read_study(study.folder).trials.values()] == expected


@pytest.mark.parametrize("kind", KINDS)
def test_after_a_minute_it_is_called_locked_and_nothing_is_lost_or_doubled(
    study, kind, monkeypatch
):
    monkeypatch.setattr(sqlite_file, "AT_ONCE", 0.01)
    monkeypatch.setattr(database, "_PAUSE", 0.01)
    monkeypatch.setattr(database, "_PATIENCE", 0.1)
    with begun(study, kind) as action:
        with contextlib.closing(lock(study)), pytest.raises(StudyError) as caught:
            action()
        action()
    assert str(caught.value).endswith("study.db is locked by another program")
    assert caught.value.blame == "surroundings"
    assert "close what has it open" in (caught.value.hint or "")
    count = 2 if kind in {"start", "park", "finish"} else 1
    assert list(read_study(study.folder).trials) == list(range(count))


def limit_pages(engine, pages):
    """Let a database grow to so many pages, by whichever connection; None: no further."""
    with contextlib.ExitStack() as opened:
        for _ in range(engine.pool.checkedin()):
            connection = opened.enter_context(engine.connect())
            most = pages or connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {most}")


def test_a_full_disk_is_called_full_and_the_trial_goes_on_when_there_is_room(study):
    with begun(study, "park") as _, pytest.raises(StudyError, match="another run"):
        open_store(study)
    with open_store(study) as store:
        (trial,) = store.running or [store.start(study.queue[1], study.search.space)]
        large = Trial(trial.number, "running", trial.proposal, means={"x" * 100_000: 0.5})
        limit_pages(store._storage._rdb.engine, None)
        with pytest.raises(StudyError, match=r"no room is left for .*study\.db$") as caught:
            store.park(large)
        assert caught.value.blame == "surroundings"
        limit_pages(store._storage._rdb.engine, 100_000)
        store.park(large)
        store.finish(complete(trial))
    assert [t.state for t in read_study(study.folder).trials.values()] == ["complete", "complete"]


def test_a_disk_without_room_is_known_by_any_name_that_sqlite_has_for_it(study, monkeypatch):
    monkeypatch.setattr(sqlite, "_NO_ROOM", 1 << 62)
    monkeypatch.setattr(database, "connect", _failing("disk I/O error"))
    with pytest.raises(StudyError, match="no room is left for"):
        read_study(study.folder)


def test_any_other_failure_of_the_disk_is_told_and_may_pass(study, monkeypatch):
    monkeypatch.setattr(database, "connect", _failing("disk I/O error"))
    with pytest.raises(StudyError, match="cannot be used: disk I/O error") as caught:
        open_store(study)
    assert caught.value.blame == "surroundings"


def _failing(message):
    def connect(path, *, create):
        raise sqlite3.OperationalError(message)

    return connect


def test_a_read_only_database_is_read_and_called_read_only_when_it_is_to_be_written(
    study, monkeypatch
):
    def read_only(path, *, create):
        return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)

    monkeypatch.setattr(database, "connect", read_only)
    assert len(read_study(study.folder).trials) == 1
    with open_store(study) as store:
        with pytest.raises(StudyError, match="cannot be written: it is read-only") as caught:
            store.start(study.queue[1], study.search.space)
        assert len(store.trials) == 1
    assert caught.value.blame == "surroundings"


@pytest.mark.skipif(sys.platform == "win32", reason="what is open keeps its folder")
def test_a_folder_that_is_moved_under_a_run_is_called_so(study):
    with open_store(study) as store:
        study.folder.rename(study.folder.with_name("elsewhere"))
        with pytest.raises(StudyError, match="was moved or removed while it was open") as caught:
            store.start(study.queue[1], study.search.space)
        study.folder.with_name("elsewhere").rename(study.folder)
    assert caught.value.blame == "surroundings"
    assert len(read_study(study.folder).trials) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[: len(data) // 2], "is damaged: database disk image is malformed"),
        (lambda data: b"x" * len(data), "is damaged: file is not a database"),
    ],
    ids=["truncated", "not a database"],
)
def test_a_damaged_database_is_one_clear_line(study, change, message):
    file = study.folder / "study.db"
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(StudyError) as caught:
        read_study(study.folder)
    assert str(caught.value) == f"{file} {message}"


def test_a_folder_in_the_place_of_a_database_is_called_so(study):
    file = study.folder / "study.db"
    with open_store(study) as store:
        file.unlink()
        file.mkdir()
        with pytest.raises(StudyError, match=r"study\.db is a folder, where a file is needed"):
            store.start(study.queue[1], study.search.space)
    with pytest.raises(StudyError, match=r"study\.db is a folder, where a file is needed"):
        open_store(study)


def test_a_database_that_is_emptied_under_a_run_is_called_so(study):
    with open_store(study) as store:
        (study.folder / "study.db").write_bytes(b"")
        with pytest.raises(StudyError, match=r"study\.db was emptied while it was open"):
            store.start(study.queue[1], study.search.space)


def test_a_database_of_another_program_is_left_as_it_is(study):
    file = study.folder / "study.db"
    file.unlink()
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("CREATE TABLE moz_places (url TEXT)")
    before = file.read_bytes()
    for use in (lambda: read_study(study.folder), lambda: open_store(study)):
        with pytest.raises(StudyError, match=r"study\.db is a database of another program"):
            use()
    assert file.read_bytes() == before


@pytest.mark.parametrize("release", ["v0.9.0.a", "v99.0.0"])
def test_tables_of_another_release_of_optuna_are_one_clear_line(study, release):
    with contextlib.closing(sqlite3.connect(study.folder / "study.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (release,))
    for use in (lambda: read_study(study.folder), lambda: open_store(study)):
        with pytest.raises(StudyError, match="written by another release of Optuna") as caught:
            use()
        assert "optuna storage upgrade --storage sqlite:///" in (caught.value.hint or "")
        assert "\n" not in str(caught.value)


def test_reading_a_study_changes_no_byte_of_its_folder(study):
    def state():
        files = [path for path in study.folder.rglob("*") if path.is_file()]
        return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    before = state()
    read_study(study.folder)
    assert state() == before


def test_a_folder_of_any_name_holds_a_study(tmp_path):
    made = make_study(tmp_path / "50% {of} #1 ö?mode=memory", init=0, n_iters=0)
    run_study(made, trials=1)
    assert (made.folder / "study.db").stat().st_size > 0
    assert len(read_study(made.folder).trials) == 1


def test_a_password_in_the_address_of_a_storage_is_not_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    url = "sqlite://user:secret@host/x.db"
    with pytest.raises(StudyError) as caught:
        run_study(make_study(tmp_path / "out", storage=url))
    assert "secret" not in f"{caught.value} {caught.value.hint}"
    assert not (tmp_path / "x.db.lock").exists()


@pytest.mark.parametrize(
    "url",
    ["not a url", "nosuch://host/x", "postgresql+nosuch://host/x", "sqlite:x", "sqlite+no:///x"],
)
def test_a_storage_that_there_cannot_be_is_one_clear_line(tmp_path, url, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StudyError, match="^the storage .* cannot be used: ") as caught:
        run_study(make_study(tmp_path / "out", storage=url))
    assert "\n" not in str(caught.value)


def _empty(file):
    file.write_bytes(b"")


def _without(statement):
    def change(file):
        with contextlib.closing(sqlite3.connect(file)) as connection, connection:
            connection.execute(statement)

    return change


def _clear(file, *tables):
    trials = ("trial_user_attributes", "trial_params", "trial_values", "trials")
    for table in (*trials, *tables):
        _without(f"DELETE FROM {table}")(file)


@pytest.mark.parametrize(
    "change",
    [
        _empty,
        _without("DROP TABLE alembic_version"),
        _without("DELETE FROM alembic_version"),
        _without("DELETE FROM version_info"),
        lambda file: _clear(file, "study_user_attributes"),
        lambda file: _clear(file, "study_user_attributes", "study_directions", "studies"),
    ],
    ids=["empty", "no table", "no release", "no version", "not described", "no study"],
)
def test_a_database_that_a_killed_run_was_making_is_no_study_yet(study, change):
    file = study.folder / "study.db"
    for other in study.folder.glob("study.db-*"):
        other.unlink()
    change(file)
    before = file.read_bytes()
    with pytest.raises(StudyError, match="^no study in .* yet: its run ended while it made"):
        read_study(study.folder)
    assert file.read_bytes() == before
    with open_store(study):
        pass
    assert read_study(study.folder).name == study.name


def test_a_finish_that_is_cut_short_leaves_nothing_behind(study):
    """All of it is one transaction: its last statement fails, and none has happened."""
    file = study.folder / "study.db"
    with open_store(study) as store:
        trial = store.start(study.queue[1], study.search.space)
        with contextlib.closing(sqlite3.connect(file)) as other:
            other.execute(
                "CREATE TRIGGER stop BEFORE INSERT ON trial_values"
                " BEGIN SELECT RAISE(ABORT, 'stop'); END"
            )
            other.commit()
            rows = "SELECT key, value_json FROM trial_user_attributes WHERE trial_id = 2 ORDER BY 1"
            before = other.execute(rows).fetchall()
            with pytest.raises(StudyError, match="stop"):
                store.finish(complete(trial))
            assert other.execute(rows).fetchall() == before
            assert len(before) > 0
            other.execute("DROP TRIGGER stop")
            other.commit()
            store.finish(complete(trial))
            assert {"means", "pictures", "sequence"} <= {k for k, _ in other.execute(rows)}
    assert [trial.state for trial in read_study(study.folder).trials.values()] == ["complete"] * 2
