"""Where checkpoints may be written: the suffix is the format, and links stay."""

from __future__ import annotations

import os
import socket

import pytest

from bmerge.errors import FormatError
from bmerge.formats.target import regular_target, target_of, write_file


@pytest.mark.parametrize("name", ["a.safetensors", "a.SFT", "a.ckpt", "a.Pt", "a.pth", "a.bin"])
def test_names_of_known_formats_are_taken(tmp_path, name):
    assert target_of(tmp_path / name) == tmp_path / name


@pytest.mark.parametrize("name", ["a.gguf", "a.txt", "a", "a.safetensors.bak", ".safetensors"])
def test_other_names_are_refused(tmp_path, name):
    with pytest.raises(FormatError, match="cannot write") as caught:
        target_of(tmp_path / name)
    assert ".safetensors" in caught.value.hint


def test_link_leads_to_its_end_and_its_own_suffix_counts(tmp_path):
    (tmp_path / "blobs").mkdir()
    (tmp_path / "a.safetensors").symlink_to("blobs/0123")
    (tmp_path / "b.safetensors").symlink_to("a.safetensors")
    assert target_of(tmp_path / "b.safetensors") == tmp_path / "blobs" / "0123"


@pytest.mark.parametrize(
    ("link", "end"), [("a.safetensors", "x.ckpt"), ("a.ckpt", "x.safetensors")]
)
def test_link_to_a_name_of_another_format_is_refused(tmp_path, link, end):
    (tmp_path / link).symlink_to(end)
    with pytest.raises(FormatError, match="whose suffix is another format's"):
        target_of(tmp_path / link)


def test_link_into_a_missing_folder_or_to_itself_is_refused(tmp_path):
    (tmp_path / "a.safetensors").symlink_to("gone/a.safetensors")
    with pytest.raises(FormatError, match=r"the folder .*gone does not exist"):
        target_of(tmp_path / "a.safetensors")
    (tmp_path / "b.safetensors").symlink_to("b.safetensors")
    with pytest.raises(FormatError, match="too many levels of symbolic links"):
        target_of(tmp_path / "b.safetensors")


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "fifo.safetensors")
    (tmp_path / "folder.safetensors").mkdir()
    (tmp_path / "null.safetensors").symlink_to("/dev/null")
    listening = socket.socket(socket.AF_UNIX)
    here = os.open(tmp_path, os.O_RDONLY)  # the whole name is longer than an address may be
    listening.bind(f"/proc/self/fd/{here}/s.safetensors")
    os.close(here)
    for name, kind in (("fifo", "FIFO"), ("folder", "folder"), ("null", "device"), ("s", "socket")):
        with pytest.raises(FormatError, match=f"it is a {kind}"):
            target_of(tmp_path / f"{name}.safetensors")
    listening.close()


def test_name_that_no_system_has_is_refused(tmp_path):
    for name in ("a\0.safetensors", f"{'x' * 300}.safetensors"):
        with pytest.raises(FormatError, match="cannot write"):
            regular_target(tmp_path / name)


def test_small_file_goes_where_its_link_leads(tmp_path):
    (tmp_path / "link.yaml").symlink_to("end.yaml")
    for data in (b"one", b""):
        write_file(tmp_path / "link.yaml", data)
        assert (tmp_path / "end.yaml").read_bytes() == data
        assert (tmp_path / "link.yaml").is_symlink()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["end.yaml", "link.yaml"]
