"""docs/start.md and docs/environment.md do what they say: their console blocks are typed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from bmerge.testing import tiny_sd1
from servers.fake_a1111 import FakeA1111

ROOT = Path(__file__).parents[2]
TRIALS = 6
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)


def _typed(page: str) -> list[tuple[str, list[str]]]:
    """Return the commands of a page, each with the lines that were answered."""
    found: list[tuple[str, list[str]]] = []
    for block in BLOCK.findall((ROOT / "docs" / page).read_text(encoding="utf-8")):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


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
    commands = _typed("start.md")
    assert commands[0][0].startswith("pip install")
    wrote = ""
    for command, answer in commands[1:]:
        called = bmerge(*shlex.split(command)[1:])
        assert called.status == 0, called.err
        said = called.out + called.err
        wrote = said if " init " in command else wrote
        for line in answer:
            parts = [re.escape(part) for part in line.split("…") if part.strip()]
            assert re.search(".*".join(parts), said), (command, line, said)
    assert f"{TRIALS} trials of" in wrote
    assert len(list((here / "runs/study/pictures").iterdir())) == TRIALS
    best = here / "best.safetensors"
    assert best.read_bytes() == (here / "runs/study/best/best.safetensors").read_bytes()
    for command, _ in _typed("environment.md"):
        name, value, *words = shlex.split(command.replace("=", " ", 1))
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
