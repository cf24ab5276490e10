"""A study in a shared database and its folder find each other again, and never another's."""

from __future__ import annotations

import resource
import shutil

import optuna
import pytest

from bmerge import StudyError
from bmerge.storage.home import enter_home
from bmerge.storage.stored import read_study
from bmerge.study.events import TrialStarted
from bmerge.study.loop import run_study
from toy_study import make_study


@pytest.fixture
def shared(tmp_path):
    """URL of a database for many studies."""
    return f"sqlite:///{tmp_path / 'shared.db'}"


def begin(folder, shared, **wanted):
    return run_study(make_study(folder, storage=shared, **wanted), trials=2)


def test_a_moved_folder_goes_on_and_is_read(tmp_path, shared):
    begin(tmp_path / "old", shared)
    (tmp_path / "old").rename(tmp_path / "new")
    assert len(read_study(tmp_path / "new").trials) == 2
    run_study(make_study(tmp_path / "new", storage=shared), trials=4)
    assert [t.state for t in read_study(tmp_path / "new").trials.values()] == ["complete"] * 4
    (tmp_path / "new").rename(tmp_path / "newer")
    run_study(make_study(tmp_path / "newer"), trials=5)  # the folder says where it is stored
    assert len(read_study(tmp_path / "newer").trials) == 5


def test_a_moved_folder_of_its_own_database_goes_on(tmp_path):
    run_study(make_study(tmp_path / "old"), trials=2)
    (tmp_path / "old").rename(tmp_path / "new")
    run_study(make_study(tmp_path / "new"), trials=3)
    assert len(read_study(tmp_path / "new").trials) == 3


def test_another_folder_never_takes_a_study_of_the_same_name(tmp_path, shared):
    begin(tmp_path / "old", shared)
    (tmp_path / "old").rename(tmp_path / "new")
    with pytest.raises(StudyError, match="'toy' in this storage belongs to the folder") as caught:
        begin(tmp_path / "other", shared)
    assert "wherever it is now" in caught.value.hint
    run_study(make_study(tmp_path / "new", storage=shared), trials=3)


def test_a_folder_keeps_its_storage_when_it_is_refused_another(tmp_path, shared):
    begin(tmp_path / "one", shared)
    other = f"sqlite:///{tmp_path / 'other.db'}"
    begin(tmp_path / "two", other)
    for wanted in (other, f"sqlite:///{tmp_path / 'empty.db'}"):
        with pytest.raises(StudyError, match="is the folder of a study other than 'toy'"):
            begin(tmp_path / "one", wanted)
    run_study(make_study(tmp_path / "one"), trials=3)
    assert len(read_study(tmp_path / "one").trials) == 3
    assert len(read_study(tmp_path / "two").trials) == 2


def test_a_copied_folder_does_not_go_on_beside_the_first(tmp_path, shared):
    begin(tmp_path / "one", shared)
    shutil.copytree(tmp_path / "one", tmp_path / "copy")
    with pytest.raises(StudyError, match="one, of which this is a copy"):
        begin(tmp_path / "copy", shared)
    (tmp_path / "link").symlink_to(tmp_path / "one")
    begin(tmp_path / "link", shared)  # not a copy, but the same by another name


def test_a_folder_with_its_own_database_refuses_another_storage(tmp_path, shared):
    run_study(make_study(tmp_path / "one"), trials=1)
    with pytest.raises(StudyError, match=r"is stored in its study\.db"):
        begin(tmp_path / "one", shared)


def test_a_study_of_an_earlier_release_gets_its_id(tmp_path, shared):
    begin(tmp_path / "old", shared)
    forget_id(tmp_path / "old", shared)
    (tmp_path / "old").rename(tmp_path / "new")
    with pytest.raises(StudyError, match="belongs to the folder") as caught:
        begin(tmp_path / "new", shared)
    assert "run it there once" in caught.value.hint
    (tmp_path / "new").rename(tmp_path / "old")
    assert len(read_study(tmp_path / "old").trials) == 2
    begin(tmp_path / "old", shared)
    (tmp_path / "old").rename(tmp_path / "new")
    begin(tmp_path / "new", shared)


def test_a_run_that_was_killed_while_it_entered_its_folder_goes_on(tmp_path, shared):
    begin(tmp_path / "one", shared)
    (tmp_path / "one" / "study.id").unlink()  # its row was written, the folder not yet
    begin(tmp_path / "one", shared)
    (tmp_path / "one").rename(tmp_path / "new")
    begin(tmp_path / "new", shared)


def forget_id(folder, url):
    """Make a study what an earlier release has left."""
    (folder / "study.id").unlink()
    storage = optuna.storages.RDBStorage(url)
    with storage.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM study_user_attributes WHERE key = 'id'")
    storage.engine.dispose()


def test_one_run_at_a_time_writes_into_a_shared_sqlite_file(tmp_path):
    url = f"sqlite:///{tmp_path}/all.db"

    def run(name, on_event=lambda _: None):
        study = make_study(tmp_path / name, n_iters=1, init=0, name=name, storage=url)
        return run_study(study, on_event=on_event)

    def disturb(event):
        if isinstance(event, TrialStarted) and event.number == 1:
            with pytest.raises(
                StudyError, match=r"another run is working on the database .*all.db"
            ):
                run("second")

    run("first", disturb)
    run("second")
    assert len(read_study(tmp_path / "first").trials) == 4
    assert len(read_study(tmp_path / "second").trials) == 4


def test_a_full_disk_takes_no_study_from_its_folder(tmp_path, shared):
    begin(tmp_path / "old", shared)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))  # nothing can be written
    try:
        same = {"id": (tmp_path / "old" / "study.id").read_text()}
        enter_home(tmp_path / "old", shared, same, dict)
        with pytest.raises(StudyError, match="study.id cannot be written"):
            enter_home(tmp_path / "old", shared, {"id": "another"}, dict)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(read_study(tmp_path / "old").trials) == 2
    assert not list((tmp_path / "old").glob("*.part"))


def test_a_file_that_a_full_disk_has_emptied_is_named(tmp_path, shared):
    begin(tmp_path / "old", shared)
    (tmp_path / "old" / "storage.url").write_text("")
    for use in (read_study, lambda folder: begin(folder, shared)):
        with pytest.raises(StudyError, match=r"storage\.url is empty") as caught:
            use(tmp_path / "old")
    assert "with its storage in the study file" in caught.value.hint
    (tmp_path / "old" / "storage.url").unlink()
    run_study(make_study(tmp_path / "old", storage=shared), trials=3)
    assert len(read_study(tmp_path / "old").trials) == 3
