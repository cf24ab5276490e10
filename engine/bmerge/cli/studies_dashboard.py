"""``bmerge studies dashboard``: a study with its pictures in optuna-dashboard."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from bmerge.cli.completing import complete_study
from bmerge.cli.output import note, show
from bmerge.cli.session import shared_options
from bmerge.errors import counted
from bmerge.storage.dashboard import publish_pictures

__all__ = ["command"]


@click.command("dashboard")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path),
                shell_complete=complete_study)  # fmt: skip
@shared_options
def command(folder: Path) -> None:
    """Prepare the study in DIR for optuna-dashboard, with pictures.

    Optuna's dashboard reads a study as it is; this adds the pictures to its trials, as artifacts,
    and prints the command that shows them. Run it again when there are more. The pictures are
    linked in `artifacts/` of the folder, not copied. A password in the storage's address is not
    printed.

    \b
    Examples:
      bmerge studies dashboard runs/demo
    """
    found = publish_pictures(folder)
    note(f"{counted(found.count, 'picture')}; pip install optuna-dashboard, then:")
    show(
        f"optuna-dashboard {shlex.quote(found.url)} --artifact-dir {shlex.quote(str(found.folder))}"
    )
