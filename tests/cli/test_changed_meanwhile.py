"""Commands that read models for long: of one that changes meanwhile they make nothing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from bmerge.formats import hashes
from bmerge.formats.unchanged import Unchanged
from bmerge.testing import tiny_sd1
from merges import names_in
from shuffled import BASE, TUNED

FIRST, SECOND = "a.safetensors", "b.safetensors"
WRITTEN = ("-o", "out.safetensors")
COMMANDS = {
    "extract": ("lora", "extract", FIRST, SECOND, *WRITTEN),
    "resize": ("lora", "resize", "lora.safetensors", "--rank", "1", *WRITTEN),
    "merge": ("lora", "merge", "lora.safetensors", "lora.safetensors=0.5", *WRITTEN),
    "diff": ("diff", FIRST, SECOND, "--html", "out.html"),
    "parents": ("diff", FIRST, "--parents", SECOND, "c.safetensors"),
}
SAID = "it was changed while it was in use"


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch, bmerge):
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate("abc"):
        tiny_sd1(tmp_path / f"{name}.safetensors", seed)
    words = (FIRST, SECOND, "--rank", "2", "-o", "lora.safetensors")
    assert bmerge("lora", "extract", *words).status == 0


def write_in_place(file):
    with Path(file).open("r+b") as out:
        out.seek(-2, os.SEEK_END)
        out.write(b"\x12\x34")


@pytest.fixture
def changing(monkeypatch):
    """Let a file be written just before a command looks whether it still is what it was."""

    def change(file):
        check = Unchanged.check

        def changed(self):
            write_in_place(file)
            check(self)

        monkeypatch.setattr(Unchanged, "check", changed)

    return change


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_nothing_is_made_of_a_file_that_changes_meanwhile(bmerge, tmp_path, changing, words):
    before = names_in(tmp_path)
    file = next(word for word in reversed(words) if word in {SECOND, "lora.safetensors"})
    changing(file)
    called = bmerge(*words)
    assert (called.status, called.out) == (1, "")
    assert called.err.splitlines()[0].endswith(f"{file}: {SAID}")
    assert names_in(tmp_path) == before


def test_no_model_is_aligned_to_one_that_changes_meanwhile(bmerge, tmp_path, changing):
    pytest.importorskip("scipy")
    shutil.copy(BASE, FIRST)
    changing(FIRST)
    called = bmerge("rebasin", FIRST, TUNED, *WRITTEN)
    assert (called.status, SAID in called.err) == (1, True), called.err
    assert not (tmp_path / "out.safetensors").exists()


def test_no_hash_is_told_of_a_file_that_changes_meanwhile(bmerge, monkeypatch):
    chunks = hashes._chunks

    def changing(path):
        yield from chunks(path)
        write_in_place(path)

    monkeypatch.setattr(hashes, "_chunks", changing)
    called = bmerge("inspect", FIRST, "--hashes")
    assert (called.status, called.out) == (1, "")
    assert f"{FIRST}: it was changed while its hash was computed" in called.err
