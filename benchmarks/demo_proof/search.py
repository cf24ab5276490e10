"""The searches of the proof: the demo's study, run by the real loop, once for each optimiser."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bmerge import load_registry
from bmerge.executors import choose_executor
from bmerge.host.studies import build_study
from bmerge.study.config import StudyConfig
from bmerge.study.events import Event, TrialFinished
from bmerge.study.loop import run_study
from bmerge.study.study import PreparedStudy
from bmerge.study.trial import Trial

__all__ = ["best_trial", "open_study"]


def open_study(
    config: StudyConfig, folder: Path, optimiser: str, options: Mapping[str, Any]
) -> PreparedStudy:
    """Return the demo's study with another optimiser; space, budget and seeds are the demo's."""
    entry = replace(config.optimiser, name=optimiser, options=options)
    return build_study(
        replace(config, optimiser=entry),
        load_registry(),
        folder=folder,
        choose=lambda plan: choose_executor(plan).executor,
    )


def best_trial(study: PreparedStudy) -> Trial:
    """Run a study, or what is left of it, and return its best trial."""

    def show(event: Event) -> None:
        if isinstance(event, TrialFinished):
            trial, best = event.trial, event.best
            score, top = (one.score if one else None for one in (trial, best))
            print(f"  trial {trial.number} of {study.trials}: {score}, best {top}", file=sys.stderr)

    finished = run_study(study, on_event=show)
    if finished.best is None:
        sys.exit(f"no trial of {study.folder} succeeded")
    return finished.best
