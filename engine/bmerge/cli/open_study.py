"""The study of a file, built for ``bmerge run``, ``prove``, ``scan`` and ``studies``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from bmerge.cli.output import note, tell
from bmerge.cli.session import Session
from bmerge.errors import StudyError
from bmerge.executors import Executor, ExecutorOptions, choose_executor
from bmerge.host import Registry
from bmerge.host.remote import with_remote_evaluators
from bmerge.host.studies import build_study, take_up
from bmerge.plan import Plan
from bmerge.storage.lock import FolderLock
from bmerge.storage.stored import StoredStudy, read_study
from bmerge.storage.unchanged import check_definition
from bmerge.study.study import PreparedStudy
from bmerge.study_file.config import StudyConfig
from bmerge.study_file.load import load_study

__all__ = ["open_again", "open_study", "rebuilt", "study_option"]

study_option = click.option(
    "--study",
    "file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The study file; default: the one that the study was last run with.",
)


def open_study(
    session: Session, config: StudyConfig, file: Path, folder: Path, where: ExecutorOptions
) -> tuple[PreparedStudy, Registry]:
    """Build a study, tell what is to be told of its plan, and return it with its plugins.

    Args:
        session: of the command.
        config: what the file says.
        file: that it was read from.
        folder: of the study.
        where: options of the command line, which go before those of the file.
    """
    registry = session.registry()
    registry.add(config.plugins, file.parent)
    for warning in take_up(registry, folder):
        note(f"warning: {warning}")

    def choose(plan: Plan) -> Executor:
        choice = choose_executor(plan, options=where.or_else(config.executor.options))
        tell(plan.notes, plan.warnings)
        note(choice.reason)
        return choice.executor

    study = build_study(config, registry, folder=folder, choose=choose)
    return with_remote_evaluators(study, config, registry, where), registry


@contextmanager
def open_again(
    session: Session, folder: Path, file: Path | None, where: ExecutorOptions
) -> Iterator[tuple[StoredStudy, PreparedStudy, Registry]]:
    """Do as :func:`rebuilt`, and lock the study's folder meanwhile."""
    with rebuilt(session, folder, file, where) as found, FolderLock(folder):
        yield found


@contextmanager
def rebuilt(
    session: Session, folder: Path, file: Path | None, where: ExecutorOptions
) -> Iterator[tuple[StoredStudy, PreparedStudy, Registry]]:
    """Have a study that was run already built again, with what is stored of it.

    The study is closed at the end.

    Args:
        session: of the command.
        folder: of the study.
        file: that says what it is; None takes the one that it was last run with.
        where: options of the command line, which go before those of the file.
    """
    stored = read_study(folder)
    file = file or _file_of(stored)
    study, registry = open_study(session, load_study(file), file, folder, where)
    try:
        check_definition(stored.definition, study.definition, folder)
        yield stored, study, registry
    finally:
        study.close()


def _file_of(stored: StoredStudy) -> Path:
    """Return the file that a study was last run with, or say that it must be given."""
    known = stored.attributes.get("file")
    if known is None or not Path(known).is_file():
        gone = "which file it was run with is not recorded" if known is None else f"{known} is gone"
        message = f"the study in {stored.folder} needs its file: {gone}"
        raise StudyError(message, hint="give it by --study")
    return Path(known)
