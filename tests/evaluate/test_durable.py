"""Small files that outlive a power failure: in which order they reach the disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from bmerge import StudyError
from bmerge.evaluate.durable import copy_durably, write_durably


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


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks its descriptors up there")
@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_copies_are_there_and_their_folders_reach_the_disk_last(
    tmp_path, steps, monkeypatch, links
):
    def no_link(*_):
        raise OSError(errno.EXDEV, "another disk")

    if not links:
        monkeypatch.setattr(os, "link", no_link)
    old, new = tmp_path / "old", tmp_path / "new"
    copies = [(old / f"{name}.png", new / f"{name}.png") for name in "ab"]
    for source, _ in copies:
        write_durably(source, source.name.encode())
    new.mkdir()
    (new / "a.png").write_bytes(b"of one that was cut short")
    steps.clear()
    copy_durably(copies)
    assert [target.read_bytes() for _, target in copies] == [b"a.png", b"b.png"]
    written = [(each, new / f"{name}.p{end}") for name in "ab"
               for each, end in (("sync", "art"), ("rename", "ng"))]  # fmt: skip
    assert steps == [*([] if links else written), ("sync", new)]


def test_a_copy_of_a_link_is_a_file(tmp_path):
    (tmp_path / "whole.png").write_bytes(b"picture")
    (tmp_path / "link.png").symlink_to("whole.png")
    copy_durably([(tmp_path / "link.png", tmp_path / "new" / "p.png")])
    assert not (tmp_path / "new" / "p.png").is_symlink()
    assert (tmp_path / "new" / "p.png").read_bytes() == b"picture"
