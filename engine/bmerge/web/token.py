"""The secret in the page's address: whoever has it may rate."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from bmerge.errors import StudyError

__all__ = ["study_token"]

_FILE = "rate.token"
_FEWEST = 22  # characters of a token that was not tampered with: 128 bits


def study_token(folder: Path) -> str:
    """Return the study's token, made at the first call; only its owner can read the file.

    It stays the same, so that a page that is open somewhere continues after a restart.

    Raises:
        StudyError: if it can neither be read nor written.
    """
    path = folder / _FILE
    try:
        if path.exists():
            token = path.read_text(encoding="ascii").strip()
            if len(token) >= _FEWEST:
                return token
            path.unlink()
        token = secrets.token_urlsafe(24)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="ascii") as file:  # noqa: PTH123  of a descriptor
            file.write(token)
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{path} cannot be used: {error}") from error
    return token
