"""``bmerge prove``: is a study's winner really better? Compared on fresh pictures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import click

from bmerge.cli.completing import complete_study
from bmerge.cli.executor import executor_options
from bmerge.cli.open_study import open_again, study_option
from bmerge.cli.output import print_table, show
from bmerge.cli.progress import LiveLine
from bmerge.cli.session import Session, shared_options
from bmerge.cli.study_progress import StudyProgress
from bmerge.executors import ExecutorOptions
from bmerge.host.outside import outside_recipe
from bmerge.report import write_report
from bmerge.storage.stored import StoredStudy
from bmerge.study.prove import Entry, contenders_of, entry_of, outside_entry, prove, share_of
from bmerge.study.study import PreparedStudy
from bmerge.trials.comparison import Comparison
from bmerge.trials.figures import figure, interval
from bmerge.trials.limits import pictures_of
from bmerge.trials.proof import Proof

__all__ = ["command", "print_proof"]

_TRIAL = re.compile(r"trial (\d+)")


@click.command("prove")
@click.argument(
    "folder", metavar="DIR", type=click.Path(path_type=Path), shell_complete=complete_study
)
@click.argument("models", metavar="[MODEL]...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--pictures",
    type=click.IntRange(1),
    metavar="N",
    help="How many for all merges together; default: an eighth of the search's, at most 64.",
)
@click.option(
    "--trials",
    type=int,
    multiple=True,
    metavar="N",
    help="A trial to compare, instead of the winner and its rivals; may be repeated.",
)
@study_option
@executor_options
@shared_options
@click.pass_obj
def command(
    session: Session,
    *,
    folder: Path,
    models: tuple[Path, ...],
    pictures: int | None,
    trials: tuple[int, ...],
    file: Path | None,
    where: ExecutorOptions,
) -> None:
    """Compare a study's winner with its rivals on fresh pictures.

    DIR is the folder of a study, finished or stopped. The winner of a search was chosen by its
    pictures; here it, the next best trials, the models as they are and the centre paint the
    study's prompts with seeds that the search has not seen. MODEL is a model or a recipe that is
    compared as well, such as a base model. With --trials the first of them is compared with the
    others and with each MODEL. Pictures that are there already are not made again.

    \b
    Examples:
      bmerge prove runs/demo
      bmerge prove runs/demo base.safetensors --pictures 200
      bmerge prove runs/demo --trials 40 --trials 12
    """
    with open_again(session, folder, file, where) as (stored, study, registry):
        more = [outside_entry(model, outside_recipe(model, registry)) for model in models]
        entries = _entries(study, stored, trials, more)
        count = share_of(pictures, pictures_of(stored.trials.values()), len(entries))
        with LiveLine() as line:
            on_event = StudyProgress(line).on_event
            settle = not trials
            proof = prove(study, stored.trials, entries, count, on_event, settle=settle)
    print_proof(proof)
    for comparison in proof.comparisons:
        better = _TRIAL.match(comparison.rival) if comparison.verdict == "worse" else None
        if better is not None:
            number = better[1]
            show(f"recipe  of trial {number}: bmerge studies recipe {folder} {number} -o FILE.yaml")
    if not trials:
        show(f"report  {folder / write_report(study.folder).name}")


def print_proof(proof: Proof) -> None:
    """Print how a merge compares with others."""
    print_table(
        ("merge", "fresh score", *_objectives(proof), "difference", "95 % interval", "p", ""),
        [
            (*_means(proof, proof.first), "", "", "", ""),
            *(_row(proof, comparison) for comparison in proof.comparisons),
        ],
    )
    for constraint, margins in proof.margins.items():
        print_table(
            (constraint, "margin", "95 % interval", ""),
            [
                (name, figure(m.least), interval(m.low, m.high), m.verdict)
                for name, m in margins.items()
            ],
        )


def _objectives(proof: Proof) -> Sequence[str]:
    """Return what stands above the columns of several objectives."""
    return (*proof.parts[proof.first], "front") if proof.parts else ()


def _means(proof: Proof, name: str) -> Sequence[str]:
    """Return a merge's name, its score and, of several objectives, each one's."""
    found = (name, figure(proof.means[name]))
    if not proof.parts:
        return found
    parts = map(figure, proof.parts[name].values())
    return (*found, *parts, "front" if name in proof.front else "")


def _row(proof: Proof, comparison: Comparison) -> Sequence[object]:
    return (
        *_means(proof, comparison.rival),
        figure(comparison.difference),
        interval(comparison.low, comparison.high),
        f"{comparison.p:.2g}",
        f"{proof.first} is {comparison.verdict}",
    )


def _entries(
    study: PreparedStudy, stored: StoredStudy, trials: Sequence[int], more: Sequence[Entry]
) -> list[Entry]:
    if not trials:
        return contenders_of(study, stored.trials, more)
    return [*(entry_of(study, stored.trial(number)) for number in trials), *more]
