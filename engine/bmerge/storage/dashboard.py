"""A study's pictures as optuna-dashboard shows them: artifacts of its trials.

The dashboard finds an artifact's file by a name of hexadecimal digits in one folder, and what it is
in the study's system attributes. So each picture gets a second name, in ``artifacts/`` of the
study's folder; nothing is copied where the file system has links.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from bmerge.errors import StudyError
from bmerge.evaluate.durable import copy_durably
from bmerge.evaluate.pictures import picture_file
from bmerge.records import dataclass
from bmerge.storage.database import close_database, open_database
from bmerge.storage.home import url_of
from bmerge.storage.lock import FolderLock, lock_of_database
from bmerge.storage.server import without_password
from bmerge.storage.storages import offered
from bmerge.storage.stored import StoredStudy, read_study
from bmerge.trials.folder import DATABASE

__all__ = ["Artifacts", "publish_pictures"]

_FOLDER = "artifacts"


@dataclass(frozen=True, slots=True)
class Artifacts:
    """Where the dashboard finds a study.

    Args:
        url: of its database, without a password.
        folder: of its pictures.
        count: how many pictures there are.
    """

    url: str
    folder: Path
    count: int


def publish_pictures(folder: Path) -> Artifacts:
    """Let optuna-dashboard show the pictures of the study in a folder.

    Pictures that it shows already are left as they are.

    Raises:
        StudyError: if there is no study, a run is working on it, or its storage is not Optuna's.
    """
    url = url_of(folder)
    if url is not None and any(url.partition(":")[0] in kind.schemes for kind in offered()):
        message = f"the study in {folder} is in a storage that optuna-dashboard cannot read"
        hint = "export it and import it elsewhere: bmerge studies export"
        raise StudyError(message, hint=hint)
    study = read_study(folder)
    with contextlib.ExitStack() as opened:
        opened.enter_context(FolderLock(folder))
        if (held := lock_of_database(url)) is not None:
            opened.enter_context(held)
        storage = open_database(folder, url, create=True)
        opened.callback(close_database, storage)
        row = storage.get_study_id_from_name(study.name)
        ids = {trial.number: trial._trial_id for trial in storage.get_all_trials(row)}  # noqa: SLF001  it has no other way
        known = storage.get_study_system_attrs(row)
        count = 0
        for number, file in _pictures(study):
            name = hashlib.sha256(f"{number}/{file.name}".encode()).hexdigest()[:32]
            if not (folder / _FOLDER / name).exists():
                copy_durably([(file, folder / _FOLDER / name)])
            key = f"dashboard:artifacts:{ids[number]}:{name}"
            meta = {"artifact_id": name, "mimetype": "image/png", "filename": file.name}
            if key not in known:
                storage.set_study_system_attr(row, key, json.dumps(meta))
            count += 1
    return Artifacts(
        f"sqlite:///{(folder / DATABASE).absolute()}" if url is None else without_password(url),
        (folder / _FOLDER).absolute(),
        count,
    )


def _pictures(study: StoredStudy) -> Iterator[tuple[int, Path]]:
    """Yield number of the trial and file of each picture that is there."""
    for trial in study.trials.values():
        for record in trial.pictures:
            if (file := picture_file(study.folder, record["file"])) is not None:
                yield trial.number, file
