"""Writes ``native/LICENSES.txt``: the licences of the crates that are linked into the extension.

``make licences`` runs it; a test holds the file against Cargo.lock. Macros and build scripts are no
part of what is distributed, so only crates that are linked on some platform are listed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "native" / "LICENSES.txt"
_PACKAGE = "bmerge-python"
_TEXTS = ("LICENSE*", "LICENCE*", "COPYING*", "NOTICE*", "UNLICENSE*", "license*")
_HEAD = """\
The module bmerge._native is linked with the crates below, each under the licence that is named.
Where a licence offers a choice, bmerge takes any of the alternatives.
"""


def linked() -> list[dict[str, Any]]:
    """Return cargo's descriptions of the linked crates, ours not included, by name."""
    command = ["cargo", "metadata", "--locked", "--offline", "--format-version", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603
    data = json.loads(done.stdout)
    packages = {package["id"]: package for package in data["packages"]}
    nodes = {node["id"]: node for node in data["resolve"]["nodes"]}
    (start,) = [key for key, package in packages.items() if package["name"] == _PACKAGE]
    found: dict[str, dict[str, Any]] = {}
    waiting = [start]
    while waiting:
        key = waiting.pop()
        if key in found or _is_macro(packages[key]):
            continue
        found[key] = packages[key]
        waiting += [dep["pkg"] for dep in nodes[key]["deps"] if _is_linked(dep)]
    crates = [package for package in found.values() if package["source"] is not None]
    return sorted(crates, key=lambda package: (package["name"], package["version"]))


def _is_macro(package: dict[str, Any]) -> bool:
    return any("proc-macro" in target["kind"] for target in package["targets"])


def _is_linked(dependency: dict[str, Any]) -> bool:
    return any(kind["kind"] is None for kind in dependency["dep_kinds"])


def text() -> str:
    """Return the content of the file."""
    return "\n".join([_HEAD, *map(_entry, linked())])


def _entry(crate: dict[str, Any]) -> str:
    title = f"{crate['name']} {crate['version']}: {crate['license']}"
    return "\n".join(["=" * 80, title, "=" * 80, "", *_texts(Path(crate["manifest_path"]).parent)])


def _texts(folder: Path) -> Iterator[str]:
    """Yield the licences that a crate comes with."""
    files = {file for pattern in _TEXTS for file in folder.glob(pattern) if file.is_file()}
    for file in sorted(files):
        yield f"--- {file.name}\n\n{file.read_text(encoding='utf-8', errors='replace').strip()}\n"


if __name__ == "__main__":
    if "--print" in sys.argv:
        sys.stdout.write(text())
    else:
        FILE.write_text(text(), encoding="utf-8")
