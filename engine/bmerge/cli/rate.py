"""``bmerge rate``: the page where a person rates pictures and watches a study."""

from __future__ import annotations

import os
import sys
import webbrowser
from pathlib import Path

import click

from bmerge.cli import signals
from bmerge.cli.completing import complete_study
from bmerge.cli.output import note, show
from bmerge.cli.session import shared_options

__all__ = ["command"]

_EVERYWHERE = "0.0.0.0"  # noqa: S104  asked for by --lan


@click.command("rate")
@click.argument(
    "folder", metavar="DIR", type=click.Path(path_type=Path), shell_complete=complete_study
)
@click.option("--host", metavar="NAME", help="Where to listen; default: this machine only.")
@click.option("--lan", is_flag=True, help="Let other devices of the local network in.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="N",
    help="Default: 7788, or any other if that is taken.",
)
@click.option("--no-open", is_flag=True, help="Do not open a browser.")
@shared_options
def command(folder: Path, *, host: str | None, lan: bool, port: int | None, no_open: bool) -> None:
    """Rate pictures in the browser, and watch a study.

    DIR is the study's folder. The page shows what a study with the scorer `person` wants to know,
    while `bmerge run` works in another terminal, or later; its live view shows any study. Whoever
    has the printed address can rate. Ctrl-C ends it; answers are stored one by one.

    \b
    Examples:
      bmerge rate runs/portraits
      bmerge rate runs/portraits --lan    for a phone in the same network
    """
    if lan and host:
        raise click.UsageError("--lan and --host exclude each other")

    def on_ready(addresses: list[str]) -> None:
        for address in addresses:
            show(address)
        if not no_open and _has_screen():
            webbrowser.open(addresses[0])

    signals.hand_over()
    from bmerge.web import serve  # which needs the extra "study"; --help does not

    serve(folder, host=host or (_EVERYWHERE if lan else "127.0.0.1"), port=port, on_ready=on_ready)
    note("stopped; all answers are stored")


def _has_screen() -> bool:
    """Tell whether a browser can be opened where somebody sees it."""
    if not sys.stderr.isatty():
        return False
    always = os.name == "nt" or sys.platform == "darwin"
    return always or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))
