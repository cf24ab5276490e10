"""Messages and docstrings keep to docs/style.md, as far as that can be told from their text."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(file for folder in ("engine", "plugins") for file in (ROOT / folder).rglob("*.py"))
AVOIDED = {
    "is no …": r"(?<!there )\bis no (?!longer|more|less|such|better|nearer)\w",
    "are no …": r"(?<!there )\bare no (?!longer|more|less|such|larger)\w",
    "mend": r"\bmend(s|ed)?\b",
    "too much": r"\b(?:is|are) too much$",
    "all the same": r"\ball the same\b",
    "goes on": r"(?:command|call|run|study|one|download) (?:again )?goes on",
}


def _texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the texts of a file: what may be said to somebody, and docstrings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


@pytest.fixture(scope="module")
def trees() -> Mapping[Path, ast.Module]:
    return {file: ast.parse(file.read_text(encoding="utf-8")) for file in FILES}


@pytest.mark.parametrize("what", AVOIDED)
def test_texts_avoid_what_makes_readers_stumble(what, trees):
    found = [
        f"{file.relative_to(ROOT)}:{line}: {text}"
        for file, tree in trees.items()
        for line, text in _texts(tree)
        if re.search(AVOIDED[what], text)
    ]
    assert not found, "see docs/style.md"


def test_messages_of_errors_end_without_a_full_stop(trees):
    wrong = []
    for file, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
                text = node.exc.args[0]
                parts = text.values if isinstance(text, ast.JoinedStr) else [text]
                last = parts[-1].value if isinstance(parts[-1], ast.Constant) else ""
                if isinstance(last, str) and re.search(r"[^.]\.$", last):
                    wrong.append(f"{file.relative_to(ROOT)}:{node.lineno}: {last}")
    assert not wrong, "see docs/style.md"


@pytest.mark.parametrize("what", AVOIDED)
def test_pages_avoid_what_makes_readers_stumble(what):
    pages = [p for p in (ROOT / "docs").glob("*.md") if p.name not in {"style.md", "cli.md"}]
    found = [
        f"{page.name}: {match[0]}"
        for page in [ROOT / "README.md", *pages]
        for match in re.finditer(AVOIDED[what], page.read_text(encoding="utf-8"))
        if not re.match(r"is no [nbNs]", match[0])  # nearer, better; There is no NOT, no shell
    ]
    assert not found, "see docs/style.md"
