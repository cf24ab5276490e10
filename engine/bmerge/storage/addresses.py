"""Which storage an address means: one of a plugin, or Optuna's."""

from __future__ import annotations

from pathlib import Path

from bmerge.storage import storages
from bmerge.storage.protocol import Storage

__all__ = ["open_storage"]


def open_storage(folder: Path, url: str | None, *, create: bool) -> Storage:
    """Open the storage of a study's folder.

    Args:
        folder: of the study.
        url: of its storage; None for a file in the folder.
        create: whether it is to be written, and made if it is not there.

    Raises:
        StudyError: if it cannot be used, or another run is writing it and it takes one only.
    """
    scheme = (url or "").partition(":")[0]
    kind = next((each for each in storages.offered() if url and scheme in each.schemes), None)
    if kind is not None and url is not None:
        return kind.open(url, create=create)
    from bmerge.storage.optuna_storage import OptunaStorage  # its imports take a second

    return OptunaStorage(folder, url, create=create)
