"""``bmerge run``: a study from its file to the best checkpoint and the report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import click

from bmerge.cli.executor import executor_options
from bmerge.cli.numbers import FiniteRange
from bmerge.cli.open_study import open_study
from bmerge.cli.output import show
from bmerge.cli.progress import LiveLine
from bmerge.cli.prove import print_proof
from bmerge.cli.run_check import check_study
from bmerge.cli.session import Session, shared_options
from bmerge.cli.study_progress import StudyProgress, leader_text
from bmerge.errors import StudyError, counted
from bmerge.executors import ExecutorOptions
from bmerge.host import Registry
from bmerge.report import write_report
from bmerge.study.events import Event, StudyFinished, TrialFinished
from bmerge.study.loop import run_study
from bmerge.study_file.load import load_study
from bmerge.trials.figures import figure
from bmerge.trials.limits import UNLIMITED, Limits

__all__ = ["command"]


@click.command("run")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--trials",
    type=click.IntRange(1),
    metavar="N",
    help="How many trials the study has in all.",
)
@click.option(
    "--pictures",
    type=click.IntRange(1),
    metavar="N",
    help="How many pictures its trials take in all.",
)
@click.option(
    "--minutes",
    type=FiniteRange(0),
    metavar="MIN",
    help="How long its trials take in all.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The study's folder; default: what the file says, or runs/NAME.",
)
@click.option(
    "--accept-changes",
    is_flag=True,
    help="Continue with changed files, weights or plugins that results depend on.",
)
@click.option("--retry-failed", is_flag=True, help="Evaluate failed trials again, first of all.")
@click.option(
    "--check",
    is_flag=True,
    help="Only check everything, paint a picture, and estimate time and disk space.",
)
@click.option(
    "--patience",
    type=FiniteRange(0),
    metavar="MIN",
    help="Minutes to wait for a server, a disk, …; default: 30.",
)
@executor_options
@shared_options
@click.pass_obj
def command(
    session: Session,
    *,
    file: Path,
    trials: int | None,
    pictures: int | None,
    minutes: float | None,
    out: Path | None,
    accept_changes: bool,
    retry_failed: bool,
    check: bool,
    patience: float | None,
    where: ExecutorOptions,
) -> None:
    """Optimise a merge: the study that FILE describes.

    Everything is checked first: the file, the plugins, the models. Then each trial proposes
    block weights, merges, generates and scores. The same command continues where it was,
    after Ctrl-C or anything worse; with more --trials, --pictures or --minutes, which replace what
    the file says of them, a finished study continues too. A server that is down or a disk that is
    full costs no trial: the run waits, and says for what.

    \b
    Examples:
      bmerge run examples/demo.yaml
      bmerge run study.yaml --check
      bmerge run study.yaml --trials 100 --out runs/night
    """
    if check and retry_failed:
        raise click.UsageError("--retry-failed evaluates trials; --check evaluates none")
    config = load_study(file)
    if patience is not None:
        config = replace(config, patience=patience)
    folder = out or config.out
    study, registry = open_study(session, config, file, folder, where)
    given = Limits(trials, pictures, minutes)
    limits = None if given == UNLIMITED else given
    if check:
        check_study(study, limits or study.bounds, accept_changes=accept_changes)
    else:
        go = partial(
            run_study, study, limits=limits,
            accept_changes=accept_changes, retry_failed=retry_failed,
        )  # fmt: skip
        finished = _run(go, registry)
        _print_end(finished, write_report(study.folder), folder)


def _run(go: Callable[..., StudyFinished], registry: Registry) -> StudyFinished:
    """Run a study, show how it goes, and tell the plugins of every trial."""
    with LiveLine() as line:
        progress = StudyProgress(line)

        def on_event(event: Event) -> None:
            progress.on_event(event)
            if isinstance(event, TrialFinished):
                registry.observe("bmerge_trial_finished", trial=event.trial)

        return go(on_event=on_event)


def _print_end(finished: StudyFinished, report: Path, folder: Path) -> None:
    """Print what came of a study, with the names of files as ``folder`` was named."""
    best = finished.best

    def named(file: Path) -> Path:
        return folder / file.relative_to(report.parent)

    if best is not None:
        show(f"best        trial {best.number}, score {figure(best.score or 0.0)}")
        if finished.leader is not None and finished.leader != best:
            show(f"            {leader_text(finished.leader, best)}")
            recipe = f"bmerge studies recipe {folder} {finished.leader.number} -o FILE.yaml"
            show(f"            its recipe: {recipe}")
    for what, written in (("checkpoint", finished.checkpoint), ("recipe", finished.recipe)):
        if written is not None:
            show(f"{what:<10}  {named(written)}")
    if finished.front:
        where = named(finished.front[0].parent)
        show(f"front       {counted(len(finished.front), 'merge')}: recipes in {where}")
    if finished.proof is not None:
        print_proof(finished.proof)
    if finished.reason:
        show(f"end         {finished.reason}")
    show(f"report      {named(report)}")
    if best is None:
        message = "no trial succeeded, so there is no best merge"
        raise StudyError(message, hint="the report says why each of them failed")
