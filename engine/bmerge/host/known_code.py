"""Plugin files whose code the user has loaded on this machine: hash → where it was.

A recipe may come from anybody, and loading a plugin runs it. So a recipe never says from where
code is loaded: it names a hash, and only code that the user has loaded before, by ``--plugin`` or
by a study file, is found by it. The list is ``$XDG_CACHE_HOME/bmerge/plugins.json``; if it is lost
or cannot be written, plugins have to be named once more.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from bmerge.errors import PluginError
from bmerge.formats.hashes import cache_folder
from bmerge.host.code import code_sha256

__all__ = ["known_place", "remember"]


def known_place(sha256: str) -> Path | None:
    """Return the file with just that code, if the user has loaded it and it is there still."""
    place = _load().get(sha256)
    if place is None:
        return None
    try:
        return Path(place) if code_sha256(Path(place)) == sha256 else None
    except PluginError:
        return None


def remember(file: Path) -> None:
    """Note that the user has loaded the code of ``file``."""
    digest, place = code_sha256(file), str(file.absolute())
    known = _load()
    if known.get(digest) == place:
        return
    kept = {key: value for key, value in known.items() if Path(value).exists()}
    path = _list()
    part = path.with_name(f"{path.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps({**kept, digest: place}, indent=0), encoding="utf-8")
        part.replace(path)


def _load() -> dict[str, str]:
    try:
        entries = json.loads(_list().read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    pairs = entries.items() if isinstance(entries, dict) else ()
    return {key: value for key, value in pairs if isinstance(value, str)}


def _list() -> Path:
    return cache_folder() / "plugins.json"
