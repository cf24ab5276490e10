"""Temporaries of dead processes are known and removed, those of living ones never."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from bmerge import _native, system, temporaries
from bmerge.temporaries import fresh_name, is_left_over, remove_left_over, temporary_folder

TOKEN = "0123456789abcdef"
OLD = time.time() - 3600


@pytest.fixture
def dead() -> int:
    """Return the number of a process that has ended."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def named(folder, process, name="x"):
    return folder / f"{name}.{process}-{TOKEN}.bmerge-tmp"


def make(path, *, age=0.0, folder=False):
    if folder:
        path.mkdir()
        (path / "inner").write_text("x")
    else:
        path.write_text("x")
    os.utime(path, (time.time() - age,) * 2)
    return path


@pytest.mark.parametrize("folder", [False, True])
def test_what_a_dead_process_made_is_removed(tmp_path, dead, folder):
    path = make(named(tmp_path, dead), folder=folder)
    mine = make(tmp_path / "mine.bmerge-tmp")
    assert remove_left_over(tmp_path) == [path]
    assert list(tmp_path.iterdir()) == [mine]


@pytest.mark.parametrize("folder", [False, True])
def test_what_is_locked_stays_however_old(tmp_path, dead, folder):
    path = make(named(tmp_path, dead), age=3600, folder=folder)
    lock = system.lock(path)
    assert not is_left_over(path)
    os.close(lock)
    assert is_left_over(path)


def test_young_ones_of_a_living_process_stay_and_old_ones_without_a_lock_go(tmp_path):
    path = make(named(tmp_path, os.getpid()))
    assert not is_left_over(path)
    os.utime(path, (OLD, OLD))
    assert is_left_over(path)


def test_what_a_living_process_lets_go_is_left_over_after_a_minute(tmp_path, monkeypatch):
    """Numbers are used again all the time where a container has few processes."""
    path = make(named(tmp_path, os.getpid()), age=70)
    monkeypatch.setattr(temporaries, "_lives", lambda *_: True)
    assert is_left_over(path)
    os.utime(path)
    assert not is_left_over(path)


@pytest.mark.parametrize(
    "name",
    [
        "a.safetensors", "x.12.bmerge-tmp", f"x.12-{TOKEN}", f"x.-12-{TOKEN}.bmerge-tmp",
        f"x.12-{TOKEN[:-1]}.bmerge-tmp", f"x.12-{TOKEN}.bmerge-tmp.a.b", "bmerge-results",
        f"x.99999999999-{TOKEN}.bmerge-tmp",
    ],
)  # fmt: skip
def test_other_names_are_nobodys(tmp_path, name):
    assert not is_left_over(make(tmp_path / name, age=3600))


def test_links_and_what_is_no_file_stay(tmp_path, dead):
    target = make(tmp_path / "target")
    link = named(tmp_path, dead, "link")
    link.symlink_to(target)
    fifo = named(tmp_path, dead, "fifo")
    os.mkfifo(fifo)
    assert remove_left_over(tmp_path) == []
    assert target.exists()


def test_what_belongs_to_somebody_else_stays(tmp_path, dead, monkeypatch):
    path = make(named(tmp_path, dead))
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert not is_left_over(path)


def test_shard_that_an_index_names_stays(tmp_path, dead):
    shard = make(tmp_path / f"m-00001-of-00002.{dead}-{TOKEN}.bmerge-tmp.safetensors")
    index = tmp_path / "m.safetensors.index.json"
    index.write_text(f'{{"weight_map": {{"a": "{shard.name}"}}}}')
    assert not is_left_over(shard)
    index.write_bytes(b"\xff")
    assert not is_left_over(shard)
    index.unlink()
    assert is_left_over(shard)


def test_files_for_other_programs_are_known_by_machine_and_process(tmp_path, dead):
    living = make(tmp_path / fresh_name(".safetensors"))
    machine = living.name.split("-")[1]
    ended = make(tmp_path / f"bmerge-{machine}-{dead}-0123456789ab.safetensors")
    part = make(tmp_path / f"bmerge-{machine}-{dead}-0123456789ab.part")
    make(tmp_path / f"bmerge-000000-{dead}-0123456789ab.safetensors")
    assert remove_left_over(tmp_path) == [part, ended]
    assert living.exists()


def test_number_that_is_used_again_is_another_process(tmp_path):
    """This process cannot have made what is older than itself."""
    path = make(tmp_path / fresh_name(".safetensors"))
    os.utime(path, (OLD - 1e6, OLD - 1e6))
    assert is_left_over(path)


def test_folder_is_gone_after_its_block_and_locked_within(tmp_path):
    with temporary_folder("test", tmp_path) as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_text("x")
        os.utime(folder, (OLD, OLD))
        assert folder.stat().st_mode & 0o077 == 0
        assert not is_left_over(folder)
    assert list(tmp_path.iterdir()) == []


def killed(code, folder):
    """Run code in a process that kills itself at its end; its temporaries are in a folder."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code) + "\nos.kill(os.getpid(), 9)"],
        env={**os.environ, "TMPDIR": str(folder), "HERE": str(folder)},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL


FOLDER = """
    import os
    from bmerge.temporaries import temporary_folder
    held = temporary_folder("test")
    (held.__enter__() / "file").write_text("x")
"""
FILE = """
    import os
    from bmerge._native import OutputFile
    file = OutputFile(os.path.join(os.environ["HERE"], "a.safetensors"), 5)
"""


@pytest.mark.parametrize("code", [FOLDER, FILE], ids=["folder", "file"])
def test_leftovers_of_a_kill_go_with_the_next_of_their_kind(tmp_path, code, monkeypatch):
    killed(code, tmp_path)
    (left,) = tmp_path.iterdir()
    assert is_left_over(left)
    monkeypatch.setattr(temporaries, "_cleaned", set())
    with temporary_folder("other", tmp_path) as folder:
        assert list(tmp_path.iterdir()) == [folder]


def test_file_that_is_being_written_stays(tmp_path):
    file = _native.OutputFile(tmp_path / "a.safetensors", 5)
    os.utime(file.temporary_path, (OLD, OLD))
    assert not is_left_over(Path(file.temporary_path))
    file.discard()
