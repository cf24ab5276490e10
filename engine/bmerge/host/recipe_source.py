"""The plan of a file that says what to merge: a recipe, or a merged file that tells its own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bmerge.architectures import Architecture
from bmerge.errors import RecipeError
from bmerge.executors import ExecutorOptions, choose_executor
from bmerge.foreign import is_merged_file, own_file, read_any_recipe
from bmerge.host.again import recipe_again
from bmerge.host.idle import noting_idle
from bmerge.host.merges import architecture_of, open_models, plan_merge
from bmerge.host.registry import Registry
from bmerge.pipeline import merge_to_file
from bmerge.plan import Plan
from bmerge.recipe import Recipe
from bmerge.records import dataclass
from bmerge.temporaries import temporary_folder

__all__ = ["RecipeSource"]


@dataclass(frozen=True, slots=True)
class RecipeSource:
    """A file that says what to merge.

    Args:
        file: the file.
        changes: settings that go before its own.
        registry: where names are looked up.
        where: how inputs are made that have to be made again.
        say: is told, in one line, that this is done.
        unverified: whether files may be others than the recipe was written for.
        places: files and folders that the inputs of a merged file are looked for in.
    """

    file: Path
    changes: Mapping[str, Any]
    registry: Registry
    where: ExecutorOptions
    say: Callable[[str], None]
    unverified: bool = False
    places: tuple[Path, ...] = ()

    def plan(self, target: Path | None, files: contextlib.ExitStack) -> Plan:
        """Return the plan.

        Args:
            target: what is to be written; inputs that have to be made again lie beside it.
            files: removes them.
        """
        recipe = self._again(target, files)
        if recipe is None:
            recipe = read_any_recipe(self.file, architecture_of=self._architecture)
        return noting_idle(self._planned(replace(recipe, **self.changes)), self.changes)

    def _again(self, target: Path | None, files: contextlib.ExitStack) -> Recipe | None:
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
            self.say(f"{output.name} is gone: making it again first")
            executor = choose_executor(plan, options=self.where).executor
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
