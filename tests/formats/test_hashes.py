from __future__ import annotations

import hashlib
import json
import os
import sys

import numpy as np
import pytest

from bmerge.errors import FormatError
from bmerge.formats import cached_sha256, checkpoint_sha256, open_checkpoint, sha256_of
from bmerge.testing.checkpoints import write_checkpoint


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "bmerge" / "sha256.json"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(os.urandom(3_000_001))
    return path


def test_sha256_is_that_of_the_bytes_and_is_remembered(file, cache):
    assert cached_sha256(file) is None
    digest = sha256_of(file)
    assert digest == hashlib.sha256(file.read_bytes()).hexdigest()
    assert cached_sha256(file) == digest
    assert list(cache.parent.iterdir()) == [cache]


def test_remembered_hash_is_taken_without_reading(file, cache):
    sha256_of(file)
    entries = dict.fromkeys(json.loads(cache.read_text()), "0" * 64)
    cache.write_text(json.dumps(entries))
    assert sha256_of(file) == "0" * 64


@pytest.mark.parametrize("change", ["content", "time"])
def test_changed_file_is_hashed_again_and_its_old_entry_goes(file, cache, change):
    sha256_of(file)
    if change == "content":
        file.write_bytes(b"other")
    else:
        os.utime(file, ns=(1, 1))
    assert cached_sha256(file) is None
    assert sha256_of(file) == hashlib.sha256(file.read_bytes()).hexdigest()
    assert len(json.loads(cache.read_text())) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="it does not tell when a file was replaced")
@pytest.mark.parametrize("how", ["in place", "replaced"])
def test_a_file_of_the_same_size_and_time_as_before_is_hashed_again(file, tmp_path, how):
    """As copies with their times are, and what trainers write that keep them."""
    sha256_of(file)
    status = file.stat()
    target = file if how == "in place" else tmp_path / "other"
    target.write_bytes(os.urandom(status.st_size))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
    target.replace(file)
    assert sha256_of(file) == hashlib.sha256(file.read_bytes()).hexdigest()


def test_hashes_of_the_files_that_were_hashed_last_are_kept(file, tmp_path, cache):
    digest = sha256_of(file)
    entry = next(iter(json.loads(cache.read_text())))
    others = {f"/gone/{number}|1|1": "0" * 64 for number in range(2500)}
    cache.write_text(json.dumps({entry: digest, **others}))
    newest = tmp_path / "newest"
    newest.write_bytes(b"newest")
    sha256_of(newest)
    kept = list(json.loads(cache.read_text()))
    assert len(kept) == 2000
    assert kept[0] == "/gone/501|1|1"
    assert kept[-1].startswith(f"{newest}|")
    assert cached_sha256(file) is None


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b'{"a": 3}', b"\xff\xfe"], ids=["0", "{", "list", "int", "ff"]
)
def test_broken_cache_is_ignored_and_replaced(file, cache, content):
    cache.parent.mkdir(parents=True)
    cache.write_bytes(content)
    digest = sha256_of(file)
    assert digest == hashlib.sha256(file.read_bytes()).hexdigest()
    assert cached_sha256(file) == digest


def test_cache_that_cannot_be_written_is_ignored(file, tmp_path, monkeypatch):
    (tmp_path / "occupied").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "occupied"))
    assert sha256_of(file) == hashlib.sha256(file.read_bytes()).hexdigest()


def test_hashing_can_be_stopped(file):
    with pytest.raises(InterruptedError):
        sha256_of(file, stop=lambda: True)
    assert cached_sha256(file) is None


def test_missing_file_is_a_format_error(tmp_path):
    with pytest.raises(FormatError, match="No such file"):
        sha256_of(tmp_path / "gone")


def test_sharded_checkpoint_has_one_hash_of_all_shards(tmp_path):
    lines = ""
    for name in ("a-1.safetensors", "a-2.safetensors"):
        path = write_checkpoint(tmp_path / name, {name: np.ones(3)})
        lines += f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {name}\n"
    index = tmp_path / "a.safetensors.index.json"
    weight_map = {name: name for name in ("a-2.safetensors", "a-1.safetensors")}
    index.write_text(json.dumps({"weight_map": weight_map}))
    assert checkpoint_sha256(open_checkpoint(index)) == hashlib.sha256(lines.encode()).hexdigest()


def test_checkpoint_hash_of_one_file_is_the_files(tmp_path):
    path = write_checkpoint(tmp_path / "a.safetensors", {"a": [1.0]})
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    assert checkpoint_sha256(open_checkpoint(path)) == expected
    assert checkpoint_sha256(open_checkpoint(tmp_path)) == expected
