"""``bmerge report``: the HTML page of a study, written again."""

from __future__ import annotations

from pathlib import Path

import click

from bmerge.cli.completing import complete_study
from bmerge.cli.output import show
from bmerge.cli.session import shared_options
from bmerge.report import write_report

__all__ = ["command"]


@click.command("report")
@click.argument(
    "folder", metavar="DIR", type=click.Path(path_type=Path), shell_complete=complete_study
)
@shared_options
def command(folder: Path) -> None:
    """Write the report of a study again.

    DIR is the study's folder. The study may still be running; report.html then shows it as it
    is now.

    \b
    Examples:
      bmerge report runs/demo
    """
    show(write_report(folder))
