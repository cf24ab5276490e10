"""The files that a work reads, which must stay what they are until it is done.

A file that is written again in place, as training tools and copies do, has the same size more often
than not: nothing else would tell, and the result would be of no model at all. Where what a file was
is known by its hash, one that was only touched counts as the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from bmerge.errors import RecipeError
from bmerge.formats.checkpoint import Checkpoint
from bmerge.formats.hashes import checkpoint_sha256

__all__ = ["Unchanged"]

State: TypeAlias = "tuple[int, int] | None"


class Unchanged:
    """What files are when this is made.

    Args:
        inputs: models and LoRAs, each with its SHA-256 where that is known.
    """

    def __init__(self, inputs: Iterable[tuple[Checkpoint, str | None]]) -> None:
        self._inputs = list(inputs)
        self._states = [_states(checkpoint) for checkpoint, _ in self._inputs]

    @classmethod
    def of(cls, inputs: Iterable[Checkpoint]) -> Unchanged:
        """Return what models and LoRAs are whose hashes are not known."""
        return cls((checkpoint, None) for checkpoint in inputs)

    def check(self) -> None:
        """Complain of a file that has changed since.

        Raises:
            RecipeError: if there is one.
            FormatError: if one whose hash is known cannot be read.
        """
        for place, (checkpoint, digest) in enumerate(self._inputs):
            now = _states(checkpoint)
            before = self._states[place]
            changed = [file for file in now if now[file] not in (None, before[file])]
            if not changed:
                continue
            if digest is None or checkpoint_sha256(checkpoint) != digest:
                message = "it was changed while it was in use"
                hint = "wait until nothing writes to it, and run the same command again"
                raise RecipeError(message, path=changed[0], hint=hint)
            self._states[place] = now


def _states(checkpoint: Checkpoint) -> dict[Path, State]:
    return {file: _state(file) for file in checkpoint.files}


def _state(file: Path) -> State:
    """Return size and time of the last change; None of a file that is gone, which is read still."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
