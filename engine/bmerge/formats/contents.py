"""What a file, a folder or an index of shards holds, as one hash, whatever lies there."""

from __future__ import annotations

from pathlib import Path

from bmerge.errors import FormatError
from bmerge.formats.hashes import checkpoint_sha256, sha256_of
from bmerge.formats.open import open_checkpoint

__all__ = ["contents_sha256"]


def contents_sha256(path: Path) -> str | None:
    """Return the SHA-256 of a model's contents; None if what lies there cannot be read as one.

    Args:
        path: a file, whose bytes are hashed; or a folder or an index, whose files are.
    """
    try:
        is_set = path.is_dir() or path.suffix == ".json"
        return checkpoint_sha256(open_checkpoint(path)) if is_set else sha256_of(path)
    except FormatError:
        return None
