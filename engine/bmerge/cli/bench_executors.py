"""``bmerge bench executors``: one merge by each executor that this machine has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import click

from bmerge.bench import Cost, Where, measure
from bmerge.cli.completing import complete_method
from bmerge.cli.executor import some_executor_options
from bmerge.cli.merge_parsing import is_recipe
from bmerge.cli.output import human_bytes, json_option, print_json, print_table
from bmerge.cli.session import Session, shared_options
from bmerge.errors import ExecutorError
from bmerge.executors import ExecutorName, ExecutorOptions
from bmerge.executors.probe import SystemProbe
from bmerge.host import Registry
from bmerge.host.merges import open_models, plan_merge
from bmerge.recipe import ModelRef, Recipe, load_recipe
from bmerge.temporaries import temporary_folder

__all__ = ["command"]


@click.command("executors")
@click.argument("method", shell_complete=complete_method)
@click.argument("models", nargs=-1)
@click.option(
    "--repeats",
    type=click.IntRange(1),
    default=3,
    metavar="N",
    help="How often a merge of less than a second is repeated; default: 3.",
)
@click.option(
    "--scratch",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    metavar="DIR",
    help="Where the merged files go, one at a time; default: the system's temporary folder.",
)
@some_executor_options("threads", "memory")
@json_option()
@shared_options
@click.pass_obj
def command(
    session: Session,
    *,
    method: str,
    models: tuple[str, ...],
    repeats: int,
    scratch: Path | None,
    where: ExecutorOptions,
    as_json: bool,
) -> None:
    """Time one merge by each executor: native, torch on the CPU, torch on a GPU.

    METHOD is one of `bmerge methods`, which merges MODELS at its defaults, or a recipe file. Each
    merge runs in a process of its own, whose start is not part of the time. The files are written
    without waiting for the disk.

    \b
    Examples:
      bmerge bench executors weighted_sum a.safetensors b.safetensors
      bmerge bench executors recipe.yaml --scratch /fast/disk --json
    """
    recipe = _recipe(method, models, session.registry())
    plugins, blocked = tuple(session.plugins), tuple(session.blocked)
    rows: list[tuple[str, Cost | None, str | None]] = []
    with temporary_folder("bench", scratch) as folder:
        for name, device in _executors():
            label = name if device is None else f"{name} ({device})"
            try:
                options = replace(where, executor=name, device=device)
                place = Where(options, plugins, blocked)
                rows.append((label, measure(recipe, place, folder, repeats=repeats), None))
            except ExecutorError as error:
                rows.append((label, None, str(error)))
    _print(rows, as_json=as_json)


def _recipe(method: str, models: tuple[str, ...], registry: Registry) -> Recipe:
    """Return the merge with absolute paths, once it is known to be possible."""
    if is_recipe(method) and models:
        raise click.UsageError(f"a recipe names its own models; leave {models[0]!r} out")
    folder = Path(method).parent if is_recipe(method) else Path()
    if is_recipe(method):
        recipe = load_recipe(Path(method))
    else:
        found = registry.method(method)
        found.check_models(len(models))
        recipe = Recipe(found.name, tuple(ModelRef(model) for model in models))
    plan_merge(recipe, open_models(recipe.models, folder), registry, folder=folder)
    return replace(recipe, models=tuple(_absolute(model, folder) for model in recipe.models))


def _absolute(model: ModelRef, folder: Path) -> ModelRef:
    def path(text: str) -> str:
        return str((folder / Path(text).expanduser()).absolute())

    loras = tuple(replace(lora, path=path(lora.path)) for lora in model.loras)
    return replace(model, path=path(model.path), loras=loras)


def _executors() -> Iterator[tuple[ExecutorName, str | None]]:
    yield "native", None
    yield "torch", "cpu"
    if SystemProbe().memory("cuda") is not None:
        yield "torch", "cuda"


def _print(rows: Sequence[tuple[str, Cost | None, str | None]], *, as_json: bool) -> None:
    if as_json:
        empty = dict.fromkeys(Cost.__dataclass_fields__)
        print_json(
            [
                {**(asdict(cost) if cost else empty), "executor": label, "reason": reason}
                for label, cost, reason in rows
            ]
        )
        return
    print_table(
        ("executor", "seconds", "CPU", "peak", "rate"),
        [_cells(label, cost, reason) for label, cost, reason in rows],
    )


def _cells(label: str, cost: Cost | None, reason: str | None) -> tuple[str, ...]:
    if cost is None:
        return label, "-", "-", "-", reason or ""
    peak = human_bytes(cost.peak) if cost.peak else "-"
    rate = f"{human_bytes(cost.nbytes / max(cost.seconds, 1e-9))}/s"
    return label, f"{cost.seconds:.3f}", f"{cost.cpu:.3f}", peak, rate
