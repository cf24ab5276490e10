"""``bmerge merge --like FILE``: a merge again, from what its file tells, and a comparison."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from bmerge.cli.merge_output import OutputOptions
from bmerge.cli.merge_write import write
from bmerge.cli.output import note, print_json, show, tell
from bmerge.cli.session import Session
from bmerge.compare.same import Sameness, sameness
from bmerge.errors import RecipeError, counted
from bmerge.executors import ExecutorOptions, choose_executor
from bmerge.foreign import is_merged_file
from bmerge.formats import open_checkpoint
from bmerge.host.recipe_source import RecipeSource
from bmerge.recipe.ancestry import origin_of
from bmerge.temporaries import temporary_folder

__all__ = ["check_only", "repeat"]

_SHOWN = 5
_INDEX = ".index.json"


def check_only(
    method: str | None,
    loras: Sequence[str],
    parts: Sequence[tuple[str, str]],
    changes: Mapping[str, Any],
    *,
    dry_run: bool,
    explain: bool,
) -> None:
    """Refuse what would make it another merge, or is of a merge alone.

    Raises:
        UsageError: names the first of it.
    """
    given = [
        *([method] if method else []), *loras, *(path for _, path in parts), *changes,
        *(["--dry-run"] if dry_run else []), *(["--explain"] if explain else []),
    ]  # fmt: skip
    if given:
        message = f"--like repeats a merge as it was; leave {given[0]!r} out"
        raise click.UsageError(f"{message}: `bmerge merge FILE` takes changes")


def repeat(
    session: Session,
    like: Path,
    places: Sequence[str],
    to: OutputOptions,
    where: ExecutorOptions,
    *,
    unverified: bool,
    as_json: bool,
) -> None:
    """Merge again what a file tells, and say whether the bytes are the same.

    Args:
        session: of the call.
        like: the merged file.
        places: where its models are looked for.
        to: what to write; nothing is left if it names no output.
        where: chooses the executor.
        unverified: whether models may be other files than those of the merge.
        as_json: whether to print JSON.

    Raises:
        Exit: with status 1 if something differs.
    """
    if not is_merged_file(like):
        raise RecipeError("--like takes a merged file", path=like, hint="name a .safetensors file")
    before = open_checkpoint(like)
    target, registry = to.target(), session.registry()
    folders = tuple(map(Path, places))
    source = RecipeSource(like, {}, registry, where, note, unverified, folders)
    with contextlib.ExitStack() as files:
        if target is None:
            target = files.enter_context(_folder(like)) / like.name.removesuffix(_INDEX)
            to = replace(to, sync=False)
        plan = source.plan(target, files)
        choice = choose_executor(plan, options=where)
        tell(plan.notes, plan.warnings)
        note(choice.reason)
        to = replace(to, hashes=to.hashes and _has_hashes(before.metadata))
        report, _ = write(plan, choice.executor, target, to, registry)
        found = sameness(before, open_checkpoint(report.output))
    if as_json:
        print_json({"like": str(like), "output": to.output, **found.data})
    else:
        for line in _lines(found, like):
            show(line)
    if not found.same:
        raise click.exceptions.Exit(1)


def _folder(like: Path) -> contextlib.AbstractContextManager[Path]:
    """Give a folder that is gone afterwards: beside the file, where there is room, if possible."""
    beside = like.resolve().parent
    return temporary_folder("like", beside if os.access(beside, os.W_OK) else None)


def _has_hashes(metadata: Mapping[str, str]) -> bool:
    """Tell whether a file of bmerge names the SHA-256 of its models."""
    models = (origin_of(metadata) or {}).get("models", ())
    each = models.values() if isinstance(models, dict) else models
    return any(isinstance(model, dict) and "sha256" in model for model in each)


def _lines(found: Sameness, like: Path) -> list[str]:
    """Return what there is to say."""
    if found.same and found.files:
        return [f"the bytes are the same as those of {like}"]
    if found.same:
        return [f"tensors and metadata are the same as those of {like}"]
    lines = []
    if found.tensors:
        shown = ", ".join(found.tensors[:_SHOWN])
        more = ", …" if len(found.tensors) > _SHOWN else ""
        lines.append(f"not as in {like}: {counted(len(found.tensors), 'tensor')}, {shown}{more}")
    else:
        lines.append(f"every tensor is the same as in {like}, to the byte")
    if found.metadata:
        lines.append(f"the metadata differs in {', '.join(found.metadata)}")
    if not found.tensors and not found.metadata:
        lines.append(
            "the files differ in the order of their tensors or the spacing of their header"
        )
    return lines
