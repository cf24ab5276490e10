"""The layer rule: imports only go from a lower line to a higher one in docs/architecture.md."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ENGINE = ROOT / "engine" / "bmerge"
PLUGINS = ROOT / "plugins" / "bmerge_plugins"
EVERY_PLUGIN = """
from bmerge import load_registry
r = load_registry()
for kind in (r.methods, r.optimisers, r.generators, r.scorers, r.architectures):
    assert len(kind)
"""
HEAVY = ("torch", "numpy", "optuna", "nevergrad", "scipy", "PIL", "jinja2")


def _layers() -> list[str]:
    """Return the rooms in the order of the document."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    block = text.split("engine/bmerge/\n", 1)[1].split("plugins/bmerge_plugins/", 1)[0]
    words = [
        word
        for line in block.splitlines()
        if (head := re.match(r" {2}((?:[a-z_]+(?:\.py|/)\s+)+)", line))
        for word in head[1].split()
    ]
    return [
        word.removesuffix("/").removesuffix(".py") for word in words if (ENGINE / word).exists()
    ]


LAYERS = _layers()


def _imports(file: Path) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    """Yield (line, module, names) for each import of bmerge in ``file``."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: a relative import"
            yield node.lineno, node.module or "", tuple(alias.name for alias in node.names)


def _rooms(module: str, names: tuple[str, ...]) -> set[str]:
    parts = module.split(".")
    if parts[0] != "bmerge":
        return set()
    found = {parts[1]} if len(parts) > 1 else set(names)
    return found - {"_native"}


def _room_of(file: Path) -> str:
    return file.relative_to(ENGINE).parts[0].removesuffix(".py")


def test_layers_of_the_document_are_the_rooms_of_the_engine():
    rooms = {p.name.removesuffix(".py") for p in ENGINE.iterdir() if p.suffix in {"", ".py"}}
    assert set(LAYERS) == rooms - {"__init__", "__main__", "__pycache__", "v1"}


def test_files_that_the_document_names_exist():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"[a-z_*]+\.py\b", text.split("```")[1])
    assert len(named) > 50
    assert not [name for name in named if not any((*ENGINE.rglob(name), *PLUGINS.rglob(name)))]


@pytest.mark.parametrize("room", LAYERS)
def test_layer_imports_only_higher_ones(room):
    allowed = {*LAYERS[: LAYERS.index(room) + 1]}
    files = sorted((ENGINE / room).rglob("*.py")) or [ENGINE / f"{room}.py"]
    wrong = [
        f"{file.relative_to(ROOT)}:{line} imports bmerge.{target}"
        for file in files
        for line, module, names in _imports(file)
        for target in sorted(_rooms(module, names) - allowed)
    ]
    assert not wrong, "\n".join(wrong)


def test_plugins_import_public_names_only():
    wrong = [
        f"{file.relative_to(ROOT)}:{line} imports {module}"
        for file in sorted(PLUGINS.rglob("*.py"))
        for line, module, _ in _imports(file)
        if module.startswith("bmerge.") and module.split(".")[1] not in {"ops", "testing"}
    ]
    assert not wrong, "\n".join(wrong)


SEAMS = {
    "engine/bmerge/system.py",
    "engine/bmerge/cli/signals.py",  # it is there before everything else, and imports nothing
    "engine/bmerge/executors/probe.py",  # where drivers of GPUs show themselves
    "plugins/bmerge_plugins/servers/process.py",  # programs with all their children
}
ELSEWHERE = re.compile(
    r"\bos\.(fork|getuid|geteuid|getpgid|killpg|setsid|sched_\w+|mkfifo|posix_\w+|statvfs|uname)\b"
    r"|\bO_(DIRECTORY|NOFOLLOW|CLOEXEC|RDONLY)\b|\bsignal\.SIG(KILL|TERM|HUP|USR\d|CHLD)\b"
    r"|\bimport (fcntl|grp|msvcrt|pwd|resource|termios|winreg)\b|\bsymlink_to\(|/(proc|dev)/\w"
)
"""What only some systems have."""


def test_names_of_one_operating_system_are_behind_its_seam():
    found = [
        f"{file.relative_to(ROOT)}:{number} {line.strip()}"
        for folder in (ENGINE, PLUGINS)
        for file in sorted(folder.rglob("*.py"))
        if file.relative_to(ROOT).as_posix() not in SEAMS
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if ELSEWHERE.search(line)
    ]
    assert not found, "\n".join(found)


def _modules_after(code: str) -> set[str]:
    """Run ``code`` in a process of its own; return the heavy packages that it imported."""
    show = f"import sys; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", f"{code}\n{show}"], capture_output=True, text=True, check=True
    )
    return set(result.stdout.splitlines()[-1].split()) if result.stdout.strip() else set()


@pytest.mark.parametrize(
    "code",
    [
        "import bmerge",
        "import bmerge; [getattr(bmerge, name) for name in bmerge.__all__]",
        EVERY_PLUGIN,
        "import bmerge.cli.merge, bmerge.cli.inspect",
    ],
    ids=["package", "every public name", "every plugin", "commands without a study"],
)
def test_import_loads_nothing_heavy(code):
    assert _modules_after(code) == set()


def _homes(package: str) -> dict[str, str]:
    """Return the names that a package imports when they are used, with their modules."""
    homes = getattr(importlib.import_module(package), "_HOMES", {})
    return {name: module for module, names in homes.items() for name in names.split()}


def _told(init: Path) -> dict[str, str]:
    """Return the names that type checkers see a package import, with their modules."""
    nodes = ast.walk(ast.parse(init.read_text()))
    froms = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    names = {alias.name: str(node.module) for node in froms for alias in node.names}
    return {name: home for name, home in names.items() if home not in ABOUT_ROOMS}


ABOUT_ROOMS = {"__future__", "bmerge.rooms", "typing"}
ROOMS = [init for init in sorted(ENGINE.glob("*/__init__.py")) if "offering(" in init.read_text()]


@pytest.mark.parametrize("init", ROOMS, ids=lambda init: init.parent.name)
def test_room_offers_what_it_tells(init):
    package = ".".join(init.parent.relative_to(ENGINE.parent).parts)
    room = importlib.import_module(package)
    assert _homes(package) == _told(init)
    assert set(room.__all__) == set(_homes(package))
    assert all(hasattr(room, name) for name in room.__all__)
    beside = {path.stem for path in init.parent.iterdir()}
    assert beside.isdisjoint(room.__all__), "an import of the module would replace the name"


def test_public_names_are_all_there():
    import bmerge

    for name in bmerge.__all__:
        assert getattr(bmerge, name) is not None
    told = {name: home for name, home in _told(ENGINE / "__init__.py").items() if name != "ops"}
    assert set(bmerge.__all__) == {*_homes("bmerge"), "ops"} == {*told, "ops"}
    with pytest.raises(AttributeError, match="module 'bmerge' has no attribute 'nothing'"):
        _ = bmerge.nothing


def _modules() -> dict[str, set[str]]:
    """Return what each module of engine and plugins imports, in functions and for types too."""
    found: dict[str, ast.Module] = {}
    for folder in (ENGINE.parent, PLUGINS.parent):
        for file in sorted(folder.rglob("*.py")):
            name = ".".join(file.relative_to(folder).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = ast.parse(file.read_text())
    imports: dict[str, set[str]] = {name: set() for name in found}
    for name, tree in found.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                each = (f"{node.module}.{alias.name}" for alias in node.names)
                imports[name] |= {whole if whole in found else node.module for whole in each}
    return imports


def _circles(imports: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of modules of which each leads to all others, by Tarjan's algorithm."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(imports[name]):
            if other not in index:
                visit(other)
            if other in stack:
                low[name] = min(low[name], low[other])
        if low[name] == index[name]:
            place = stack.index(name)
            group = stack[place:]
            del stack[place:]
            if len(group) > 1:
                found.append(sorted(group))

    for name in imports:
        if name not in index:
            visit(name)
    return found


def test_no_modules_import_each_other_in_a_circle():
    """Not in functions either, nor for type checkers alone."""
    modules = _modules()
    del modules["bmerge"]  # which has _native, and knows all that it offers by name
    own = {name: {*modules} & others - {name} for name, others in modules.items()}
    assert _circles(own) == []


def test_circles_are_found():
    assert _circles({"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set()}) == [["b", "c"]]


def test_dataclasses_with_slots_are_made_by_records():
    theirs = re.compile(r"^from dataclasses import .*\bdataclass\b", re.MULTILINE)
    slotted = re.compile(r"^ *@dataclass\(.*slots=True", re.MULTILINE)
    texts = {file.relative_to(ENGINE): file.read_text() for file in ENGINE.rglob("*.py")}
    wrong = [file for file, text in texts.items() if theirs.search(text) and slotted.search(text)]
    assert not wrong, f"import dataclass from bmerge.records in {wrong}"
