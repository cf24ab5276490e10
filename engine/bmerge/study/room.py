"""Room on disks: what a trial and a whole study need, and whether it is there."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from bmerge.errors import StudyError
from bmerge.evaluate.protocols import TakesFiles
from bmerge.records import dataclass
from bmerge.study.study import PreparedStudy
from bmerge.trials.trial import Trial

__all__ = ["Need", "check_room", "free_bytes", "needs_of", "takes_files"]

_BYTES_PER_PIXEL = 1.5  # of painted pictures as PNG


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes that have to be free in a folder, which need not be there yet.

    Args:
        folder: where.
        nbytes: how many.
        what: takes them.
    """

    folder: Path
    nbytes: int
    what: str


def needs_of(
    study: PreparedStudy, trials: Mapping[int, Trial], *, count: int = 1, keep_best: bool = True
) -> list[Need]:
    """Return what trials need: a merged file if the generator takes one, pictures, the best.

    Args:
        study: whose trials.
        trials: of it so far; their pictures are measured. Before the first trial they are
            estimated, and those of which the study does not give the size do not count.
        count: of the trials to come.
        keep_best: whether the best merge is written at the end.
    """
    merged = study.merger.size(study.search.weights(study.search.centre()))
    needs = [Need(study.folder, count * _pictures(study, trials), "pictures")]
    if takes_files(study.evaluator.generator):
        needs.append(Need(study.merger.scratch, merged, "a merged file"))
    if keep_best:
        needs.append(Need(study.folder, merged, "the best merge"))
    return needs


def takes_files(generator: object) -> bool:
    """Tell whether a generator says that it asks each merge for its file."""
    return isinstance(generator, TakesFiles) and bool(generator.takes_files)


def check_room(needs: Iterable[Need]) -> None:
    """Complain of the first disk that has less room than it needs.

    Raises:
        StudyError: says which folder, what for, and how much is free.
    """
    disks: defaultdict[int, list[Need]] = defaultdict(list)
    for need in needs:
        disks[_existing(need.folder).stat().st_dev].append(need)
    for together in disks.values():
        wanted = sum(need.nbytes for need in together)
        folder = together[0].folder
        if (free := free_bytes(folder)) < wanted:
            what = ", ".join(f"{need.what} {_size(need.nbytes)}" for need in together)
            message = f"too little room on the disk of {folder}: {_size(free)} are free"
            raise StudyError(
                f"{message}, {_size(wanted)} are needed ({what})",
                blame="surroundings",
                hint="make room, or choose other folders: --out, scratch of the executor",
            )


def free_bytes(folder: Path) -> int:
    """Return how much room there is for a folder that need not be there yet."""
    return shutil.disk_usage(_existing(folder)).free


def _pictures(study: PreparedStudy, trials: Mapping[int, Trial]) -> int:
    """Return the bytes of one trial's pictures: the most so far, or an estimate."""
    stored: list[int] = [
        sum((study.folder / picture["file"]).stat().st_size for picture in trial.pictures)
        for trial in trials.values()
        if trial.state == "complete"
        and all((study.folder / picture["file"]).is_file() for picture in trial.pictures)
    ]
    if stored:
        return max(stored)
    sizes = ((payload.width or 0, payload.height or 0) for payload in study.evaluator.payloads)
    return round(sum(width * height * _BYTES_PER_PIXEL for width, height in sizes))


def _existing(folder: Path) -> Path:
    """Return a folder, or the nearest one above it that is there."""
    folder = folder.absolute()
    return next((each for each in (folder, *folder.parents) if each.is_dir()), Path(folder.anchor))


def _size(nbytes: int) -> str:
    return f"{nbytes / 1e9:.1f} GB" if nbytes >= 1e8 else f"{nbytes / 1e6:.1f} MB"
