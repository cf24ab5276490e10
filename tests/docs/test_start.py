"""docs/start.md and docs/environment.md do what they say: their console blocks are typed."""

from __future__ import annotations

import re

import pytest

from bmerge.testing import tiny_sd1
from consoles import ROOT, typed
from servers.fake_a1111 import FakeA1111

TRIALS = 6


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BMERGE_SCORER_MODELS", str(tmp_path / "none"))
    for seed, name in enumerate("ab"):
        tiny_sd1(tmp_path / f"{name}.safetensors", seed)
    models = tmp_path / "webui" / "models" / "Stable-diffusion"
    models.mkdir(parents=True)
    tiny_sd1(models / "resident.safetensors", 9)
    with FakeA1111(models) as server:
        monkeypatch.setenv("BMERGE_INIT_ADDRESS", server.url)  # not one of the usual ones
        yield tmp_path


def test_a_newcomer_gets_from_two_models_to_a_report(here, bmerge, monkeypatch):
    first, *entries = typed(ROOT / "docs" / "start.md")
    assert first.text.startswith("pip install")
    wrote = ""
    for entry in entries:
        _, words = entry.split()
        called = bmerge(*words[1:])
        assert called.status == 0, called.err
        said = called.out + called.err
        wrote = said if words[1] == "init" else wrote
        assert entry.is_answered(said), (entry.text, said)
    assert f"{TRIALS} trials of" in wrote
    assert len(list((here / "runs/study/pictures").iterdir())) == TRIALS
    best = here / "best.safetensors"
    assert best.read_bytes() == (here / "runs/study/best/best.safetensors").read_bytes()
    for entry in typed(ROOT / "docs" / "environment.md"):
        variables, words = entry.split()
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        called = bmerge(*words[1:])
        assert called.status == 0, called.err
        assert "trials 40" in called.out


def test_every_variable_that_the_code_reads_is_on_the_page():
    page = (ROOT / "docs" / "environment.md").read_text(encoding="utf-8")
    read = set()
    for folder in ("engine", "plugins"):
        for file in (ROOT / folder).rglob("*.py"):
            text = file.read_text(encoding="utf-8")
            read |= set(re.findall(r"environ(?:\.get\(|\[)\"([A-Z_]+)\"", text))
            read |= set(re.findall(r"\"(BMERGE_[A-Z_]+)\"", text))
    assert len(read) > 5
    system = {"DISPLAY", "WAYLAND_DISPLAY", "TERM", "PATH", "SHELL", "HOME", "TMPDIR"}
    assert not [name for name in read - system if f"`{name}`" not in page]
