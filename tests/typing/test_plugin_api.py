"""The plugin API as type checkers see it, and the promise of ``bmerge.v1``."""

from __future__ import annotations

import dataclasses
import inspect
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import bmerge
from bmerge import v1

ROOT = Path(__file__).parents[2]
PLUGIN = Path(__file__).with_name("plugin_api.py")
PROMISE = Path(__file__).with_name("v1.json")
WRONG = """
from bmerge.v1 import GeneratorKind, Statistic, Weight, hookimpl, merge_method
import bmerge

Statistic(1, 2)
GeneratorKind("name", 3, "summary")
bmerge.merge("weighted_sum", "a", "b", output=3)
"""


def _mypy(*words: object) -> list[str]:
    return [
        *(sys.executable, "-m", "mypy", "--config-file=", "--strict", "--no-error-summary"),
        *("--cache-dir", str(ROOT / ".mypy_cache" / "plugin_api"), *map(str, words)),
    ]


def _others() -> dict[str, list[str]]:
    """Return the commands of the other checkers, those that are installed."""
    words = {
        "pyright": ["--pythonpath", sys.executable, "--level", "error"],
        "basedpyright": ["--pythonpath", sys.executable, "--level", "error"],
        "ty": ["check", "--python", sys.prefix, "--extra-search-path", "engine"],
        "pyrefly": [
            "check",
            "--python-interpreter-path",
            sys.executable,
            "--search-path",
            "engine",
        ],
    }
    return {name: [found, *words[name]] for name in words if (found := shutil.which(name))}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_plugins_of_every_kind_pass_mypy_and_mistakes_do_not(tmp_path):
    done = subprocess.run(_mypy(PLUGIN), cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout
    wrong = tmp_path / "wrong.py"
    wrong.write_text(WRONG)
    done = subprocess.run(_mypy(wrong), cwd=ROOT, capture_output=True, text=True, check=False)
    assert [line.split(":")[1] for line in done.stdout.splitlines()] == ["5", "5", "6", "7"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pyright", "basedpyright", "ty", "pyrefly"])
def test_plugins_of_every_kind_pass_other_checkers(name):
    if name not in _others():
        pytest.skip(f"{name} is not installed")
    command = [*_others()[name], str(PLUGIN)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def _parameters(function: object) -> list[str]:
    """Return ``a``, ``b=`` (it has a default), ``*c``, ``**d``; after ``*`` by keyword only."""
    words: list[str] = []
    for p in inspect.signature(function).parameters.values():
        if p.kind is p.KEYWORD_ONLY and not any(word.startswith("*") for word in words):
            words.append("*")
        stars = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
        words.append(f"{stars}{p.name}{'' if p.default is p.empty else '='}")
    return words


GIVEN = {
    "Architecture", "Exhibit", "MergeMethod", "Parameter", "Plan", "Result", "Space",
    "StoredPicture",
}  # fmt: skip
"""Classes that bmerge makes and plugins read: their attributes stay, not how they are made."""


def _taken(name: str) -> dict[str, list[str]]:
    """Return what a name of the promise takes: a class's constructor is called ``()``."""
    thing = getattr(v1, name)
    if not inspect.isclass(thing):
        return {"()": _parameters(thing)} if inspect.isfunction(thing) else {}
    methods = {
        word: _parameters(value)
        for word, value in sorted(vars(thing).items())
        if inspect.isfunction(value) and not word.startswith("_")
    }
    if getattr(thing, "_is_protocol", False):
        return methods
    if name in GIVEN:
        names = (field.name for field in dataclasses.fields(thing))
        return {"attributes": sorted(n for n in names if not n.startswith("_")), **methods}
    return {"()": _parameters(thing), **methods}


def _is_kept(before: list[str], now: list[str]) -> bool:
    """Tell whether every call that was right is right still: what is new may be left out."""
    new = [word for word in now if word not in before]
    positional = before[: before.index("*")] if "*" in before else before
    return (
        all(word in now or f"{word}=" in now for word in before)
        and [word.rstrip("=") for word in now[: len(positional)]]
        == [word.rstrip("=") for word in positional]
        and all(word.endswith("=") or word.startswith("*") for word in new)
    )


def _holds(part: str, before: list[str], now: list[str]) -> bool:
    return set(before) <= set(now) if part == "attributes" else _is_kept(before, now)


def test_promise_is_kept():
    kept = json.loads(PROMISE.read_text())
    now = {name: _taken(name) for name in v1.__all__}
    assert not sorted(kept.keys() - now.keys()), "names of bmerge.v1 are gone"
    broken = [
        f"{name}.{part} took {words}, takes {now[name].get(part)}"
        for name, parts in kept.items()
        for part, words in parts.items()
        if not _holds(part, words, now[name].get(part, []))
    ]
    assert not broken, "what has to change goes into a bmerge.v2"
    assert now.keys() == kept.keys(), f"add the new names to {PROMISE.name}"


@pytest.mark.parametrize(
    ("before", "now", "kept"),
    [
        (["a", "b="], ["a", "b=", "c="], True),
        (["a", "*", "k"], ["a", "*", "k", "l="], True),
        (["a", "b"], ["a", "b="], True),
        (["a", "b="], ["a"], False),
        (["a"], ["a", "b"], False),
        (["a", "b"], ["b", "a"], False),
        (["a="], ["a"], False),
    ],
)
def test_what_keeps_the_promise(before, now, kept):
    assert _is_kept(before, now) is kept


def test_v1_names_public_names_only_and_imports_nothing_heavy():
    assert set(v1.__all__) < set(bmerge.__all__)
    assert all(getattr(v1, name) is getattr(bmerge, name) for name in v1.__all__)
    with pytest.raises(AttributeError, match="no attribute 'merge_to_file'"):
        _ = v1.merge_to_file
    code = "import sys, bmerge.v1; print({'torch', 'numpy', 'optuna'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
