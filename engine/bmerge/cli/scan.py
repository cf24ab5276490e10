"""``bmerge scan``: what each block of a study's models does."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import click

from bmerge.cli.completing import complete_study
from bmerge.cli.executor import executor_options
from bmerge.cli.open_study import open_again, study_option
from bmerge.cli.output import json_option, print_json, print_table, show
from bmerge.cli.progress import LiveLine
from bmerge.cli.session import Session, shared_options
from bmerge.cli.study_progress import StudyProgress
from bmerge.executors import ExecutorOptions
from bmerge.study.scan import Effect, Scan, Start, scan
from bmerge.trials.figures import figure, interval

__all__ = ["command"]

_COLUMN = {True: "from the other", False: "moved to an end"}


@click.command("scan")
@click.argument(
    "folder", metavar="DIR", type=click.Path(path_type=Path), shell_complete=complete_study
)
@click.option(
    "--start",
    type=click.Choice(["a", "b", "best"]),
    help="Whose blocks are exchanged: a model's or the best trial's; default: a, if there is one.",
)
@click.option(
    "--pictures",
    type=click.IntRange(1),
    metavar="N",
    help="Pictures of each merge; default: all of the study's.",
)
@study_option
@json_option()
@executor_options
@shared_options
@click.pass_obj
def command(
    session: Session,
    *,
    folder: Path,
    start: str | None,
    pictures: int | None,
    file: Path | None,
    as_json: bool,
    where: ExecutorOptions,
) -> None:
    """Rank what each block does, in numbers and in pictures.

    DIR is the folder of a study, finished or stopped. Its first model paints the study's prompts,
    then once more for each block (or group of blocks) that is searched, with that block taken from
    the other model. Each exchange is compared with the model as it is, picture by picture. The
    ranking is printed and goes into scan.html of the folder, with pictures. What was painted is
    not painted again, so a scan can be interrupted.

    With --start best, the blocks of the best trial are exchanged, each for the model that it is
    further from.

    A space may not hold the models as they are: that of a merge of steps, or a part of each range.
    Then the scan starts from the best trial, and each value is moved to the end of its range that
    it is further from.

    \b
    Examples:
      bmerge scan runs/demo
      bmerge scan runs/demo --start best --pictures 8
    """
    from bmerge.report.scan_page import write_scan  # which needs an extra; --help does not

    with open_again(session, folder, file, where) as (stored, study, _), LiveLine() as line:
        on_event = StudyProgress(line).on_event
        found = scan(study, stored.trials, cast("Start | None", start), pictures, on_event)
    page = folder / write_scan(study.folder, stored.name, found).name
    if as_json:
        print_json(_data(found))
        return
    print_table(
        (_COLUMN[found.between_models], "change", "95 % interval", "p", "score"),
        [(found.start, "", "", "", figure(found.score)), *map(_row, found.effects)],
    )
    show(f"page  {page}")


def _row(effect: Effect) -> tuple[object, ...]:
    one = effect.comparison
    bounds = interval(one.low, one.high)
    return effect.name, figure(one.difference), bounds, f"{effect.p:.2g}", figure(effect.score)


def _data(found: Scan) -> dict[str, object]:
    return {
        "start": found.start,
        "score": found.score,
        "pictures": len(found.prompts),
        "effects": [
            {
                "name": effect.name,
                "change": effect.comparison.difference,
                "interval": [effect.comparison.low, effect.comparison.high],
                "p": effect.p,
                "score": effect.score,
            }
            for effect in found.effects
        ],
    }
