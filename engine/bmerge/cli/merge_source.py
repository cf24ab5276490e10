"""The plan of ``bmerge merge FILE``: a recipe, or a merged file that tells its own."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from bmerge.architectures import Architecture
from bmerge.cli.executor import ExecutorOptions
from bmerge.cli.output import note
from bmerge.errors import RecipeError
from bmerge.foreign import is_merged_file, own_file, read_any_recipe
from bmerge.host import Registry
from bmerge.host.again import recipe_again
from bmerge.host.merges import architecture_of, open_models, plan_merge
from bmerge.pipeline import merge_to_file
from bmerge.plan import Plan
from bmerge.recipe import Recipe
from bmerge.temporaries import temporary_folder

__all__ = ["RecipeSource", "check_alone"]


def check_alone(
    file: str,
    models: Sequence[str],
    loras: Sequence[str],
    parts: Sequence[tuple[str, str]],
    places: Sequence[str],
) -> None:
    """Refuse what stands beside a file that says everything itself.

    Raises:
        UsageError: names the first of it.
    """
    if places and not is_merged_file(file):
        raise click.UsageError(f"--search is for what merged files name; {file!r} is none")
    if models and is_merged_file(file):
        raise click.UsageError(f"{file!r} is no merge method; 'bmerge methods' lists them")
    if models:
        raise click.UsageError(f"a recipe names its own models; {models[0]!r} is too much")
    if loras:
        raise click.UsageError(f"a recipe names its own LoRAs; {loras[0]!r} is too much")
    if parts:
        message = f"a recipe picks its own parts; {parts[0][1]!r} is too much"
        raise click.UsageError(f"{message}: a 'pick' step takes it")


@dataclass(frozen=True, slots=True)
class RecipeSource:
    """A file that says what to merge.

    Args:
        file: the file.
        changes: settings of the command line, which go before its own.
        registry: where names are looked up.
        unverified: whether files may be others than the recipe was written for.
        places: files and folders that the inputs of a merged file are looked for in.
    """

    file: Path
    changes: Mapping[str, Any]
    registry: Registry
    unverified: bool
    places: tuple[Path, ...] = ()

    def plan(
        self, target: Path | None, where: ExecutorOptions, files: contextlib.ExitStack
    ) -> Plan:
        """Return the plan.

        Args:
            target: what is to be written; inputs that have to be made again lie beside it.
            where: chooses what computes these.
            files: removes them.
        """
        recipe = self._again(target, where, files)
        if recipe is None:
            recipe = read_any_recipe(self.file, architecture_of=self._architecture)
        return self._planned(replace(recipe, **self.changes))

    def _again(
        self, target: Path | None, where: ExecutorOptions, files: contextlib.ExitStack
    ) -> Recipe | None:
        """Return the recipe of a file of bmerge; None if it is none."""
        if not is_merged_file(self.file):
            return None
        own = own_file(self.file, verified=not self.unverified, places=self.places)
        if own is None:
            return None

        def make(recipe: Recipe, output: Path, hashes: bool) -> None:  # noqa: FBT001
            if target is None:
                hint = "leave --dry-run out, or see 'bmerge recipe import'"
                message = f"{output.name} is gone and has to be made again first"
                raise RecipeError(message, path=self.file, hint=hint)
            plan = self._planned(recipe)
            note(f"{output.name} is gone: making it again first")
            executor = where.choose(plan).executor
            merge_to_file(plan, output, executor=executor, hashes=hashes, sync=False)

        place = target.parent if target is not None and target.parent.is_dir() else None
        return recipe_again(own, files.enter_context(temporary_folder("again", place)), make)

    def _planned(self, recipe: Recipe) -> Plan:
        self.registry.require(recipe.plugins, f"the recipe {self.file}")
        if self.unverified:
            recipe = recipe.unverified()
        folder = self.file.parent
        models = open_models(recipe.models, folder)
        return plan_merge(recipe, models, self.registry, folder=folder)

    def _architecture(self, recipe: Recipe) -> Architecture:
        self.registry.require(recipe.plugins, f"the recipe {self.file}")
        recipe = recipe.unverified() if self.unverified else recipe
        named = self.changes.get("architecture", recipe.architecture)
        models = open_models(recipe.models, self.file.parent)
        return architecture_of(named, models, self.registry)
