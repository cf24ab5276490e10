"""Studies as JSON lines: one line for the study, one for each trial, whatever database they are in.

What is written is all that a run needs to continue, so an imported study continues as if it had
never moved. Pictures stay where they are; a line names them by their paths within the study's
folder.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from bmerge.errors import StudyError
from bmerge.space.expected import expected, mapping, number, numbers
from bmerge.space.protocols import Parameter
from bmerge.storage.addresses import open_storage
from bmerge.storage.definition import StudyDefinition
from bmerge.storage.lock import FolderLock
from bmerge.storage.protocol import Storage, StoredTrial
from bmerge.storage.rows import trial_of
from bmerge.storage.stored import has_study, opened_study, read_study
from bmerge.system import sync_folder
from bmerge.temporaries import temporary_folder
from bmerge.trials.folder import DATABASE
from bmerge.trials.trial import TrialState

__all__ = ["export_study", "import_study"]

FORMAT = 2
_OF_PLACE = ("folder", "id")  # attributes that say where a study is


def export_study(folder: Path) -> Iterator[str]:
    """Yield the lines of the study in a folder, whether or not a run is working on it.

    Raises:
        StudyError: if there is none.
    """
    with opened_study(folder) as (storage, name, attributes):
        rows = storage.trials(name)
        for row in rows:
            trial_of(row)  # or complain
    kept = {key: value for key, value in attributes.items() if key not in _OF_PLACE}
    yield json.dumps({"format": FORMAT, "study": name, "attributes": kept})
    described = functools.cache(asdict)
    for row in rows:
        line = {
            "state": row.state,
            "values": row.values,
            "parameters": {key: described(p) for key, p in row.parameters.items()},
            "attributes": row.attributes,
            "scores": row.scores,
            "trial": row.number,
        }
        yield json.dumps(line)


def import_study(lines: Iterable[str], folder: Path, *, source: str) -> str:
    """Store the study that :func:`export_study` gave in a folder, and return its name.

    Args:
        lines: of the study.
        folder: that holds no study yet; made if it is not there.
        source: where the lines are from, for messages.

    Raises:
        StudyError: if the folder holds a study, or the lines are not what bmerge writes; then
            nothing is left in the folder.
    """
    _refuse_taken(folder)
    with expected(source):
        head, *rows = [json.loads(line) for line in lines if line.strip()]
        if head["format"] != FORMAT:
            raise ValueError(f"format is {head['format']!r}")
        rows = [_row(row, number) for number, row in enumerate(rows)]
    folder.mkdir(parents=True, exist_ok=True)
    with FolderLock(folder), temporary_folder("import", folder) as made:
        _refuse_taken(folder)  # by another import, while this one read its lines
        with closing(open_storage(made, None, create=True)) as storage, expected(source):
            _store(storage, head, rows, folder)
        read_study(made)  # or complain
        (made / DATABASE).rename(folder / DATABASE)
        sync_folder(folder)
    return str(head["study"])


def _refuse_taken(folder: Path) -> None:
    if has_study(folder):
        raise StudyError(f"{folder} holds a study already", hint="give another folder by --out")


def _store(
    storage: Storage, head: Mapping[str, Any], rows: Sequence[StoredTrial], folder: Path
) -> None:
    attributes = {**head["attributes"], "folder": str(folder.absolute())}
    definition = StudyDefinition.from_json(attributes["definition"])
    storage.create(head["study"], len(definition.objectives.sums))
    storage.describe(head["study"], attributes)
    storage.add(head["study"], rows)


def _row(stored: Mapping[str, Any], place: int) -> StoredTrial:
    """Return a trial of a line; what is wrong with it beyond that, reading it tells."""
    if stored["trial"] != place:
        raise ValueError(f"trial {stored['trial']} where {place} was next")
    if stored["state"] not in get_args(TrialState):
        raise ValueError(f"state is {stored['state']!r}")
    parameters = mapping(stored["parameters"], "parameters")
    return StoredTrial(
        number=place,
        state=stored["state"],
        values=numbers(stored["values"], "values"),
        parameters={name: _parameter(each) for name, each in parameters.items()},
        attributes=mapping(stored["attributes"], "attributes"),
        scores=tuple(number(score, "score") for score in stored["scores"]),
    )


def _parameter(stored: Mapping[str, Any]) -> Parameter:
    return Parameter(**{**stored, "choices": tuple(stored["choices"])})
