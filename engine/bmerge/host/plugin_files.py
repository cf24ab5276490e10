"""Plugin files given by path: which files of a folder are plugins, and how one is imported.

A file is looked at before it is imported: one that defines no hook (a helper, a test, ``setup.py``)
does not take part, and nothing in it is run.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import re
import sys
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from bmerge.errors import PluginError

__all__ = ["import_file", "plugins_in"]

_MARK = "hookimpl"
_PREFIX = "bmerge_"
_NEVER = re.compile(r"_.*|test_.*|.*_test|conftest|setup")
"""Names of files that are about plugins, or hidden, and none themselves."""

_folders: list[str] = []
"""Folders of the plugin files that were imported, the last one first."""


def plugins_in(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the plugin files of a folder, and the other Python files in it, both sorted."""
    files = sorted(file for file in folder.glob("*.py") if file.is_file())
    found = [file for file in files if not _NEVER.fullmatch(file.stem) and _has_hooks(file)]
    return found, [file for file in files if file not in found]


def _has_hooks(file: Path) -> bool:
    """Tell whether a file defines a hook, by what is written in it."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return _MARK in text  # whoever imports it says what is wrong
    marks = {_MARK, *_other_names(tree)}
    return any(_is_hook(statement, marks) for statement in _top_level(tree))


def _other_names(tree: ast.Module) -> Iterator[str]:
    """Yield what a file calls the mark, if it imports it under another name."""
    for statement in tree.body:
        if isinstance(statement, ast.ImportFrom):
            names = (alias for alias in statement.names if alias.name == _MARK)
            yield from (alias.asname for alias in names if alias.asname)


def _top_level(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the statements that a module runs, those within ``if`` and ``try`` too."""
    for statement in ast.iter_child_nodes(tree):
        yield statement
        if isinstance(statement, ast.If | ast.Try | ast.With | ast.ExceptHandler):
            yield from _top_level(statement)


def _is_hook(statement: ast.AST, marks: set[str]) -> bool:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        marked = any(_name(decorator) in marks for decorator in statement.decorator_list)
        return marked or statement.name.startswith(_PREFIX)
    if isinstance(statement, ast.Assign):
        return any(_name(target).startswith(_PREFIX) for target in statement.targets)
    if isinstance(statement, ast.ImportFrom):  # hooks that another file defines
        return any((alias.asname or alias.name).startswith(_PREFIX) for alias in statement.names)
    return False


def _name(node: ast.expr) -> str:
    """Return the last word of ``hookimpl``, ``bmerge.hookimpl`` or ``hookimpl(…)``."""
    if isinstance(node, ast.Call):
        return _name(node.func)
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


class _AsItStands(SourceFileLoader):
    """Compiles a file whenever it is imported.

    Bytecode that is kept is told from that of another text by seconds and size alone, while results
    are known by the text. None is left beside users' files, either.
    """

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def import_file(file: Path) -> ModuleType:
    """Import a file as a module of its own, apart from whatever else has its name.

    The files beside it can be imported, as if it were run as a script: while it is imported they
    go before all else of their name, afterwards (for imports within functions) behind it.
    """
    path = file.resolve()
    name = "bmerge_plugin_file_" + re.sub(r"\W", "_", file.stem)
    loader = _AsItStands(name, str(path))
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    if spec is None or spec.loader is None:  # pragma: no cover  a .py file always has a loader
        raise PluginError(f"{str(file)!r} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with _beside(str(path.parent)):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextlib.contextmanager
def _beside(folder: str) -> Iterator[None]:
    """Let the files of ``folder`` be found, and not those of that name beside other plugins."""
    others = tuple(other for other in _folders if other != folder)
    hidden = {name: m for name, m in sys.modules.items() if _found_in(m, others)}
    for name in hidden:
        del sys.modules[name]
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
        sys.modules.update(hidden)
        if folder not in _folders:
            _folders.append(folder)
            sys.path.append(folder)


def _found_in(module: ModuleType, folders: tuple[str, ...]) -> bool:
    """Return whether a module is found by its name in one of ``folders``, and not in a package."""
    file = getattr(module, "__file__", None)
    if not file or not file.startswith(folders):
        return False  # nearly all end here, and there are thousands
    name = module.__name__
    path = Path(file)
    depth = name.count(".") + (path.stem == "__init__")
    top = str(path.parents[depth]) if depth < len(path.parents) else None
    return top in folders and not name.startswith("bmerge_plugin_file_")
