"""Finds out before a study starts whether a server sees where its checkpoints will be put.

A checkpoint of a hundred bytes goes the way that merges will go; the server has to list it. It is
taken away again, whatever happens.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bmerge import GeneratorError, temporary_folder
from bmerge_plugins.servers.publish import MappedPaths, Place, Published, SharedFolder, Upload

__all__ = ["marker"]


@contextmanager
def marker(place: Place) -> Iterator[Published | None]:
    """Put a tiny checkpoint where a server should see it, and take it away afterwards.

    Yields:
        The checkpoint; None where the way cannot be tried without leaving something behind, or
        is not known before the run's own files are there.

    Raises:
        GeneratorError: if the way is not open at this end.
    """
    if isinstance(place, MappedPaths):
        _check_folders(place)
    if isinstance(place, Upload):
        place.check()
    if not (isinstance(place, SharedFolder) or (isinstance(place, Upload) and place.remove)):
        yield None
        return
    with temporary_folder("marker") as folder:
        file = folder / "marker.safetensors"
        file.write_bytes(_tiny_checkpoint())
        published = place.publish(file)
        try:
            yield published
        finally:
            published.withdraw()


def _check_folders(place: MappedPaths) -> None:
    for here, _ in place.folders:
        if not Path(here).is_dir():
            message = f"remote_models: there is no folder {here!r} here"
            raise GeneratorError(message, blame="surroundings")


def _tiny_checkpoint() -> bytes:
    """Return a valid file of the safetensors format with one number."""
    header = {
        "__metadata__": {"bmerge": "asks whether the server sees this folder"},
        "marker": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + bytes(4)
