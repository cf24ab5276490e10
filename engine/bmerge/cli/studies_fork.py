"""``bmerge studies fork``: another space or other prompts, with the trials that still count."""

from __future__ import annotations

from pathlib import Path

import click

from bmerge.cli.completing import complete_study
from bmerge.cli.executor import executor_options
from bmerge.cli.open_study import open_study
from bmerge.cli.output import json_option, note, print_json, print_table
from bmerge.cli.session import Session, shared_options
from bmerge.executors import ExecutorOptions
from bmerge.storage.stored import read_study
from bmerge.study.fork import Fate, fork_study
from bmerge.study_file.load import load_study

__all__ = ["command"]

_PATH = click.Path(path_type=Path)


@click.command("fork")
@click.argument("folder", metavar="DIR", type=_PATH, shell_complete=complete_study)
@click.argument("file", metavar="FILE", type=_PATH)
@click.option(
    "--out",
    type=_PATH,
    metavar="NEW",
    help="The new study's folder; default: what FILE says, or runs/ and its name.",
)
@json_option()
@executor_options
@shared_options
@click.pass_obj
def command(
    session: Session,
    *,
    folder: Path,
    file: Path,
    out: Path | None,
    as_json: bool,
    where: ExecutorOptions,
) -> None:
    """Begin the study of FILE with the trials of DIR that count there.

    FILE may have another space, other prompts, other weights of scorers or another optimiser. A
    trial counts if its merge lies within the new space and it has a picture of each new prompt;
    it is scored anew. Models, method, generator and its settings must be the same. What becomes
    of each trial is printed, with the reason. DIR stays as it is; pictures are copied.

    `bmerge run FILE` with the new folder continues. The trials that were taken over are part of
    the number that FILE asks for.

    \b
    Examples:
      bmerge studies fork runs/demo narrower.yaml --out runs/narrower
    """
    stored = read_study(folder)
    config = load_study(file)
    new = out or config.out
    study, _ = open_study(session, config, file, new, where)
    try:
        fates = fork_study(stored, study)
    finally:
        study.close()
    if as_json:
        print_json([{"trial": f.number, "now": f.now, "reason": f.reason} for f in fates])
    else:
        print_table(("trial", "now", ""), [_row(fate) for fate in fates])
    count = sum(fate.now is not None for fate in fates)
    note(f"{count} of {len(fates)} trials count; continue: bmerge run {file} --out {new}")


def _row(fate: Fate) -> tuple[object, ...]:
    return fate.number, "-" if fate.now is None else fate.now, fate.reason
