"""``bmerge studies``: which studies there are, and the trials of one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from bmerge.cli.completing import complete_study
from bmerge.cli.output import json_option, note, print_json, print_table, show
from bmerge.cli.session import shared_options
from bmerge.cli.studies_dashboard import command as dashboard
from bmerge.cli.studies_fork import command as fork
from bmerge.cli.studies_importance import command as importance
from bmerge.cli.studies_recipe import command as recipe
from bmerge.cli.targets import force_option, named_output, refuse_existing
from bmerge.errors import StudyError, counted
from bmerge.formats.target import regular_target, write_file
from bmerge.reading import check_regular
from bmerge.recipe import dump_recipe
from bmerge.storage.stored import StoredStudy, read_study
from bmerge.storage.transfer import export_study, import_study
from bmerge.trials.constraint import Constraint
from bmerge.trials.figures import figure
from bmerge.trials.folder import MARKS
from bmerge.trials.times import time_of_a_trial, times_in_words
from bmerge.trials.trial import Trial, front_of
from bmerge.trials.winner import winner_of

__all__ = ["command"]

_FOLDER = click.Path(path_type=Path)


@click.group("studies")
@shared_options
def command() -> None:
    """List, show, fork, export and import studies.

    \b
    Examples:
      bmerge studies list
      bmerge studies show runs/demo --json
      bmerge studies export runs/demo -o demo.jsonl
    """


command.add_command(dashboard)
command.add_command(fork)
command.add_command(importance)
command.add_command(recipe)


@command.command("list")
@click.argument("folder", metavar="[DIR]", type=_FOLDER, default=Path("runs"))
@json_option()
@shared_options
def list_studies(folder: Path, *, as_json: bool) -> None:
    """List the studies in the folders of DIR; without it, in runs/.

    \b
    Examples:
      bmerge studies list
      bmerge studies list /data/runs --json
    """
    if not folder.is_dir():
        raise StudyError(f"no such folder: {folder}")
    studies = list(_studies_below(folder))
    if as_json:
        print_json([_study_data(study) for study in studies])
        return
    print_table(("folder", "study", "trials", "best"), [_study_row(study) for study in studies])


@command.command("show")
@click.argument("folder", metavar="DIR", type=_FOLDER, shell_complete=complete_study)
@json_option()
@shared_options
def show_study(folder: Path, *, as_json: bool) -> None:
    """Show the trials of the study in DIR, finished or running.

    With several objectives there is a column for each; the score is their sum, and trials of
    the Pareto front are marked.

    A trial that was stopped, because it was behind the best one, is pruned; its score is an
    estimate.

    Below the table: what a trial's time goes into, medians. Scores are made while the next
    pictures are painted.

    With --json: `trials`, each with number, state, params, values (the objectives' values, empty
    if there are none) and more; `objectives`, their names; `front`, the numbers of the trials of
    the Pareto front; `best`, the best trial or null.

    \b
    Examples:
      bmerge studies show runs/demo
      bmerge studies show runs/demo --json
    """
    study = read_study(folder)
    best = winner_of(study.trials, study.objectives)
    front = front_of(study.trials)
    names = study.objectives.names if len(study.objectives.sums) > 1 else ()
    if as_json:
        print_json(
            {
                "name": study.name,
                "trials": [_trial_data(trial, study) for trial in study.trials.values()],
                "objectives": list(study.objectives.names),
                "front": [trial.number for trial in front],
                "best": _trial_data(best, study) if best else None,
            }
        )
        return
    print_table(
        ("trial", "state", "phase", "source", "score", *names, ""),
        [
            _trial_row(
                trial,
                best,
                on_front=trial in front,
                objectives=len(names),
                broken=_broken(trial, study),
            )
            for trial in study.trials.values()
        ],
    )
    if times := times_in_words(time_of_a_trial(study.trials.values())):
        note(f"a trial: {times}")


@command.command("export")
@click.argument("folder", metavar="DIR", type=_FOLDER, shell_complete=complete_study)
@click.option("-o", "--output", metavar="FILE", help="Where to write; default: standard output.")
@force_option
@shared_options
def export(folder: Path, *, output: str | None, force: bool) -> None:
    """Write the study in DIR as JSON lines: one for the study, one for each trial.

    All that a run needs to continue is there, but the pictures: those are named by their paths
    within the folder.

    \b
    Examples:
      bmerge studies export runs/demo -o demo.jsonl
    """
    target = None if output is None else regular_target(named_output(output))
    if target is not None:
        refuse_existing(target, force=force)
    lines = export_study(folder)
    if target is None:
        for line in lines:
            show(line)
        return
    write_file(target, "".join(f"{line}\n" for line in lines).encode())


@command.command("import")
@click.argument("file", metavar="FILE", type=_FOLDER)
@click.option(
    "--out",
    type=_FOLDER,
    metavar="DIR",
    help="The study's folder; default: runs/ and the file's name.",
)
@shared_options
def import_(file: Path, *, out: Path | None) -> None:
    """Store the study that FILE describes, as `bmerge studies export` wrote it.

    `bmerge run` of its study file with this folder continues with it.

    \b
    Examples:
      bmerge studies import demo.jsonl --out runs/demo
    """
    folder = out or Path("runs") / file.stem
    try:
        check_regular(file)
        with file.open(encoding="utf-8") as lines:
            name = import_study(lines, folder, source=str(file))
    except OSError as error:
        raise StudyError(f"{file} cannot be read: {error.strerror or error}") from error
    show(f"{name}  {folder}")


def _studies_below(folder: Path) -> Iterator[StoredStudy]:
    """Yield the studies in ``folder`` and below; one that cannot be read is named and skipped."""
    files = (file for mark in MARKS for file in folder.glob(f"**/{mark}"))
    for place in sorted({file.parent for file in files}):
        try:
            yield read_study(place)
        except StudyError as error:
            note(f"warning: {place}: {error}")


def _study_data(study: StoredStudy) -> dict[str, Any]:
    best = winner_of(study.trials, study.objectives)
    return {
        "folder": str(study.folder),
        "name": study.name,
        "trials": len(study.trials),
        "best": _trial_data(best, study) if best else None,
    }


def _study_row(study: StoredStudy) -> tuple[object, ...]:
    best = winner_of(study.trials, study.objectives)
    score = f"{figure(best.score or 0.0)} (trial {best.number})" if best else "-"
    return study.folder, study.name, len(study.trials), score


def _trial_data(trial: Trial, study: StoredStudy) -> dict[str, Any]:
    proposal = trial.proposal
    return {
        "number": trial.number,
        "state": trial.state,
        "params": study.definition.space.in_words(proposal.values),
        "values": list(trial.scores) or ([] if trial.score is None else [trial.score]),
        "phase": proposal.phase,
        "source": proposal.source,
        "model": proposal.model,
        "recipe": None if proposal.recipe is None else dump_recipe(proposal.recipe),
        "weights": {name: weights.assignments for name, weights in proposal.weights.items()},
        "scores": dict(trial.means),
        "pictures": [dict(picture) for picture in trial.pictures],
        "seconds": dict(trial.seconds),
        "reason": trial.reason,
        "variance": trial.variance,
        "incumbent": trial.incumbent,
        "broken": [str(constraint) for constraint in _broken(trial, study)],
    }


def _broken(trial: Trial, study: StoredStudy) -> list[Constraint]:
    constraints = study.objectives.constraints if trial.score is not None else ()
    return [each for each in constraints if each.lack(trial, study.trials)]


def _trial_row(
    trial: Trial,
    best: Trial | None,
    *,
    on_front: bool,
    objectives: int,
    broken: Sequence[Constraint],
) -> tuple[object, ...]:
    score = "-" if trial.score is None else figure(trial.score)
    score = f"~{score}" if trial.state == "pruned" else score
    scores = [*map(figure, trial.scores)] or ["-"] * objectives
    is_best = best is not None and best.number == trial.number
    words = [word for word, holds in (("best", is_best), ("front", on_front)) if holds]
    mark = ", ".join([*words, *(f"breaks: {constraint}" for constraint in broken)])
    proposal = trial.proposal
    return (
        *(trial.number, trial.state, proposal.phase, proposal.source, score, *scores),
        mark or trial.reason or _behind(trial),
    )


def _behind(trial: Trial) -> str:
    if trial.incumbent is None:
        return ""
    return f"behind trial {trial.incumbent} after {counted(len(trial.pictures), 'picture')}"
