"""Which files a plugin's code is in, and a hash of them: what tells one state of it from another.

Code is read here, never run.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

from bmerge.errors import PluginError

__all__ = ["code_files", "code_sha256"]


def code_sha256(file: Path, *, installed: bool = False) -> str:
    """Return the SHA-256 of a plugin's code.

    Of one file it is the hash of its bytes. Of several it is the hash of the lines
    ``{sha256}  {path}\\n``, as ``sha256sum`` prints them in the folder that holds all.

    Args:
        file: of the plugin.
        installed: whether its folder is one of installed modules, which are none of its own.

    Raises:
        PluginError: if a file cannot be read.
    """
    import hashlib

    files = code_files(file, installed=installed)
    try:
        hashes = [hashlib.sha256(each.read_bytes()).hexdigest() for each in files]
    except OSError as error:
        raise PluginError(f"{error.filename} cannot be read: {error.strerror}") from error
    if len(hashes) == 1:
        return hashes[0]
    root = _package(files[0].parent) or files[0].parent
    names = [each.relative_to(root).as_posix() for each in files]
    lines = sorted(zip(names, hashes, strict=True))
    return hashlib.sha256("".join(f"{d}  {n}\n" for n, d in lines).encode()).hexdigest()


def code_files(file: Path, *, installed: bool = False) -> tuple[Path, ...]:
    """Return the files of a plugin's code, its own first.

    Of a plugin in a package that is the whole package; of a single file it is the file with
    what it imports from its own folder, and what that imports in turn.

    Args:
        file: of the plugin.
        installed: whether its folder is one of installed modules.
    """
    file = file.resolve()
    package = _package(file.parent)
    if package is not None:
        others = [each for each in sorted(package.rglob("*.py")) if each != file]
        return (file, *others)
    found = {file: None}
    waiting = [] if installed else [file]
    while waiting:
        for other in _neighbours(waiting.pop(), file.parent):
            if other not in found:
                found[other] = None
                waiting.append(other)
    return tuple(found)


def _package(folder: Path) -> Path | None:
    """Return the outermost package that ``folder`` is or lies in."""
    package = None
    while (folder / "__init__.py").is_file():
        package, folder = folder, folder.parent
    return package


def _neighbours(file: Path, folder: Path) -> Iterator[Path]:
    """Yield the files in ``folder`` that the imports of ``file`` can mean."""
    try:
        names = _imports(file.read_bytes())
    except OSError:
        return  # whoever imports it will say what is wrong
    for name in sorted(names):
        if (folder / f"{name}.py").is_file():
            yield folder / f"{name}.py"
        if (folder / name).is_dir():
            yield from sorted((folder / name).rglob("*.py"))


@functools.lru_cache  # a study asks for each part of a plugin
def _imports(source: bytes) -> frozenset[str]:
    """Return the first words of all that a file imports."""
    import ast  # few commands ask

    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError):
        return frozenset()  # whoever imports it will say what is wrong
    names = {a.name for node in nodes if isinstance(node, ast.Import) for a in node.names}
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            names |= {node.module} if node.module else {alias.name for alias in node.names}
    return frozenset(name.partition(".")[0] for name in names)
