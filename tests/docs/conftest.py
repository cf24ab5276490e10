"""The examples of docs/plugins.md, as they are written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bmerge.testing import tiny_sd1

PAGE = Path(__file__).parents[2] / "docs" / "plugins.md"


@pytest.fixture(scope="session")
def example_files() -> dict[str, str]:
    """The page's files: name → text."""
    blocks = re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return dict(blocks)


@pytest.fixture
def examples(example_files, tmp_path, monkeypatch) -> Path:
    """The page's files and three models, in the current folder."""
    monkeypatch.chdir(tmp_path)
    for name, text in example_files.items():
        (tmp_path / name).write_text(text)
    for seed, name in enumerate("abc"):
        tiny_sd1(tmp_path / f"{name}.safetensors", seed)
    return tmp_path
