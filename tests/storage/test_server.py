"""Studies at a database server: who writes them, and what the server does to them meanwhile."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
import sqlalchemy

import postgres
from bmerge import StudyError
from bmerge.storage.optuna_storage import OptunaStorage
from bmerge.storage.protocol import StoredTrial
from bmerge.storage.server import connection_settings
from bmerge.storage.stored import read_study
from bmerge.study.events import Paused, TrialStarted
from bmerge.study.loop import run_study
from toy_study import make_study

pytestmark = pytest.mark.skipif(
    postgres.home() is None, reason="there is no PostgreSQL server (apt install postgresql)"
)


@pytest.fixture(scope="module")
def server():
    server = postgres.Postgres()
    server.start()
    yield server
    server.remove()


@pytest.fixture
def execute(server):
    """Execute statements as another program does."""
    engine = sqlalchemy.create_engine(
        server.url.replace("postgresql:", "postgresql+psycopg:"),
        isolation_level="AUTOCOMMIT",
        connect_args={"options": "-c default_transaction_read_only=off"},
    )

    def execute(*statements):
        with engine.connect() as connection:
            return [connection.exec_driver_sql(each) for each in statements]

    yield execute
    engine.dispose()


def set_read_only(execute, change):
    execute(f"ALTER SYSTEM {change}", "SELECT pg_reload_conf()")
    drop_connections(execute)


@pytest.fixture
def opened(tmp_path, server):
    """Open the server for writing; closed at the end."""
    with contextlib.ExitStack() as all_of_them:

        def opened():
            storage = OptunaStorage(tmp_path, server.url, create=True)
            all_of_them.callback(storage.close)
            return storage

        yield opened


def holding(storage, study):
    storage.create(study, 1)
    storage.hold(study)
    return storage


def drop_connections(execute):
    execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )


def test_a_study_has_one_run_also_where_none_sees_the_others_folder(tmp_path, server):
    """As on two machines with the same paths: what the first has in its folder is not there."""
    folder, refused = tmp_path / "out", []

    def study_of(folder):
        return replace(
            make_study(folder, n_iters=2, init=1, design="random", storage=server.url), name="one"
        )

    def elsewhere(event):
        if isinstance(event, TrialStarted) and event.number == 3:
            folder.rename(tmp_path / "first")
            with pytest.raises(StudyError, match="another run is working on the study 'one' in"):
                run_study(study_of(folder))
            refused.append(event.number)
            (folder / "study.lock").unlink()
            folder.rmdir()
            (tmp_path / "first").rename(folder)

    run_study(study_of(folder), on_event=elsewhere)
    assert refused == [3]
    states = [trial.state for trial in read_study(folder).trials.values()]
    assert states == ["complete"] * 6


def test_a_run_that_ends_lets_the_next_one_in(opened):
    first = holding(opened(), "let in")
    with pytest.raises(StudyError, match="another run is working on the study 'let in'"):
        opened().hold("let in")
    holding(opened(), "another")
    first.describe("let in", {"budget": 1})
    first.close()
    first.close = lambda: None
    opened().hold("let in")


def test_a_lost_connection_is_made_anew_and_what_it_held_is_held_again(opened, execute):
    storage = holding(opened(), "lost")
    drop_connections(execute)
    storage.add("lost", [StoredTrial(0, "running")])
    with pytest.raises(StudyError, match="another run is working on the study 'lost'"):
        opened().hold("lost")
    assert [trial.number for trial in storage.trials("lost")] == [0]


def test_a_run_that_another_has_followed_writes_nothing_more(opened, execute):
    first = holding(opened(), "followed")
    drop_connections(execute)
    second = holding(opened(), "followed")
    second.add("followed", [StoredTrial(0, "running", attributes={"own": "second"})])
    with pytest.raises(StudyError, match="is working on the study 'followed'") as waits:
        first.add("followed", [StoredTrial(0, "running")])
    assert waits.value.blame == "surroundings"  # it may be what is left of its own connection
    second.close()
    second.close = lambda: None
    with pytest.raises(StudyError, match="has gone on with the study 'followed'") as stops:
        first.add("followed", [StoredTrial(0, "running")])
    assert stops.value.blame == "study"
    assert [trial.attributes for trial in first.trials("followed")] == [{"own": "second"}]


def test_a_server_that_takes_no_writes_is_waited_for(tmp_path, server, execute, monkeypatch):
    monkeypatch.setattr("bmerge.study.waiting._FIRST", 0.01)
    reasons = []

    def switch(event):
        if isinstance(event, TrialStarted) and event.number == 1 and not event.again:
            execute(
                "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"
            )
            drop_connections(execute)
        if isinstance(event, Paused):
            reasons.append(event.reason)
            set_read_only(execute, "RESET default_transaction_read_only")

    study = make_study(tmp_path, n_iters=0, init=0, storage=server.url)
    run_study(replace(study, name="read only"), on_event=switch)
    assert "read-only transaction" in reasons[0]
    assert [trial.state for trial in read_study(tmp_path).trials.values()] == ["complete"] * 3


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_of_another_encoding_holds_any_study(tmp_path, server, execute, encoding):
    name = encoding.lower()
    execute(f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0")
    url = f"{server.url.rpartition('/')[0]}/{name}"
    run_study(replace(make_study(tmp_path, n_iters=0, init=0, storage=url), name="grün"))
    assert read_study(tmp_path).name == "grün"


def test_what_an_address_says_of_its_connection_counts():
    url = "postgresql+psycopg://host/db?connect_timeout=99&keepalives_idle=5"
    made = connection_settings(url)
    assert {"connect_timeout", "keepalives_idle"}.isdisjoint(made)
    assert made["client_encoding"] == "utf8"
    assert connection_settings("mysql://host/db") == {}
