"""Small files that outlive a power failure: in which order they reach the disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from bmerge import StudyError
from bmerge.evaluate.durable import write_durably


@pytest.fixture
def steps(monkeypatch):
    """Return what is done to the disk, in order."""
    done = []
    fsync, replace = os.fsync, Path.replace

    def recorded_fsync(descriptor):
        done.append(("sync", Path(f"/proc/self/fd/{descriptor}").resolve()))
        fsync(descriptor)

    def recorded_replace(self, target):
        done.append(("rename", Path(target)))
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(Path, "replace", recorded_replace)
    return done


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks its descriptors up there")
def test_content_then_name_then_folder_reach_the_disk(tmp_path, steps):
    path = tmp_path / "pictures" / "0001" / "p.png"
    write_durably(path, b"picture")
    assert path.read_bytes() == b"picture"
    assert steps == [
        ("sync", tmp_path / "pictures"),
        ("sync", tmp_path),
        ("sync", path.with_suffix(".part")),
        ("rename", path),
        ("sync", path.parent),
    ]
    steps.clear()
    write_durably(path, b"another")
    assert path.read_bytes() == b"another"
    assert [kind for kind, _ in steps] == ["sync", "rename", "sync"]
    assert [file.name for file in path.parent.iterdir()] == ["p.png"]


@pytest.mark.parametrize(
    ("number", "message", "hint"),
    [
        (errno.ENOSPC, "no room is left for", "make room"),
        (errno.EDQUOT, "no room is left for", "make room"),
        (errno.EROFS, "cannot be written: Read-only file system", None),
    ],
)
def test_what_cannot_be_written_leaves_nothing_and_may_pass(
    tmp_path, monkeypatch, number, message, hint
):
    def fail(descriptor):
        raise OSError(number, os.strerror(number))

    path = tmp_path / "p.png"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StudyError, match=message) as caught:
        write_durably(path, b"new")
    assert str(path) in str(caught.value)
    assert caught.value.blame == "surroundings"
    assert (hint or "") in (caught.value.hint or "")
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["p.png"]


def test_a_folder_that_cannot_be_synced_is_no_failure(tmp_path, monkeypatch):
    fsync = os.fsync

    def fail_for_folders(descriptor):
        if os.fstat(descriptor).st_mode & 0o040000:
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail_for_folders)
    write_durably(tmp_path / "new" / "p.png", b"picture")
    assert (tmp_path / "new" / "p.png").read_bytes() == b"picture"
