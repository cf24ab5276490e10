"""``bmerge clean``: removes what commands that were killed have left behind."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from bmerge.cli.output import human_bytes, json_option, note, print_json, show
from bmerge.cli.session import shared_options
from bmerge.errors import FormatError
from bmerge.formats.hashes import cache_folder
from bmerge.temporaries import left_over, remove

__all__ = ["command"]


@click.command("clean")
@click.argument("folders", nargs=-1, metavar="[DIR]...")
@click.option("--dry-run", is_flag=True, help="Say what would be removed; remove nothing.")
@json_option()
@shared_options
@click.pass_context
def command(
    context: click.Context, /, *, folders: tuple[str, ...], dry_run: bool, as_json: bool
) -> None:
    """Remove the temporary files of commands that were killed.

    Each DIR is looked through with its subfolders; without one, the current folder. The system's
    folder for temporary files and bmerge's cache are looked at, too. What a process still uses,
    and what is not bmerge's, stays. Commands that make such files do this themselves, in the
    folders where they make them.

    \b
    Examples:
      bmerge clean
      bmerge clean models runs --dry-run
    """
    places = [Path(folder) for folder in folders or (".",)]
    for place in places:
        if not place.is_dir():
            raise FormatError(f"no such folder: {place}", path=place)
    found = list(dict.fromkeys(_found(places)))
    sizes = [_size(path) for path in found]
    kept = [] if dry_run else [path for path in found if not _removed(path)]
    gone = [(path, size) for path, size in zip(found, sizes, strict=True) if path not in kept]
    if as_json:
        rows = [{"path": str(path), "bytes": size} for path, size in gone]
        print_json({"removed": rows, "dry_run": dry_run, "kept": list(map(str, kept))})
    else:
        for path, size in gone:
            show(f"{path}  {human_bytes(size)}")
        total = human_bytes(sum(size for _, size in gone))
        show(f"{len(gone)} {'to remove' if dry_run else 'removed'}, {total}")
    context.exit(1 if kept else 0)


def _found(places: Sequence[Path]) -> Iterator[Path]:
    """Yield what is left over in folders and below them, and where bmerge keeps things."""
    for place in places:
        for folder, subfolders, _ in os.walk(place):
            paths = left_over(Path(folder))
            subfolders[:] = sorted({*subfolders} - {path.name for path in paths})
            yield from paths
    yield from left_over(Path(tempfile.gettempdir()))
    yield from left_over(cache_folder())


def _size(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def _removed(path: Path) -> bool:
    try:
        remove(path)
    except OSError as error:
        note(f"warning: {path} cannot be removed: {error.strerror}")
        return False
    return True
