"""Studies as JSON lines: one line for the study, one for each trial, whatever database they are in.

What is written is all that a run needs to go on, so an imported study goes on as if it had never
moved. Pictures stay where they are; a line names them by their paths within the study's folder.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmerge.errors import StudyError
from bmerge.study.database import FILE, close_database, open_database
from bmerge.study.expected import expected
from bmerge.study.home import url_of
from bmerge.study.lock import FolderLock
from bmerge.study.store import has_study, read_study

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial

__all__ = ["export_study", "import_study"]

FORMAT = 1
_OF_PLACE = ("folder", "id")  # attributes that say where a study is


def export_study(folder: Path) -> Iterator[str]:
    """Yield the lines of the study in a folder, whether or not a run is working on it.

    Raises:
        StudyError: if there is none.
    """
    from optuna.distributions import distribution_to_json

    name = read_study(folder).name
    storage = open_database(folder, url_of(folder), create=False)
    with contextlib.ExitStack() as opened, expected(f"the study in {folder}"):
        opened.callback(close_database, storage)
        study = storage.get_study_id_from_name(name)
        attributes = storage.get_study_user_attrs(study)
        kept = {key: value for key, value in attributes.items() if key not in _OF_PLACE}
        directions = [each.name for each in storage.get_study_directions(study)]
        head = {"format": FORMAT, "study": name, "directions": directions, "attributes": kept}
        yield json.dumps(head)
        rows = storage.get_all_trials(study, deepcopy=False)
        for row in sorted(rows, key=lambda each: each.number):
            spaces = {key: distribution_to_json(d) for key, d in row.distributions.items()}
            yield json.dumps(
                {
                    "trial": row.number,
                    "state": row.state.name,
                    "values": row.values,
                    "params": row.params,
                    "distributions": {key: json.loads(text) for key, text in spaces.items()},
                    "attributes": row.user_attrs,
                }
            )


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
    if has_study(folder):
        raise StudyError(f"{folder} holds a study already", hint="give another folder by --out")
    with expected(source):
        head, *rows = [json.loads(line) for line in lines if line.strip()]
        if head["format"] != FORMAT:
            raise ValueError(f"format is {head['format']!r}")
        rows = [_row(row, number) for number, row in enumerate(rows)]
    folder.mkdir(parents=True, exist_ok=True)
    lock = FolderLock(folder)
    try:
        storage = open_database(folder, None, create=True)
        try:
            with expected(source):
                _store(storage, head, rows, folder)
        finally:
            close_database(storage)
        read_study(folder)  # or complain
    except BaseException:
        (folder / FILE).unlink(missing_ok=True)
        raise
    finally:
        lock.close()
    return str(head["study"])


def _store(
    storage: RDBStorage, head: Mapping[str, Any], rows: Iterable[FrozenTrial], folder: Path
) -> None:
    from optuna.study import StudyDirection

    directions = [StudyDirection[name] for name in head["directions"]]
    study = storage.create_new_study(directions, head["study"])
    attributes = {**head["attributes"], "folder": str(folder.absolute())}
    for key, value in attributes.items():
        storage.set_study_user_attr(study, key, value)
    for row in rows:
        storage.create_new_trial(study, template_trial=row)


def _row(stored: Mapping[str, Any], number: int) -> FrozenTrial:
    """Return a trial as Optuna has it, which checks it against its distributions."""
    from optuna.distributions import json_to_distribution
    from optuna.trial import TrialState, create_trial

    if stored["trial"] != number:
        raise ValueError(f"trial {stored['trial']} where {number} was next")
    spaces = {k: json_to_distribution(json.dumps(d)) for k, d in stored["distributions"].items()}
    return create_trial(
        state=TrialState[stored["state"]],
        values=stored["values"],
        params=stored["params"],
        distributions=spaces,
        user_attrs=stored["attributes"],
    )
