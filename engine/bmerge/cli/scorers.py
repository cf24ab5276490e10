"""``bmerge scorers``: the scorers with their options, and their weights on request."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from bmerge.cli.kinds import print_kinds
from bmerge.cli.output import json_option, note, show
from bmerge.cli.progress import ByteBar, LiveLine
from bmerge.cli.session import Session, shared_options
from bmerge.errors import ScorerError, nearest, redacted
from bmerge.evaluate.fetch import fetch as fetch_file
from bmerge.evaluate.weights import Download, scorer_folder

__all__ = ["command"]


class _Listing(click.Group):
    """A group that lists what has the given words in it, where the first is none of its verbs."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb, or take all that is left for words of the listing."""
        if args[0] in self.commands:
            return super().resolve_command(ctx, args)
        return "WORDS", _listed, args

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the usage line of both."""
        formatter.write_usage(ctx.command_path, "[OPTIONS] [WORDS]...")
        formatter.write_usage(ctx.command_path, "COMMAND [ARGS]...", "       ")


@click.group("scorers", cls=_Listing, invoke_without_command=True)
@json_option()
@shared_options
@click.pass_context
def command(context: click.Context, *, as_json: bool) -> None:
    """List the scorers, or fetch the weights of one.

    With WORDS, only those that have every one in their name or summary.

    \b
    Examples:
      bmerge scorers
      bmerge scorers aesthetic
      bmerge scorers fetch laion_aesthetic
    """
    if context.invoked_subcommand == fetch.name and as_json:
        raise click.UsageError("--json is for lists; fetch has none")
    if context.invoked_subcommand is None:
        session: Session = context.obj
        print_kinds("scorer", session.registry().scorers, as_json=as_json)


@click.command("WORDS")
@click.argument("words", nargs=-1)
@json_option()
@shared_options
@click.pass_context
def _listed(context: click.Context, *, words: tuple[str, ...], as_json: bool) -> None:
    """List the scorers that have every one of WORDS in their name or summary."""
    assert context.parent is not None
    as_json = as_json or context.parent.params["as_json"]
    session: Session = context.obj
    print_kinds("scorer", session.registry().scorers, as_json=as_json, words=words)


@command.command("fetch")
@click.argument("name")
@click.option(
    "--file", "files", multiple=True, metavar="FILE", help="Only this file; may be repeated."
)
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The folder of the weights; default: BMERGE_SCORER_MODELS, or one in the user's cache.",
)
@click.option("--force", is_flag=True, help="Fetch what is there already, too.")
@shared_options
@click.pass_obj
def fetch(
    session: Session, *, name: str, files: tuple[str, ...], folder: Path | None, force: bool
) -> None:
    """Download the weights that the scorer NAME needs.

    What was cut off continues where it was. A file appears under its name when it is complete; its
    checksum is compared with the one that is known or that the server states, and recorded in
    SHA256SUMS beside it. The environment variable HF_ENDPOINT names a mirror of the hub.

    \b
    Examples:
      bmerge scorers fetch laion_aesthetic
      bmerge scorers fetch hps --file HPS_v2_compressed.pt --dir /data/scorers
    """
    root = scorer_folder(folder)
    for download in _chosen(name, session.registry().scorer(name).downloads, files):
        _fetch(download, root, force=force)


def _chosen(name: str, known: Sequence[Download], files: Sequence[str]) -> list[Download]:
    """Return the downloads that are named, or those that are not optional."""
    if not known:
        raise ScorerError(f"{name} needs no weights that can be fetched")
    names = [download.file for download in known]
    for file in files:
        if file not in names:
            raise ScorerError(f"{name} needs no file {file!r}", hint=nearest(file, names))
    return [d for d in known if (d.file in files if files else not d.optional)]


def _fetch(download: Download, root: Path, *, force: bool) -> None:
    path = root / download.place
    if path.is_file() and not force:
        show(f"{path} is there already")
        return
    note(f"{redacted(download.url)}  (licence: {download.licence})")
    with LiveLine() as line:
        fetched = fetch_file(download, root, progress=ByteBar(line).update)
    show(f"{fetched.path}")
    how = "as expected" if fetched.known else "not known before; recorded"
    show(f"sha256 {fetched.sha256}  ({how})")
