"""What the project says of itself is true: every part is documented, tested and small enough."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import bmerge
from bmerge.cli.root import COMMANDS
from bmerge.host.manager import HOOKS

ROOT = Path(__file__).parents[1]
SOURCES = sorted(file for folder in ("engine", "plugins") for file in (ROOT / folder).rglob("*.py"))
TESTS = (
    "\n".join(
        file.read_text()
        for file in (ROOT / "tests").rglob("*.py")
        if file.name != Path(__file__).name
    )
    + (ROOT / "docs" / "plugins.md").read_text()
)  # whose examples are run
LONGEST_FILE = 400
LONGEST_FUNCTION = 60
TYPES_WITHOUT_DOCSTRING = {
    "ParameterKind",
    "Blame",
    "Weight",
    "PerModel",
}  # aliases: documented where they are defined


def _functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def _body_length(function: ast.FunctionDef) -> int:
    """Return the number of lines without docstring and signature."""
    first = function.body[1 if ast.get_docstring(function) and len(function.body) > 1 else 0]
    return (function.end_lineno or first.lineno) - first.lineno + 1


def test_every_module_says_what_it_is_for():
    silent = [
        str(file.relative_to(ROOT))
        for file in SOURCES
        if file.read_text().strip() and not ast.get_docstring(ast.parse(file.read_text()))
    ]
    assert not silent


def test_no_file_and_no_function_is_too_long():
    long = []
    for file in SOURCES:
        text = file.read_text()
        name = file.relative_to(ROOT)
        if len(text.splitlines()) > LONGEST_FILE:
            long.append(f"{name}: {len(text.splitlines())} lines")
        long += [
            f"{name}: {function.name}: {_body_length(function)} lines"
            for function in _functions(ast.parse(text))
            if _body_length(function) > LONGEST_FUNCTION
        ]
    assert not long


@pytest.mark.parametrize("name", sorted(set(bmerge.__all__) - TYPES_WITHOUT_DOCSTRING))
def test_every_public_name_is_documented(name):
    assert getattr(bmerge, name).__doc__


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_used_by_a_test(hook):
    assert re.search(rf"def {hook}\(", TESTS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_called_by_a_test(command):
    calls = (rf'(bmerge|run)\(\s*"{command}"', rf'\["{command}"', rf'^    "{command}": \{{"')
    assert any(re.search(call, TESTS, re.MULTILINE) for call in calls)


def test_every_page_of_the_documentation_is_linked():
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    text = "\n".join(page.read_text() for page in pages if page.exists())
    lost = [page.name for page in pages[1:] if f"{page.name})" not in text]
    assert not lost


def test_links_between_pages_lead_somewhere():
    broken = [
        f"{page.name}: {target}"
        for page in (ROOT / "docs").glob("*.md")
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert not broken
