"""``bmerge recipe``: recipes of other tools as recipes of bmerge."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from bmerge.architectures import Architecture
from bmerge.cli.output import show
from bmerge.cli.session import Session, shared_options
from bmerge.cli.targets import check_yaml_target, force_option, named_output
from bmerge.foreign import read_any_recipe
from bmerge.formats.target import write_file
from bmerge.host.merges import architecture_of, open_models
from bmerge.recipe import ModelRef, Recipe, dump_recipe

__all__ = ["command"]


@click.group("recipe")
@shared_options
def command() -> None:
    """Read recipes of other tools, and of merged files.

    \b
    Examples:
      bmerge recipe import merge.mecha -o recipe.yaml
    """


@command.command("import")
@click.argument("file")
@click.option("-o", "--output", metavar="FILE", help="The recipe to write; default: print it.")
@force_option
@shared_options
@click.pass_obj
def import_(session: Session, file: str, *, output: str | None, force: bool) -> None:
    """Turn another tool's recipe, or what a merged file tells, into a recipe of bmerge.

    FILE is a .mecha recipe of sd-mecha, a YAML file of mergekit, or a file that bmerge, sd-mecha,
    supermerger, Chattiori's merger or the AUTOMATIC1111 web UI has merged. `bmerge merge FILE`
    carries it out without a recipe in between. What has no counterpart here is an error.

    \b
    Examples:
      bmerge recipe import merge.mecha
      bmerge recipe import mergekit.yaml -o recipe.yaml
      bmerge recipe import merged.safetensors -o recipe.yaml
    """
    source = Path(file)
    if output is not None:
        check_yaml_target(named_output(output), "recipe", force=force)

    def find(recipe: Recipe) -> Architecture:
        session.registry().require(recipe.plugins, f"the recipe {source}")
        first = open_models(recipe.models[:1], source.parent)
        return architecture_of(recipe.architecture, first, session.registry())

    recipe = read_any_recipe(source, architecture_of=find)
    if output is None:
        show(dump_recipe(recipe), end="")
        return
    target = Path(output)
    if source.parent.resolve() != target.parent.resolve():
        recipe = _moved(recipe, source.parent)
    write_file(target, dump_recipe(recipe).encode())
    show(str(target))


def _moved(recipe: Recipe, folder: Path) -> Recipe:
    """Return a recipe that can be read from another folder."""
    place = folder.resolve()

    def moved(model: ModelRef) -> ModelRef:
        loras = tuple(replace(lora, path=str(place / lora.path)) for lora in model.loras)
        return replace(model, path=str(place / model.path), loras=loras)

    return replace(recipe, models=tuple(map(moved, recipe.models)))
