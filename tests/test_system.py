"""What differs between operating systems, where it can be seen on any of them."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from bmerge import split_command
from bmerge.system import nearby, sync_folder


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (r"C:\sd\sd-cli.exe -m {checkpoint}", [r"C:\sd\sd-cli.exe", "-m", "{checkpoint}"]),
        (r'"C:\Program Files\sd.exe" -o D:\ #1', [r"C:\Program Files\sd.exe", "-o", "D:\\", "#1"]),
        (r"\\server\share\judge.exe 'a b'", [r"\\server\share\judge.exe", "a b"]),
    ],
    ids=["drive", "quoted", "share"],
)
def test_a_command_of_windows_keeps_its_backslashes(text, words):
    assert split_command(text, backslashes=True) == words


def test_a_command_of_unix_is_split_as_by_its_shell():
    assert split_command(r"a\ b 'c  d' # e", backslashes=False) == ["a b", "c  d", "#", "e"]
    with pytest.raises(ValueError, match="quotation"):
        split_command("'a", backslashes=False)


@pytest.mark.skipif(sys.platform == "win32", reason="folders cannot be opened")
def test_a_folder_whose_file_system_cannot_flush_it_is_no_failure(tmp_path, monkeypatch):
    def failing(number):
        def fsync(descriptor):
            raise OSError(number, os.strerror(number))

        return fsync

    sync_folder(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync_folder(tmp_path / "not there")
    monkeypatch.setattr(os, "fsync", failing(errno.EINVAL))  # shared folders of VirtualBox
    sync_folder(tmp_path)
    monkeypatch.setattr(os, "fsync", failing(errno.EIO))
    with pytest.raises(OSError, match="Input/output"):
        sync_folder(Path(tmp_path))


def test_a_path_is_called_as_from_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert nearby(tmp_path / "runs" / "x") == Path("runs/x")
    assert nearby(tmp_path.parent / "y") == tmp_path.parent / "y"
