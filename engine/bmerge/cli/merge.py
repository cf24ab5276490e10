"""``bmerge merge``: one merge, by a method or from a recipe file."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from bmerge.cli.executor import ExecutorOptions, executor_options
from bmerge.cli.merge_loras import with_loras
from bmerge.cli.merge_output import OutputOptions, output_options
from bmerge.cli.merge_parsing import MergeCommand, is_recipe
from bmerge.cli.merge_parts import check_used, part_options
from bmerge.cli.merge_recipe import recipe_options
from bmerge.cli.merge_write import measure_text, write
from bmerge.cli.output import human_bytes, note, print_json, print_table, show, tell
from bmerge.cli.session import Session, shared_options
from bmerge.errors import RecipeError
from bmerge.executors import Choice
from bmerge.host import Registry
from bmerge.host.merges import architecture_of, open_models, plan_merge
from bmerge.method import option_text
from bmerge.pipeline import MergeReport
from bmerge.plan import Plan, describe
from bmerge.recipe import ModelRef, Recipe, load_presets, parse_weights, recipe_data, with_parts

__all__ = ["command"]

_SHOWN = 5


@click.command("merge", cls=MergeCommand)
@click.argument("method", required=False)
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
    help="Take models and LoRAs that are other files than the recipe was written for.",
)
@click.option(
    "--like",
    metavar="FILE",
    help="Merge what FILE tells again, and compare; without -o, nothing is left.",
)
@click.option(
    "--search",
    "places",
    multiple=True,
    metavar="PATH",
    help="A file or folder that the models of a merged file may be in; may be repeated.",
)
@click.option("--dry-run", is_flag=True, help="Print the plan; write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
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

        check_only(method, loras, parts, changes, dry_run=dry_run)
        repeat(session, Path(like), places, to, where, unverified=unverified, as_json=as_json)
        return
    if method is None:
        raise click.UsageError("missing argument 'METHOD': a method, a recipe or a merged file")
    target = None if dry_run else to.target()
    if target is None and not dry_run:
        raise click.UsageError("missing option '-o': the file to write (or --dry-run)")
    given = {name: value for name, value in parameters.items() if value is not None}
    registry = session.registry()
    with contextlib.ExitStack() as files:
        if is_recipe(method):
            from bmerge.cli.merge_source import RecipeSource, check_alone  # all readers of recipes

            check_alone(method, models, loras, parts, places)
            folders = tuple(map(Path, places))
            source = RecipeSource(Path(method), changes, registry, unverified, folders)
            plan = source.plan(target, where, files)
        elif unverified or places:
            option = "--unverified" if unverified else "--search"
            raise click.UsageError(f"{option} is for recipes, which may insist on files")
        else:
            plan = _plan_of_options(method, models, loras, parts, given, changes, registry)
        choice = where.choose(plan)
        tell(plan.notes, plan.warnings)
        note(choice.reason)
        if target is None:
            _print_plan(plan, choice, as_json=as_json)
        else:
            _merge(plan, choice, target, to, registry, as_json=as_json)


def _plan_of_options(
    method: str,
    models: Sequence[str],
    loras: Sequence[str],
    parts: Sequence[tuple[str, str]],
    given: Mapping[str, str],
    changes: Mapping[str, Any],
    registry: Registry,
) -> Plan:
    found = registry.method(method)
    refs = tuple(ModelRef(path) for path in models)
    if loras and refs:
        first = open_models(refs[:1], Path())
        blocks = architecture_of(changes.get("architecture"), first, registry)
        refs, given = with_loras(found, refs, loras, given, blocks)
    found.check_models(len(refs))
    choices = {
        option.name: choice
        for option in found.options
        for choice in option.choices
        if given.get(option.name) == option_text(choice)
    }
    hyperparameters = {name: text for name, text in given.items() if name not in choices}
    recipe = Recipe(found.name, refs, options=choices, **changes)
    checkpoints = open_models(recipe.models, Path())
    architecture = architecture_of(recipe.architecture, checkpoints, registry)
    weights = {}
    for name, value in hyperparameters.items():
        try:
            weights[name] = parse_weights(value, architecture, presets=load_presets())
        except RecipeError as error:
            raise RecipeError(f"--{name}: {error}", hint=error.hint) from error
    recipe = with_parts(replace(recipe, hyperparameters=weights), parts)
    others = open_models(recipe.models[len(checkpoints) :], Path())
    plan = plan_merge(recipe, (*checkpoints, *others), registry)
    check_used(plan, parts)
    return plan


def _print_plan(plan: Plan, choice: Choice, *, as_json: bool) -> None:
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
    choice: Choice,
    target: Path,
    to: OutputOptions,
    registry: Registry,
    *,
    as_json: bool,
) -> None:
    report, seconds = write(plan, choice.executor, target, to, registry)
    if as_json:
        print_json(_as_data(plan, report, seconds))
        return
    rate = human_bytes(report.nbytes / max(seconds, 1e-9))
    show(f"{report.output}  {human_bytes(report.nbytes)} in {seconds:.1f} s, {rate}/s")


def _as_data(plan: Plan, report: MergeReport, seconds: float) -> dict[str, Any]:
    execution = report.execution
    return {
        "output": str(report.output),
        "bytes": report.nbytes,
        "seconds": seconds,
        "executor": execution.executor,
        "bytes_read": execution.bytes_read,
        "bytes_written": execution.bytes_written,
        "bytes_copied": execution.bytes_copied,
        "nonfinite": [asdict(item) for item in execution.nonfinite],
        "notes": list(report.notes),
        "warnings": list(report.warnings),
        "recipe": recipe_data(plan.recipe),
    }
