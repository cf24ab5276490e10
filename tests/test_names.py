"""Names are told apart: one class has one name, and what is imported is there under its name."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {"bmerge": ROOT / "engine", "bmerge_plugins": ROOT / "plugins"}


@cache
def _modules() -> dict[str, ast.Module]:
    """Return every module of engine and plugins by its dotted name."""
    found = {}
    for folder in PACKAGES.values():
        for file in sorted(folder.rglob("*.py")):
            name = ".".join(file.relative_to(folder).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = ast.parse(file.read_text())
    return found


def test_a_class_has_its_name_for_itself():
    places = defaultdict(list)
    for module, tree in _modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(module)
    twice = {name: found for name, found in places.items() if len(found) > 1}
    assert not twice


def _defined(tree: ast.Module) -> Iterator[str]:
    """Yield the names that a module has after it was imported, and those for type checkers."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            yield node.name
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from (alias.asname or alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


@pytest.mark.parametrize("package", PACKAGES)
def test_every_imported_name_is_there(package):
    """Also in functions and for type checkers, where a stale name is noticed late."""
    modules = _modules()
    names = {module: {*_defined(tree)} for module, tree in modules.items()}
    lost = [
        f"{module}:{node.lineno}: {alias.name} of {node.module}"
        for module, tree in modules.items()
        if module.split(".")[0] == package
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in modules
        for alias in node.names
        if alias.name not in names[node.module]
        and f"{node.module}.{alias.name}" not in modules
        and "__getattr__" not in names[node.module]
    ]
    assert not lost


UNTELLING = {
    *("anybody", "everybody", "far", "mix", "somebody"),
    *("stuff", "thing", "things", "way", "ways"),
}
"""Words that do not tell what a name stands for."""


def _named(tree: ast.Module) -> Iterator[str]:
    """Yield the names that a module gives: to modules, classes, functions, arguments, variables."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def test_names_tell_what_they_stand_for():
    wrong = [
        f"{module}: {name}"
        for module, tree in _modules().items()
        for name in (module.rpartition(".")[2], *_named(tree))
        if UNTELLING & {*name.lower().split("_")}
    ]
    assert not wrong
