"""Pictures by their ids. A request names an id, never a path; paths come from the study."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from bmerge.evaluate.pictures import picture_file
from bmerge.rating import Ratings
from bmerge.records import dataclass

__all__ = ["Newest", "PageGallery"]

_NEWEST = 12
_SHOWN = 50_000  # addresses that pages which are open may still ask for


@dataclass(frozen=True, slots=True)
class Newest:
    """One of the newest pictures.

    Args:
        id: by which it can be asked for.
        trial: its number.
        payload: id of what it was made for.
    """

    id: str
    trial: int
    payload: str


class PageGallery:
    """Finds a study's pictures.

    Args:
        folder: of the study.
    """

    def __init__(self, folder: Path) -> None:
        self._pictures = folder / "pictures"
        self._folder = folder
        self._ratings = Ratings(folder)
        self._newest: dict[str, Path] = {}
        self._shown: dict[str, Path] = {}

    def newest(self) -> Sequence[Newest]:
        """Return the newest pictures, the last one first, of trials in flight too."""
        files = [
            (file.stat().st_mtime_ns, file)
            for trial in sorted(self._trials(), key=lambda path: int(path.name))[-2:]
            for file in trial.glob("*.png")
            if file.is_file()
        ]
        files = sorted(files, reverse=True)[:_NEWEST]
        found = {_id(file, at): file for at, file in files}
        self._newest = {**dict(list(self._newest.items())[-_NEWEST:]), **found}
        return [Newest(id_, int(file.parent.name), file.stem) for id_, file in found.items()]

    def shows(self) -> Callable[[Path], str]:
        """Return what gives finished trials' pictures addresses; the last ones given stay too."""
        self._shown = dict(list(self._shown.items())[-_SHOWN:])

        def show(file: Path) -> str:
            try:
                id_ = _id(file, file.stat().st_mtime_ns)
            except OSError:  # removed meanwhile
                return ""
            self._shown[id_] = file
            return f"/pictures/{id_}"

        return show

    def find(self, picture: str) -> Path | None:
        """Return the file of a picture that was shown or is to be rated, or None."""
        if (own := self._newest.get(picture) or self._shown.get(picture)) is not None:
            return picture_file(self._folder, str(own.relative_to(self._folder)))
        if self._ratings.exist and (file := self._ratings.file(picture)):
            return picture_file(self._folder, file)
        return None

    def _trials(self) -> list[Path]:
        if not self._pictures.is_dir():
            return []
        return [path for path in self._pictures.iterdir() if path.name.isdecimal()]


def _id(file: Path, at: int) -> str:
    """Return by what a picture is asked for: another one when the file is another."""
    return hashlib.sha256(f"{at} {file}".encode()).hexdigest()[:16]
