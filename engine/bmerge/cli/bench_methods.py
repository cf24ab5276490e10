"""``bmerge bench methods``: merge methods side by side on the same pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path

import click

from bmerge.bench import (
    Benchmark,
    BenchModels,
    Where,
    held_out,
    models_of,
    run_benchmark,
    summarise,
)
from bmerge.bench.benchmark import Per
from bmerge.bench.write import write_results
from bmerge.cli.bench_output import BenchProgress, facts_of, print_lines
from bmerge.cli.executor import executor_options
from bmerge.cli.output import json_option
from bmerge.cli.progress import LiveLine
from bmerge.cli.session import Session, shared_options
from bmerge.errors import RecipeError
from bmerge.executors import ExecutorOptions
from bmerge.host import Registry
from bmerge.method import MergeMethod
from bmerge.recipe import ModelRef
from bmerge.study_file.config import StudyConfig
from bmerge.study_file.load import load_study

__all__ = ["command"]

_FILE = click.Path(path_type=Path)


@click.command("methods")
@click.argument("study", metavar="[STUDY]", type=_FILE, required=False)
@click.option(
    "--method",
    "names",
    multiple=True,
    metavar="NAME",
    help="A method to compare; may be repeated; default: all there are.",
)
@click.option(
    "--model",
    "parents",
    multiple=True,
    type=_FILE,
    metavar="FILE",
    help="A model to merge instead of the study's; may be repeated.",
)
@click.option("--base", type=_FILE, metavar="FILE", help="The model that they were trained from.")
@click.option(
    "--trials",
    type=click.IntRange(0),
    default=12,
    metavar="N",
    help="Trials of each method's tuning, 0 for none; default: 12.",
)
@click.option(
    "--per",
    type=click.Choice(["single", "block"]),
    default="single",
    help="Tune one value of each hyperparameter, or one for each of the study's groups of blocks.",
)
@click.option(
    "--held-out",
    "seeds",
    type=click.IntRange(1),
    default=3,
    metavar="N",
    help="Seeds of each prompt that quality is measured with; default: 3.",
)
@click.option(
    "--out",
    type=_FILE,
    metavar="DIR",
    help="Where everything is kept; default: runs/NAME-methods, NAME of the study.",
)
@json_option()
@executor_options
@shared_options
@click.pass_obj
def command(
    session: Session,
    *,
    study: Path | None,
    names: tuple[str, ...],
    parents: tuple[Path, ...],
    base: Path | None,
    trials: int,
    per: Per,
    seeds: int,
    out: Path | None,
    as_json: bool,
    where: ExecutorOptions,
) -> None:
    """Compare merge methods: quality, time and memory of each.

    STUDY is a study file: its models, pictures, generator, scorers and optimiser are used; without
    it, those of the embedded demo. Each method merges at its defaults and after a short tuning.
    Quality is the study's objective on pictures with seeds that the tuning never saw, the same for
    all; the models themselves are painted too. The same command continues where it was, and a
    method that is new since then is added.

    \b
    Examples:
      bmerge bench methods
      bmerge bench methods study.yaml --base base.safetensors --trials 24
      bmerge bench methods --method weighted_sum --method mine --plugin mine.py
    """
    file = study or Path(str(resources.files("bmerge_plugins.demo") / "bench.yaml"))
    config = load_study(file)
    registry = session.registry()
    registry.add(config.plugins, file.parent)
    bench = Benchmark(
        config=config,
        models=_models(config, parents, base, registry),
        methods=_methods(names, registry),
        folder=out or Path("runs") / f"{config.name}-methods",
        pictures=held_out(config.payloads, seeds),
        where=Where(
            options=where.or_else(config.executor.options),
            plugins=tuple(str(ref.path) for ref in registry.files),
            blocked=tuple(session.blocked),
        ),
        trials=trials,
        per=per,
    )
    with LiveLine() as line:
        rows = run_benchmark(bench, registry, on_event=BenchProgress(line).on_event)
    lines = summarise(rows, bench.pictures, config.objectives)
    files = write_results(lines, bench.folder, facts_of(bench))
    print_lines(lines, files, as_json=as_json)


def _models(
    config: StudyConfig, parents: Sequence[Path], base: Path | None, registry: Registry
) -> BenchModels:
    """Return the study's models with what the options replace of them."""
    models = models_of(registry.method(config.merge.method), config.merge.models)
    if parents:
        models = BenchModels(tuple(_ref(path) for path in parents))
    models = replace(models, base=_ref(base)) if base else models
    if any(models.all.count(model) > 1 for model in models.all):
        raise RecipeError("a model is given twice")
    return models


def _ref(path: Path) -> ModelRef:
    return ModelRef(str(path.expanduser().absolute()))


def _methods(names: Sequence[str], registry: Registry) -> tuple[MergeMethod, ...]:
    found = [registry.method(name) for name in names or registry.methods]
    return tuple({method.name: method for method in found}.values())
