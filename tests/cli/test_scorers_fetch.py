"""``bmerge scorers fetch``: what a person sees of it."""

from __future__ import annotations

import hashlib

import pytest

from servers.file_hub import FileHub

CONTENT = b"weights" * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with FileHub(CONTENT) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("BMERGE_SCORER_MODELS", str(tmp_path))
        yield hub


def test_fetch_says_where_the_file_is_and_what_its_checksum_is(bmerge, hub, tmp_path):
    called = bmerge("scorers", "fetch", "laion_aesthetic")
    path = tmp_path / "clip-vit-large-patch14" / "model.safetensors"
    assert called.status == 0, called.err
    assert called.out.splitlines() == [str(path), f"sha256 {DIGEST}  (as expected)"]
    assert f"{hub.url}/openai/clip-vit-large-patch14/resolve/main/model.safetensors" in called.err
    assert "licence: MIT" in called.err
    assert path.read_bytes() == CONTENT
    again = bmerge("scorers", "fetch", "clip_score")
    assert again.out == f"{path} is there already\n"
    assert len(hub.asked) == 1
    bmerge("scorers", "fetch", "clip_score", "--force")
    assert len(hub.asked) == 2


def test_optional_files_are_fetched_by_name(bmerge, hub, tmp_path):
    hub.stated = None
    called = bmerge("scorers", "fetch", "hps", "--dir", tmp_path / "x")
    assert "not known before; recorded" in called.out
    bmerge("scorers", "fetch", "hps", "--file", "HPS_v2_compressed.pt", "--dir", tmp_path / "y")
    names = lambda folder: [p.name for p in (tmp_path / folder / "HPSv2").iterdir()]  # noqa: E731
    assert names("x") == ["HPS_v2.1_compressed.pt"]
    assert names("y") == ["HPS_v2_compressed.pt"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sharpness"], "sharpness needs no weights that can be fetched"),
        (["hps", "--file", "HPS.pt"], "hps needs no file 'HPS.pt'"),
        (["hsp"], "'hsp'"),
    ],
)
def test_wrong_name_is_one_line(bmerge, hub, words, message):
    called = bmerge("scorers", "fetch", *words)
    assert called.status == 1
    assert message in called.err
    assert len(called.err.splitlines()) <= 2
    assert hub.asked == []
