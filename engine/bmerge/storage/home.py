"""Which folder and which row of a shared database are one study.

A database may hold many studies, and a folder may be moved. So both carry the same id: a folder
continues with the row that has its id, wherever it lies, and two studies that only share a name
are never mixed. A study in its folder's own ``study.db`` needs none of this.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bmerge.errors import StudyError
from bmerge.evaluate.durable import write_durably
from bmerge.trials.folder import DATABASE, IDENTITY, STORAGE

__all__ = ["check_home", "enter_home", "is_home", "storage_of", "url_of"]


def url_of(folder: Path) -> str | None:
    """Return where the study of ``folder`` is stored, if not in the folder itself.

    Raises:
        StudyError: if the file that says so is empty, as earlier releases left it on a full disk.
    """
    url = _text_of(folder / STORAGE)
    if url == "":
        hint = "remove it, and run the study with its storage in the study file"
        raise StudyError(f"{folder / STORAGE} is empty", hint=hint)
    return url


def storage_of(folder: Path, wanted: str | None) -> str | None:
    """Return the URL of the shared database that a run on ``folder`` is to use, if any.

    Args:
        folder: of the study.
        wanted: the URL that the study file names.

    Raises:
        StudyError: if the folder holds a study of its own.
    """
    known = url_of(folder)
    if wanted is not None and known is None and (folder / DATABASE).exists():
        message = f"the study in {folder} is stored in its {DATABASE}, not in another storage"
        raise StudyError(message, hint="leave storage out, or give another folder by --out")
    return wanted or known


def is_home(attributes: Mapping[str, Any], folder: Path) -> bool:
    """Tell whether a row's study is that of ``folder``, which names its shared database."""
    known = attributes.get("id")
    if known is not None and (own := _id_of(folder)) is not None:
        return bool(own == known)
    return attributes.get("folder") == str(folder.absolute())


def check_home(folder: Path, name: str, attributes: Mapping[str, Any] | None) -> None:
    """Refuse a folder and a row of a shared database that are not one study.

    Args:
        folder: where the study is to continue.
        name: of the study.
        attributes: of the row with that name; None if there is none.

    Raises:
        StudyError: if the folder is another study's, the row is another folder's, or both have
            been copied.
    """
    own = _id_of(folder)
    if own is not None and (attributes is None or attributes.get("id") != own):
        message = f"{folder} is the folder of a study other than {name!r} in this storage"
        raise StudyError(message, hint="give its own storage, or another folder by --out")
    home = (attributes or {}).get("folder")
    if home is None or home == str(folder.absolute()):
        return
    if own is None:
        message = f"the study {name!r} in this storage belongs to the folder {home}"
        hint = "give that folder by --out, wherever it is now, or the study another name"
        if "id" not in (attributes or {}):  # by an earlier release: nothing else can tell
            hint = "run it there once, and it may be moved; or give the study another name"
        raise StudyError(message, hint=hint)
    if _id_of(Path(home)) == own and not Path(home).samefile(folder):
        message = f"the study {name!r} in this storage is still in {home}, of which this is a copy"
        raise StudyError(message, hint="give that folder by --out, or the study another name")


def enter_home(
    folder: Path,
    url: str,
    attributes: Mapping[str, Any],
    describe: Callable[[Mapping[str, Any]], None],
) -> None:
    """Let a folder and its row say that they belong together.

    The folder goes last: if this is cut short, the row knows the folder by its path.

    Args:
        folder: that :func:`check_home` found right.
        url: of the database.
        attributes: of the row.
        describe: adds attributes to the row.

    Raises:
        StudyError: if the folder cannot be written; what it says is as it was.
    """
    identity = attributes.get("id") or os.urandom(16).hex()
    now = {"folder": str(folder.absolute()), "id": identity}
    describe({key: value for key, value in now.items() if attributes.get(key) != value})
    for file, text in ((STORAGE, url), (IDENTITY, identity)):
        if _text_of(folder / file) != text:
            write_durably(folder / file, text.encode())


def _id_of(folder: Path) -> str | None:
    try:
        return (_text_of(folder / IDENTITY) or "").strip() or None
    except OSError:
        return None


def _text_of(path: Path) -> str | None:
    """Return what a file says; None where there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
