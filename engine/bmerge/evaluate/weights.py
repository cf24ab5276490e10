"""Weights that scorers need: where they come from, where they belong, which folder that is.

Nothing is downloaded unasked: the files are large, and some come under conditions that a person
has to agree to. ``bmerge scorers fetch`` fetches them; :mod:`bmerge.evaluate.fetch` does it.
"""

from __future__ import annotations

import os
from pathlib import Path

from bmerge.formats.hashes import cache_folder
from bmerge.records import dataclass

__all__ = ["FOLDER_VARIABLE", "Download", "scorer_folder"]

FOLDER_VARIABLE = "BMERGE_SCORER_MODELS"
"""The environment variable with the folder of the weights."""

_HUB = "https://huggingface.co"


@dataclass(frozen=True, slots=True)
class Download:
    """A file that a scorer needs, on the Hugging Face hub.

    Args:
        repository: ``owner/name``.
        file: its path in there.
        licence: that its owner states.
        sha256: of its content, where it is known.
        optional: whether it is fetched only when it is named.
    """

    repository: str
    file: str
    licence: str = "see its page"
    sha256: str | None = None
    optional: bool = False

    @property
    def place(self) -> Path:
        """Where it belongs within the folder of the scorers' weights."""
        return Path(self.repository.split("/")[-1], self.file)

    @property
    def url(self) -> str:
        """Where it is; the environment variable ``HF_ENDPOINT`` names a mirror of the hub."""
        hub = os.environ.get("HF_ENDPOINT", _HUB).rstrip("/")
        return f"{hub}/{self.repository}/resolve/main/{self.file}"


def scorer_folder(option: str | Path | None = None) -> Path:
    """Return the folder of the scorers' weights.

    Args:
        option: as the study file or the command line has it; goes before the environment
            variable, which goes before ``bmerge/scorers`` in the user's cache.
    """
    named = option or os.environ.get(FOLDER_VARIABLE)
    if named:
        return Path(named).expanduser().absolute()
    return cache_folder() / "scorers"
