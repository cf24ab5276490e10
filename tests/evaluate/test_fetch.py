"""Weights on request, against a hub that cuts, changes, redirects and lies."""

from __future__ import annotations

import hashlib
import logging
import random
from dataclasses import replace

import pytest

from bmerge import Download, ScorerError
from bmerge.evaluate import fetch as module
from bmerge.evaluate.fetch import fetch
from servers.file_hub import FileHub

CONTENT = random.Random(0).randbytes(300_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
FILE = Download("owner/model", "deep/weights.bin", "MIT")


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setattr(module, "_PAUSE", 0.001)
    with FileHub(CONTENT) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


def left(root):
    return sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())


def test_file_arrives_whole_with_its_checksum_recorded(hub, tmp_path):
    seen = []
    fetched = fetch(FILE, tmp_path, progress=lambda *pair: seen.append(pair))
    assert fetched.path == tmp_path / "model" / "deep" / "weights.bin"
    assert fetched.path.read_bytes() == CONTENT
    assert (fetched.sha256, fetched.known) == (DIGEST, True)
    assert (tmp_path / "SHA256SUMS").read_text() == f"{DIGEST}  model/deep/weights.bin\n"
    assert left(tmp_path) == ["SHA256SUMS", "model/deep/weights.bin"]
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_connection_that_is_cut_goes_on_where_it_was(hub, tmp_path):
    hub.cuts = [100_000, 50_000, 0]
    assert fetch(FILE, tmp_path).path.read_bytes() == CONTENT
    starts = [int(r[6:-1]) for r in hub.asked[1:]]
    assert hub.asked[0] is None
    assert starts == [100_000, 150_000, 150_000]


def test_a_later_run_goes_on_where_an_earlier_one_gave_up(hub, tmp_path):
    hub.cuts = [120_000] + [0] * 20
    with pytest.raises(ScorerError, match=r"0.1 MB are kept") as info:
        fetch(FILE, tmp_path)
    assert info.value.hint == "run the same command again to continue"
    assert left(tmp_path) == ["model/deep/weights.bin.part", "model/deep/weights.bin.part.etag"]
    hub.cuts, hub.asked = [], []
    assert fetch(FILE, tmp_path).path.read_bytes() == CONTENT
    assert hub.asked == ["bytes=120000-"]
    assert left(tmp_path) == ["SHA256SUMS", "model/deep/weights.bin"]


def test_file_that_changed_on_the_server_starts_anew(hub, tmp_path):
    hub.cuts = [120_000] + [0] * 20
    with pytest.raises(ScorerError):
        fetch(FILE, tmp_path)
    hub.cuts, hub.content = [], CONTENT[::-1]
    hub.stated = None
    fetched = fetch(FILE, tmp_path)
    assert fetched.path.read_bytes() == CONTENT[::-1]
    assert not fetched.known
    assert hashlib.sha256(CONTENT[::-1]).hexdigest() in (tmp_path / "SHA256SUMS").read_text()


def test_server_without_ranges_starts_anew(hub, tmp_path):
    hub.ranges, hub.cuts = False, [120_000]
    assert fetch(FILE, tmp_path).path.read_bytes() == CONTENT


def test_part_that_was_whole_already_is_not_a_dead_end(hub, tmp_path):
    part = tmp_path / "model" / "deep" / "weights.bin.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT)
    part.with_name(part.name + ".etag").write_text(hub.tag)
    assert fetch(FILE, tmp_path).path.read_bytes() == CONTENT


@pytest.mark.parametrize("pinned", [True, False], ids=["pinned", "stated by the server"])
def test_wrong_checksum_leaves_nothing(hub, tmp_path, pinned):
    older = tmp_path / "model" / "deep" / "weights.bin"
    older.parent.mkdir(parents=True)
    older.write_bytes(b"older")
    wrong = "0" * 64
    hub.stated = DIGEST if pinned else wrong
    download = replace(FILE, sha256=wrong) if pinned else FILE
    with pytest.raises(ScorerError, match=f"has the checksum {DIGEST}, expected {wrong}"):
        fetch(download, tmp_path)
    assert left(tmp_path) == ["model/deep/weights.bin"]
    assert older.read_bytes() == b"older"


def test_busy_server_is_tried_again_and_a_missing_file_is_not(hub, tmp_path):
    hub.statuses = [503, 429]
    assert fetch(FILE, tmp_path).path.read_bytes() == CONTENT
    for status, phrase in ((404, "404 Not Found"), (401, "401 Unauthorized")):
        hub.statuses, hub.asked = [status], []
        with pytest.raises(ScorerError, match=phrase):
            fetch(FILE, tmp_path / "other")
        assert len(hub.asked) == 1


def test_full_disk_is_said_before_anything_is_written(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(ScorerError, match="no room for"):
        fetch(FILE, tmp_path)
    assert left(tmp_path) == []


def test_checksums_of_other_files_stay(hub, tmp_path):
    fetch(FILE, tmp_path)
    fetch(replace(FILE, file="other.bin"), tmp_path)
    fetch(FILE, tmp_path)
    lines = (tmp_path / "SHA256SUMS").read_text().splitlines()
    assert lines == [f"{DIGEST}  model/other.bin", f"{DIGEST}  model/deep/weights.bin"]


def test_a_hub_on_this_machine_is_not_asked_through_a_proxy(hub, tmp_path, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert fetch(FILE, tmp_path).path.read_bytes() == CONTENT


@pytest.mark.parametrize("endpoint", ["ftp://hub", "http://a..b", "http://[", "hub"])
def test_an_endpoint_that_is_no_address_is_one_line(endpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_PAUSE", 0.001)
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    with pytest.raises(ScorerError) as info:
        fetch(FILE, tmp_path)
    assert endpoint in str(info.value)
    assert "HF_ENDPOINT" in info.value.hint


def test_the_password_of_a_mirror_is_not_shown(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "bmerge")
    monkeypatch.setattr(module, "_PAUSE", 0.001)
    monkeypatch.setenv("HF_ENDPOINT", "http://me:s3cret@127.0.0.1:9")
    with pytest.raises(ScorerError) as info:
        fetch(FILE, tmp_path)
    assert "attempt 2" in caplog.text
    assert "s3cret" not in f"{info.value!r} {info.value.hint} {caplog.text}"


def test_no_connection_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_PAUSE", 0.001)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ScorerError, match="Connection refused") as info:
        fetch(FILE, tmp_path)
    assert "HF_ENDPOINT" in info.value.hint
