"""The study of a file, built for ``bmerge run`` and ``bmerge prove``."""

from __future__ import annotations

from pathlib import Path

from bmerge.cli.output import note, tell
from bmerge.cli.session import Session
from bmerge.executors import Executor, ExecutorOptions, choose_executor
from bmerge.host import Registry
from bmerge.host.far import with_far_evaluators
from bmerge.host.studies import build_study, take_up
from bmerge.plan import Plan
from bmerge.study.config import StudyConfig
from bmerge.study.study import PreparedStudy

__all__ = ["open_study"]


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
    return with_far_evaluators(study, config, registry, where), registry
