"""Where the scorers' weights are, and what is said when they are not there.

Nothing is ever downloaded: the files are large, and some come under conditions that a person has
to agree to. A missing one is an error with the command that fetches it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from bmerge import ScorerError

__all__ = ["FOLDER_VARIABLE", "Download", "find_file", "find_folder", "folder"]

FOLDER_VARIABLE = "BMERGE_SCORER_MODELS"
"""The environment variable with the folder of the weights."""


@dataclass(frozen=True, slots=True)
class Download:
    """A file on the Hugging Face hub.

    Args:
        repository: ``owner/name``.
        file: its path in there.
    """

    repository: str
    file: str

    @property
    def place(self) -> Path:
        """Where it belongs within the folder of the scorers' weights."""
        return Path(self.repository.split("/")[-1], self.file)

    def command(self, root: Path) -> str:
        """Return the command that fetches it to its place below ``root``."""
        return f'hf download {self.repository} {self.file} --local-dir "{root / self.place.parent}"'


def folder(option: str | None) -> Path:
    """Return the folder of the scorers' weights.

    Args:
        option: as the study file has it; goes before the environment variable, which goes before
            ``bmerge/scorers`` in the user's cache.
    """
    named = option or os.environ.get(FOLDER_VARIABLE)
    if named:
        return Path(named).expanduser().absolute()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "bmerge" / "scorers"


def find_file(
    scorer: str, *, weights: str | None, scorer_model_dir: str | None, download: Download | None
) -> Path:
    """Return the file with a scorer's weights.

    Args:
        scorer: its name, for messages.
        weights: a path, absolute or within the folder; None for the usual file.
        scorer_model_dir: the folder, or None for the usual one.
        download: the usual file; None if there is none.

    Raises:
        ScorerError: if it is not there; says which file, from where, into which folder.
    """
    root = folder(scorer_model_dir)
    if weights is not None:
        path = root / Path(weights).expanduser()
        if path.is_file():
            return path
        hint = f"weights is a path, absolute or within {root} (scorer_model_dir)"
        raise ScorerError(f"{scorer}: there is no file {path}", hint=hint)
    if download is None:
        hint = f"set weights to a path, absolute or within {root} (scorer_model_dir)"
        raise ScorerError(f"{scorer}: no weights are given for the model", hint=hint)
    path = root / download.place
    if path.is_file():
        return path
    raise ScorerError(
        f"{scorer} needs the file {path}, which is not there",
        hint=f"{download.command(root)}  (or set scorer_model_dir or {FOLDER_VARIABLE})",
    )


def find_folder(scorer: str, name: str, *, scorer_model_dir: str | None) -> Path:
    """Return a folder with a whole model.

    Args:
        scorer: its name, for messages.
        name: a path, absolute or within the folder of the scorers' weights.
        scorer_model_dir: that folder, or None for the usual one.

    Raises:
        ScorerError: if it is not there.
    """
    root = folder(scorer_model_dir)
    path = root / Path(name).expanduser()
    if path.is_dir():
        return path
    raise ScorerError(
        f"{scorer}: there is no folder {path}",
        hint=f'hf download OWNER/NAME --local-dir "{root}/NAME"  (or set scorer_model_dir)',
    )
