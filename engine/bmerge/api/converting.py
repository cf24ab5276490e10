"""``bmerge.convert``: one model in another layout, number format or choice of parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bmerge.api.merging import PathLike, as_path, changes_of, parts_of, size_of
from bmerge.executors import ExecutorOptions, ProgressCallback, choose_executor
from bmerge.host import load_registry
from bmerge.host.convert import plan_of_conversion
from bmerge.pipeline import MergeReport, merge_to_file

__all__ = ["convert"]


def convert(
    model: PathLike,
    /,
    *,
    output: PathLike,
    vae: PathLike | None = None,
    text_encoders: Sequence[PathLike] = (),
    memory: int | str | None = None,
    threads: int | None = None,
    overwrite: bool = False,
    sync: bool = True,
    shard_size: int | str | None = None,
    progress: ProgressCallback | None = None,
    **settings: Any,
) -> MergeReport:
    """Write a model in another form; what stays as it is, is copied byte for byte.

    Args:
        model: a file, an index of shards, or a folder, one of diffusers too.
        output: the file to write, which appears complete or not at all.
        vae: a file to take the VAE from.
        text_encoders: files to take text encoders from.
        memory: for buffers: bytes, or ``"512M"``.
        threads: None takes all cores.
        overwrite: whether a file of that name may be replaced.
        sync: whether to wait until it is safe from a power failure.
        shard_size: most bytes of one file, such as ``"5G"``; None writes one file.
        progress: called while it runs; what it raises stops it, and no file is left.
        **settings: keys of a recipe: ``layout="diffusers"``, ``parts=["vae"]``, ``prefix="net."``,
            ``dtype="fp16"``, ``prune=True``, ``architecture``.

    Returns:
        What was written; see :func:`bmerge.merge`.

    Raises:
        BmergeError: if it cannot be read or written, or has no such part or layout.
    """
    registry = load_registry([])
    baked = parts_of(vae, text_encoders)
    changes = changes_of(settings, only=True)
    plan = plan_of_conversion(str(as_path(model)), registry, baked=baked, **changes)
    options = ExecutorOptions(memory=size_of(memory), threads=threads)
    choice = choose_executor(plan, options=options)
    return merge_to_file(
        plan, as_path(output), executor=choice.executor, progress=progress,
        overwrite=overwrite, sync=sync, shard_size=size_of(shard_size),
    )  # fmt: skip
