"""Where ``bmerge merge`` writes: a file, or shards in a folder or beside one another."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from bmerge.cli.executor import size_option
from bmerge.cli.targets import force_option, named_output, refuse_existing
from bmerge.cli.variables import Negation
from bmerge.errors import FormatError
from bmerge.formats.target import GGUF_SUFFIX, PICKLED_SUFFIXES, SAFETENSORS_SUFFIXES, target_of
from bmerge.pipeline.shards import index_of
from bmerge.records import dataclass

__all__ = ["OutputOptions", "output_options"]

F = TypeVar("F", bound=Callable[..., Any])

_SUFFIX = ".safetensors"
_IN_FOLDER = "model.safetensors"


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """What was asked for on the command line.

    Args:
        output: file or folder; None writes nothing.
        shard_size: most bytes of one file, or None for one file.
        force: whether what exists is replaced.
        metadata: whether the file tells its recipe.
        hashes: whether it tells its inputs' SHA-256.
        sync: whether to wait until it is safe from a power failure.
    """

    output: str | None
    shard_size: int | None
    force: bool
    metadata: bool
    hashes: bool
    sync: bool

    def target(self) -> Path | None:
        """Return the file to write, or to name shards after; None if nothing is to be written.

        Raises:
            FormatError: if it has no name, exists and may not be replaced, or its suffix is not a
                format's.
        """
        if self.output is None:
            return None
        path = named_output(self.output, folder=self._is_folder(self.output))
        if self.shard_size is not None:
            path = _shards_of(path)
        elif path.suffix:
            target_of(path, model=True)
        elif not path.exists() or (path.is_dir() and not any(path.iterdir())):
            return path  # a folder, if the first model is one
        else:
            hint = "remove it first, or name another folder, or a file with a suffix"
            raise FormatError(f"{path} exists", path=path, hint=hint)
        for taken in (path, index_of(path)) if self.shard_size is not None else (path,):
            refuse_existing(taken, force=self.force)
        return path

    def _is_folder(self, output: str) -> bool:
        """Tell whether a name may be that of a folder."""
        return self.shard_size is not None or not Path(output).suffix

    @contextlib.contextmanager
    def folder(self, target: Path) -> Iterator[None]:
        """Make the folder that ``--output`` names, and remove it if nothing was written there."""
        if (
            self.shard_size is None
            or target.name != _IN_FOLDER
            or not target.parent.parent.is_dir()
        ):
            yield
            return
        target.parent.mkdir(exist_ok=True)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # it is not empty
                target.parent.rmdir()


def _shards_of(path: Path) -> Path:
    """Return what shards are named after that go to a folder or beside one another."""
    if path.is_dir():
        return path / _IN_FOLDER
    others = PICKLED_SUFFIXES | SAFETENSORS_SUFFIXES | {GGUF_SUFFIX}
    if path.suffix.lower() in others - {_SUFFIX}:
        hint = f"name a folder, or {path.stem}{_SUFFIX}"
        raise FormatError(f"cannot write {path}: shards are {_SUFFIX} files", path=path, hint=hint)
    return path if path.suffix == _SUFFIX else path / _IN_FOLDER


def output_options(command: F) -> F:
    """Give a command the options of what is written, as its argument ``to``."""

    @wraps(command)
    def gather(*arguments: Any, **options: Any) -> Any:
        names = ("output", "shard_size", "force", "metadata", "hashes", "sync")
        to = OutputOptions(**{name: options.pop(name) for name in names})
        return command(*arguments, to=to, **options)

    for option in (
        click.option(
            "--no-sync",
            "sync",
            cls=Negation,
            flag_value=False,
            default=True,
            help="Do not wait until the output is safe from a power failure.",
        ),
        force_option,
        click.option(
            "--no-metadata",
            "metadata",
            cls=Negation,
            flag_value=False,
            default=True,
            help="Do not write the recipe into the file.",
        ),
        click.option(
            "--no-hashes",
            "hashes",
            cls=Negation,
            flag_value=False,
            default=True,
            help="Do not write the models' SHA-256; the first merge of a model is faster.",
        ),
        click.option(
            "--shard-size",
            type=size_option,
            metavar="SIZE",
            help="Write files of at most SIZE and an index; FILE may be a folder.",
        ),
        click.option("-o", "--output", metavar="FILE", help="The file to write."),
    ):
        gather = option(gather)
    return cast("F", gather)
