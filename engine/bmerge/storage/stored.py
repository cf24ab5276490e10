"""A stored study as anybody may read it, while a run is working on it or afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from bmerge.errors import StudyError
from bmerge.records import dataclass
from bmerge.space.expected import expected
from bmerge.storage.addresses import open_storage
from bmerge.storage.definition import StudyDefinition
from bmerge.storage.home import is_home, url_of
from bmerge.storage.protocol import Storage
from bmerge.storage.rows import trial_of
from bmerge.trials.folder import DATABASE
from bmerge.trials.objective import Objectives
from bmerge.trials.revision import REVISIONS, read_revisions, revised
from bmerge.trials.trial import Trial

__all__ = ["StoredStudy", "has_study", "load_trials", "opened_study", "read_study"]


@dataclass(frozen=True, slots=True)
class StoredStudy:
    """A stored study as it is now, read without disturbing a run.

    Args:
        folder: of the study.
        name: of the study.
        definition: all that its results depend on.
        attributes: what else was stored with the study, such as ``budget``.
        objectives: what it maximises.
        trials: number → trial, as it is judged now.
    """

    folder: Path
    name: str
    definition: StudyDefinition
    attributes: Mapping[str, Any]
    objectives: Objectives
    trials: Mapping[int, Trial]

    def trial(self, number: int) -> Trial:
        """Return a trial by its number.

        Raises:
            StudyError: if there is none.
        """
        if number not in self.trials:
            hint = f"`bmerge studies show {self.folder}` lists them"
            raise StudyError(f"the study has no trial {number}", hint=hint)
        return self.trials[number]


def has_study(folder: Path) -> bool:
    """Tell whether a run has ever begun in ``folder``."""
    return (folder / DATABASE).is_file() or url_of(folder) is not None


def read_study(folder: str | Path) -> StoredStudy:
    """Read the study in ``folder``, whether or not a run is working on it.

    Raises:
        StudyError: if there is none.
    """
    folder = Path(folder)
    with opened_study(folder) as (storage, name, attributes):
        definition = StudyDefinition.from_json(attributes["definition"])
        objectives = definition.objectives
        revisions = read_revisions(attributes.get(REVISIONS, {}))
        trials = revised(load_trials(storage, name, objectives), revisions, objectives)
        return StoredStudy(folder, name, definition, attributes, objectives, trials)


@contextmanager
def opened_study(folder: Path) -> Iterator[tuple[Storage, str, dict[str, Any]]]:
    """Open the storage of the study in ``folder`` for reading; give its name and attributes, too.

    Raises:
        StudyError: if there is none, or what is read of it is not what bmerge stores.
    """
    url = url_of(folder)
    if not has_study(folder):
        raise StudyError(f"no study in {folder}", hint="give the folder that `bmerge run` made")
    with (
        closing(open_storage(folder, url, create=False)) as storage,
        expected(f"the study in {folder}"),
    ):
        for name in storage.studies():
            attributes = storage.attributes(name)
            if "folder" in attributes and (url is None or is_home(attributes, folder)):
                yield storage, name, attributes
                return
        begun = any(map(storage.trials, storage.studies()))
    if not begun and url is None:
        message = f"no study in {folder} yet: its run ended while it made {DATABASE}"
        raise StudyError(message, hint="the same `bmerge run` begins it")
    raise StudyError(f"no study of bmerge in {folder}")


def load_trials(storage: Storage, study: str, objectives: Objectives) -> dict[int, Trial]:
    """Read all trials of a study, by number, with their scores as they are judged now."""
    trials = {row.number: trial_of(row) for row in storage.trials(study)}
    return objectives.scored(trials) if objectives.refer else trials
