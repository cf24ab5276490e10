"""``bmerge.merge``: one merge, by a method, a recipe or a merged file."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from bmerge.errors import RecipeError
from bmerge.executors import ExecutorOptions, ProgressCallback, choose_executor
from bmerge.host import Registry, load_registry
from bmerge.host.merges import open_models, plan_merge
from bmerge.host.named_merge import plan_of_method
from bmerge.host.recipe_source import RecipeSource
from bmerge.logs import logger
from bmerge.options import unfolded
from bmerge.pipeline import MergeReport, merge_to_file
from bmerge.plan import Plan
from bmerge.recipe import Recipe
from bmerge.recipe.document import Node
from bmerge.recipe.settings import SETTINGS, read_settings
from bmerge.sizes import parse_size

__all__ = ["PathLike", "as_path", "changes_of", "merge", "parts_of", "size_of"]

PathLike: TypeAlias = "str | Path"

_NOTHING_ASKED = ExecutorOptions()
_RECIPES = (".yaml", ".yml", ".json", ".mecha")


@unfolded
def merge(
    what: str | Path | Recipe,
    /,
    *models: PathLike,
    output: PathLike,
    loras: Sequence[PathLike | tuple[PathLike, Any]] = (),
    vae: PathLike | None = None,
    text_encoders: Sequence[PathLike] = (),
    where: ExecutorOptions = _NOTHING_ASKED,
    overwrite: bool = False,
    metadata: bool = True,
    hashes: bool = True,
    sync: bool = True,
    shard_size: int | str | None = None,
    unverified: bool = False,
    search: Sequence[PathLike] = (),
    plugins: Sequence[PathLike] = (),
    progress: ProgressCallback | None = None,
    **settings: Any,
) -> MergeReport:
    """Merge checkpoints once, and write the result.

    Args:
        what: the name of a merge method; or the path of a recipe or of a merged file, or a
            :class:`Recipe`, which name their own models.
        *models: the checkpoints that a method takes, in its order.
        output: the file to write, which appears complete or not at all.
        loras: LoRAs to add to a method's models, each a path or (path, weight).
        vae: a file to take the VAE from.
        text_encoders: files to take text encoders from.
        where: how it is executed; each option may be given by its own name.
        overwrite: whether a file of that name may be replaced.
        metadata: whether the file is to tell its recipe.
        hashes: whether it is to tell its inputs' SHA-256.
        sync: whether to wait until it is safe from a power failure.
        shard_size: most bytes of one file, such as ``"5G"``; None writes one file.
        unverified: take models that are other files than a recipe was written for.
        search: files and folders that the inputs of a merged file are looked for in.
        plugins: plugin files, or folders of them.
        progress: called while the merge runs; what it raises stops the merge, and no file is left.
        **settings: the method's hyperparameters and options by name, with the values that a
            recipe file takes: ``alpha=0.4``, ``alpha={"IN00-IN05": 0.2, "*": 1}``,
            ``alpha="GRAD_V"``; and keys of a recipe: ``dtype="fp16"``, ``exclude=["M00"]``,
            ``seed``, ``prune``, ``clamp``, ``rebasin`` and so on.

    Returns:
        What was written, and what there is to know of it: ``output``, ``nbytes``, ``notes``,
        ``warnings``, ``metadata``. Warnings go to the log ``bmerge``, too.

    Raises:
        BmergeError: if anything does not fit together, or cannot be read or written.
    """
    registry = load_registry([str(path) for path in plugins])
    target = as_path(output)
    with contextlib.ExitStack() as files:
        if isinstance(what, Recipe) or _is_file(str(what)):
            _check_nothing_else(
                what, models=models, loras=loras, vae=vae, text_encoders=text_encoders
            )
            changes = changes_of(settings, only=True)
            plan = _plan_of_recipe(
                what, changes, registry, where, unverified, search, target, files
            )
        else:
            plan = plan_of_method(
                str(what),
                [str(as_path(model)) for model in models],
                registry,
                values={k: v for k, v in settings.items() if k not in _SETTINGS},
                changes=changes_of(settings),
                loras=[_lora(lora) for lora in loras],
                parts=parts_of(vae, text_encoders),
            )
        choice = choose_executor(plan, options=where)
        registry.observe("bmerge_merge_started", plan=plan)
        report = merge_to_file(
            plan, target, executor=choice.executor, progress=progress, metadata=metadata,
            hashes=hashes, overwrite=overwrite, sync=sync, shard_size=size_of(shard_size),
        )  # fmt: skip
    for warning in report.warnings:
        logger(__name__).warning("%s: %s", target.name, warning)
    return report


def _plan_of_recipe(
    what: str | Path | Recipe,
    changes: Mapping[str, Any],
    registry: Registry,
    where: ExecutorOptions,
    unverified: bool,  # noqa: FBT001
    places: Sequence[PathLike],
    target: Path,
    files: contextlib.ExitStack,
) -> Plan:
    if isinstance(what, Recipe):
        recipe = replace(what.unverified() if unverified else what, **changes)
        registry.require(recipe.plugins, "the recipe")
        return plan_merge(recipe, open_models(recipe.models, Path()), registry)

    folders = tuple(map(as_path, places))
    source = RecipeSource(
        as_path(what), changes, registry, where, logger(__name__).info, unverified, folders
    )
    return source.plan(target, files)


def as_path(path: PathLike) -> Path:
    """Return a path, ``~`` being one's own folder."""
    return Path(path).expanduser()


def size_of(size: int | str | None) -> int | None:
    """Return a number of bytes that may be written as ``"512M"``."""
    return parse_size(size) if isinstance(size, str) else size


_SETTINGS = tuple(name for name in SETTINGS if name not in {"options", "content"})
"""Keys of a recipe; a method's options are given by their own names."""


def changes_of(settings: Mapping[str, Any], *, only: bool = False) -> dict[str, Any]:
    """Return those settings that are keys of a recipe, checked as a recipe file is."""
    given = {name: settings[name] for name in settings if name in _SETTINGS}
    if only and (others := sorted(settings.keys() - given.keys())):
        message = f"a recipe has its own hyperparameters; {others[0]!r} cannot be given beside it"
        raise RecipeError(message)
    return read_settings({name: _node(value, name) for name, value in given.items()})


def _node(value: Any, name: str) -> Node:
    if isinstance(value, (list, tuple)):
        value = [_node(item, name) for item in value]
    elif isinstance(value, Mapping):
        value = {key: _node(item, key) for key, item in value.items()}
    return Node(value, 0, None, name)


def _lora(lora: PathLike | tuple[PathLike, Any]) -> tuple[str, Any]:
    path, weight = (lora, None) if isinstance(lora, (str, Path)) else lora
    return str(as_path(path)), weight


def parts_of(vae: PathLike | None, encoders: Sequence[PathLike]) -> list[tuple[str, str]]:
    """Return component and file of each part that another file gives."""
    given = [("vae", vae)] if vae is not None else []
    given += [("text_encoder", path) for path in encoders]
    return [(component, str(as_path(path))) for component, path in given]


def _is_file(word: str) -> bool:
    """Tell whether what is merged is a recipe or a merged model, and no method."""
    from bmerge.foreign import is_merged_file

    return word.lower().endswith(_RECIPES) or is_merged_file(as_path(word))


def _check_nothing_else(what: object, **names: object) -> None:
    for name, given in names.items():
        if given:
            raise RecipeError(f"a recipe names its own files; leave {name} out beside {what}")
