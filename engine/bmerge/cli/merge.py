"""``bmerge merge``: one merge, by a method or from a recipe file."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from bmerge.cli.completing import complete_method
from bmerge.cli.executor import executor_options
from bmerge.cli.merge_output import OutputOptions, output_options
from bmerge.cli.merge_parsing import MergeCommand, check_nothing_else, is_recipe, split_weight
from bmerge.cli.merge_parts import part_options
from bmerge.cli.merge_recipe import recipe_options
from bmerge.cli.merge_write import measure_text, show_written, write
from bmerge.cli.output import human_bytes, json_option, note, print_json, print_table, show, tell
from bmerge.cli.session import Session, shared_options
from bmerge.executors import ChosenExecutor, ExecutorOptions, choose_executor
from bmerge.host import Registry
from bmerge.host.named_merge import plan_of_method
from bmerge.plan import Plan, describe

__all__ = ["command"]

_SHOWN = 5


@click.command("merge", cls=MergeCommand)
@click.argument("method", required=False, shell_complete=complete_method)
@click.argument("models", nargs=-1)
@output_options
@click.option(
    "--lora",
    "loras",
    multiple=True,
    metavar="FILE[=WEIGHT]",
    help="Add a LoRA; WEIGHT is like a hyperparameter's value; may be repeated.",
)
@part_options
@recipe_options
@click.option(
    "--unverified",
    is_flag=True,
    help="Accept models and LoRAs that differ from those that the recipe was written for.",
)
@click.option(
    "--like",
    metavar="FILE",
    help="Repeat the merge that FILE records, and compare; without -o, nothing is kept.",
)
@click.option(
    "--search",
    "places",
    multiple=True,
    metavar="PATH",
    help="Where to look for the models of a merged file; may be repeated.",
)
@click.option("--dry-run", is_flag=True, help="Print the plan; write nothing.")
@click.option("--explain", is_flag=True, help="Say how it was done, and what was measured.")
@json_option()
@executor_options
@shared_options
@click.pass_obj
def command(
    session: Session,
    /,
    *,
    method: str | None,
    models: tuple[str, ...],
    to: OutputOptions,
    loras: tuple[str, ...],
    parts: tuple[tuple[str, str], ...],
    changes: Mapping[str, Any],
    unverified: bool,
    like: str | None,
    places: tuple[str, ...],
    dry_run: bool,
    explain: bool,
    as_json: bool,
    where: ExecutorOptions,
    **parameters: str | None,
) -> None:
    """Merge checkpoints once, by a method or from a recipe file.

    METHOD is one of `bmerge methods`; `bmerge merge METHOD --help` shows its hyperparameters,
    which are options by their own names. A value is a number, a value for some blocks, a list
    in the order of the architecture's blocks, or the name of a preset.

    \b
    Examples:
      bmerge merge weighted_sum a.safetensors b.safetensors --alpha 0.4 -o out.safetensors
      bmerge merge weighted_sum a.safetensors b.safetensors --alpha IN00-IN05=0.2,M00=1,*=0.5 \\
          -o out.safetensors --dry-run
      bmerge merge add_difference a.safetensors b.safetensors c.safetensors --alpha GRAD_V \\
          -o out.safetensors --dtype fp16
      bmerge merge add_difference model.safetensors --lora x.safetensors=0.8 \\
          --lora y.safetensors=-0.3 -o out.safetensors
      bmerge merge weighted_sum a.safetensors b.safetensors --vae vae-ft-mse.safetensors \\
          -o out.safetensors
      bmerge merge recipe.yaml -o out.safetensors
      bmerge merge recipe.yaml -o out/ --shard-size 5G
      bmerge merge recipe.mecha -o out.safetensors
      bmerge merge merged.safetensors -o again.safetensors
      bmerge merge --like merged.safetensors --search models/
    """
    if like is not None:
        from bmerge.cli.merge_like import check_only, repeat  # few merges are repeated

        check_only(method, loras, parts, changes, dry_run=dry_run, explain=explain)
        repeat(session, Path(like), places, to, where, unverified=unverified, as_json=as_json)
        return
    if method is None:
        raise click.UsageError("missing argument 'METHOD': a method, a recipe or a merged file")
    target = None if dry_run else to.target()
    if target is None and not dry_run:
        raise click.UsageError("missing option '-o': the file to write (or --dry-run)")
    if explain and dry_run:
        raise click.UsageError("--explain tells what a merge measured; --dry-run merges nothing")
    given = {name: value for name, value in parameters.items() if value is not None}
    registry = session.registry()
    with contextlib.ExitStack() as files:
        if is_recipe(method):
            from bmerge.host.recipe_source import RecipeSource  # all readers of recipes

            check_nothing_else(method, models, loras, parts, places)
            folders = tuple(map(Path, places))
            source = RecipeSource(Path(method), changes, registry, where, note, unverified, folders)
            plan = source.plan(target, files)
        elif unverified or places:
            option = "--unverified" if unverified else "--search"
            raise click.UsageError(f"{option} is for recipes, which may insist on files")
        else:
            named = [split_weight(word) for word in loras]
            plan = plan_of_method(
                method, models, registry, values=given, changes=changes, loras=named, parts=parts
            )
        choice = choose_executor(plan, options=where)
        tell(plan.notes, plan.warnings)
        note(choice.reason)
        if target is None:
            _print_plan(plan, choice, as_json=as_json)
        else:
            _merge(plan, choice, target, to, registry, explain=explain, as_json=as_json)


def _print_plan(plan: Plan, choice: ChosenExecutor, *, as_json: bool) -> None:
    data = {**describe(plan), "executor": choice.executor.name, "reason": choice.reason}
    if as_json:
        print_json(data)
        return
    show(f"method        {data['method']}")
    show(f"architecture  {data['architecture']}")
    for path, loras in zip(data["models"], data["loras"], strict=True):
        show(f"model         {' + '.join([path, *(lora['path'] for lora in loras)])}")
    for name, summary in data["steps"].items():
        show(f"step          {name}: {summary}")
    show(f"tensors       {data['merged']} merged, {data['copied']} copied")
    for entry in data["measured"]:
        show(f"measures      {measure_text(entry)}")
    show(f"reads         {human_bytes(data['bytes_read'])}")
    show(f"writes        {human_bytes(data['bytes_written'])}\n")
    names = list(plan.hyperparameters)
    rows = [
        (block, entry["tensors"], *(f"{entry[name]:g}" for name in names))
        for block, entry in data["blocks"].items()
    ]
    print_table(("block", "tensors", *names), rows)


def _merge(
    plan: Plan,
    choice: ChosenExecutor,
    target: Path,
    to: OutputOptions,
    registry: Registry,
    *,
    explain: bool,
    as_json: bool,
) -> None:
    report, seconds = write(plan, choice.executor, target, to, registry)
    show_written(plan, report, seconds, explain=explain, as_json=as_json)
