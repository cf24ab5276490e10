"""``bmerge studies recipe``: the recipe of any trial; a study itself writes the winner's alone."""

from __future__ import annotations

from pathlib import Path

import click

from bmerge.cli.completing import complete_study
from bmerge.cli.open_study import rebuilt, study_option
from bmerge.cli.output import show
from bmerge.cli.session import Session, shared_options
from bmerge.cli.targets import check_yaml_target, force_option, named_output
from bmerge.executors import ExecutorOptions
from bmerge.formats.target import write_file
from bmerge.study.best import recipe_text

__all__ = ["command"]


@click.command("recipe")
@click.argument(
    "folder", metavar="DIR", type=click.Path(path_type=Path), shell_complete=complete_study
)
@click.argument("number", metavar="TRIAL", type=click.IntRange(0))
@click.option("-o", "--output", metavar="FILE", help="The recipe to write; default: print it.")
@force_option
@study_option
@shared_options
@click.pass_obj
def command(
    session: Session,
    *,
    folder: Path,
    number: int,
    output: str | None,
    force: bool,
    file: Path | None,
) -> None:
    """Write the recipe of a trial of the study in DIR.

    `bmerge merge` makes the trial's merge of it. `best/` of the study's folder has the winner's
    alone; TRIAL is the number that `bmerge studies show` and the report give any other one, such
    as one that fresh pictures have shown to be better. The study may still be running.

    \b
    Examples:
      bmerge studies recipe runs/demo 9 -o nine.yaml
      bmerge merge nine.yaml -o nine.safetensors
    """
    if output is not None:
        check_yaml_target(named_output(output), "recipe", force=force)
    with rebuilt(session, folder, file, ExecutorOptions()) as (stored, study, _):
        text = recipe_text(study.merger, stored.trial(number))
    if output is None:
        show(text, end="")
        return
    write_file(Path(output), text.encode())
    show(output)
