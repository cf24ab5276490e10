"""A merge into a file, or into several, that appear complete or not at all."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bmerge.errors import FormatError
from bmerge.executors import ExecutionReport, Executor, ProgressCallback
from bmerge.formats import holds_codes, leading
from bmerge.formats.folders import PIPELINE, home_of
from bmerge.formats.target import GGUF_SUFFIX
from bmerge.formats.unchanged import Unchanged
from bmerge.pipeline.hashing import InputHashes
from bmerge.pipeline.lowering import Aligning, Lowering
from bmerge.pipeline.metadata import build_metadata, fitted
from bmerge.pipeline.output import OutputFiles
from bmerge.pipeline.passes import carry_out
from bmerge.pipeline.readers import notes_on_readers
from bmerge.pipeline.rounding import rounding_warnings
from bmerge.pipeline.shards import cut
from bmerge.plan import Plan
from bmerge.recipe.ancestry import RECIPE_KEY
from bmerge.records import dataclass
from bmerge.temporaries import alone_in

if TYPE_CHECKING:
    from bmerge.pipeline.folder import FolderFiles

__all__ = ["MergeReport", "merge_to_file"]


@dataclass(frozen=True, slots=True)
class MergeReport:
    """A merge that has been written.

    Args:
        output: the file, or the index of its shards.
        nbytes: size of the file, or of all shards.
        execution: what the executor did.
        notes: what the user should know, from the plan and from aligning models.
        warnings: what more likely than not is a mistake.
        metadata: of the file.
    """

    output: Path
    nbytes: int
    execution: ExecutionReport
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    metadata: Mapping[str, str]


def merge_to_file(
    plan: Plan,
    output: Path,
    *,
    executor: Executor,
    progress: ProgressCallback | None = None,
    aligning: Aligning | None = None,
    metadata: bool = True,
    hashes: bool = True,
    overwrite: bool = True,
    sync: bool = True,
    shard_size: int | None = None,
    configs: Path | None = None,
) -> MergeReport:
    """Carry out a plan into a file: of safetensors, or of torch if its suffix is.

    The file is written under a temporary name beside its own and renamed when it is complete;
    whatever goes wrong, nothing is left under its name, and what was there stays. Equal
    recipes and inputs give equal bytes.

    Args:
        plan: the merge.
        output: the file.
        executor: runs the plan.
        progress: called while it runs.
        aligning: called while models are aligned, if the recipe says so.
        metadata: whether the file is to tell its recipe and ancestry.
        hashes: whether these are to have the inputs' SHA-256. It is computed while merging and
            remembered; the first merge of a large file may take longer for it.
        overwrite: whether a file of that name may be replaced.
        sync: whether to wait until the file is safe from a power failure.
        shard_size: most bytes of one file. If that is not enough for all, there are several
            with an index, named after ``output`` as on Hugging Face; they appear together, and
            older ones of that name go.
        configs: a folder of diffusers or of one model whose files beside the weights are copied,
            if ``output`` is a folder: a name without a suffix. None: the first model's, if that
            is a folder.

    Raises:
        ExecutorError: if it cannot be carried out or written.
        FormatError: if an input cannot be read, or a file of that name cannot be written.
        RecipeError: if an input was changed meanwhile.
        KeyboardInterrupt: if the user interrupts.
    """
    merge, plan, hashes = plan, _written(plan, output), hashes and metadata
    stands_for = _placeholders(plan) if hashes else {}
    text, notes = _text(plan, stands_for or None, metadata=metadata)
    home = None if output.suffix or shard_size is not None else configs or _home_of(plan)
    files: FolderFiles | OutputFiles
    alone: AbstractContextManager[None] = contextlib.nullcontext()
    if home is not None:
        from bmerge.pipeline.folder import FolderFiles  # few merges go into folders

        files = FolderFiles(plan, output, home)
    else:
        notes += tuple(notes_on_readers(plan))
        shards = cut(plan.outputs, output, shard_size, metadata=len(json.dumps(text)))
        files = OutputFiles(plan, output, shards, in_shards=shard_size is not None)
        if shard_size is not None:  # those of two processes must not take each other's places
            alone = alone_in(files.folder)
    files.check(overwrite=overwrite)
    hashing: AbstractContextManager[InputHashes | None] = (
        InputHashes(plan) if hashes else contextlib.nullcontext()
    )
    unchanged = Unchanged.of(plan.inputs)
    with hashing as digests, files:
        sink = files.create(text, sync=sync)
        encode = None if plan is merge else partial(_written, output=output)
        place = files.folder
        with Lowering(
            executor, sink, progress, encode=encode, folder=place, aligning=aligning
        ) as work:
            ready, execution = carry_out(merge, work)
        if digests is not None:
            text = _filled(text, stands_for, digests.wait())
        files.finish(text)
        unchanged.check()
        with alone:
            files.check(overwrite=overwrite)
            notes += files.commit(sync=sync)
    if shard_size is not None and output.name == "model.safetensors":
        notes += _copied(plan, output.parent)
    warnings = (*ready.warnings, *rounding_warnings(execution.rounded))
    return MergeReport(files.main, files.nbytes, execution, ready.notes + notes, warnings, text)


def _home_of(plan: Plan) -> Path | None:
    """Return the folder that is the first model, if it is one."""
    return home_of(leading(plan.checkpoints).path)


def _copied(plan: Plan, folder: Path) -> tuple[str, ...]:
    """Copy what lies beside the first model to its shards; return notes about what cannot be."""
    home = _home_of(plan)
    if home is None or (home / PIPELINE).exists():
        return ()
    from bmerge.pipeline.companions import copy_companions, quantised_parts

    try:
        stay = copy_companions(home, folder, (), quantised_parts(plan))
    except OSError as error:
        return (f"what lies beside the weights in {home} cannot be copied: {error.strerror}",)
    if not stay:
        return ()
    return (f"not copied from {home}, as {folder} has others: {', '.join(stay)}",)


def _written(plan: Plan, output: Path) -> Plan:
    """Return a plan with quantised weights, of the kinds that the file's format has."""
    gguf, wanted = output.suffix.lower() == GGUF_SUFFIX, plan.recipe.quantise
    named = gguf or wanted not in {"auto", "none"}
    if not named and not holds_codes(leading(plan.checkpoints).tensors):
        return plan
    from bmerge.plan import BLOCK_TYPES, encoded  # few models are quantised

    if wanted not in {"auto", "none"} and gguf != (wanted in BLOCK_TYPES):
        kind = GGUF_SUFFIX if gguf else output.suffix or "safetensors"
        hint = "write a .safetensors file" if gguf else f"write a {GGUF_SUFFIX} file"
        message = f"a {kind} file has no weights of {wanted}"
        raise FormatError(message, path=output, hint=hint)
    return encoded(plan, gguf=gguf)


def _placeholders(plan: Plan) -> dict[Path, str]:
    """Return what stands for hashes until they are known: as long, and nowhere else in a text."""
    return {checkpoint.path: os.urandom(32).hex() for checkpoint in plan.inputs}


def _filled(
    text: Mapping[str, str], stands_for: Mapping[Path, str], digests: Mapping[Path, str]
) -> dict[str, str]:
    """Return metadata with hashes in the places of what stands for them."""
    filled = dict(text)
    for path, placeholder in stands_for.items():
        filled[RECIPE_KEY] = filled[RECIPE_KEY].replace(placeholder, digests[path])
    return filled


def _text(
    plan: Plan, digests: Mapping[Path, str] | None, *, metadata: bool
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the metadata, and notes about what it has no room for."""
    return fitted(build_metadata(plan, digests), plan) if metadata else ({"format": "pt"}, ())
