"""The benchmark's run: references first, then each method at its defaults and tuned.

What is measured is in the folder before the next thing is begun: ``rows.jsonl`` holds the
finished rows, ``studies/`` the tunings, which are ordinary studies. The same call continues where
a killed one stopped; what failed is tried again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from bmerge.bench.benchmark import Benchmark
from bmerge.bench.cost import Cost, measure
from bmerge.bench.rows import MergeRow, MergeRows, Stage
from bmerge.bench.scene import Scene
from bmerge.errors import BmergeError, StudyError, StudyInterruptedError
from bmerge.host import Registry
from bmerge.host.studies import build_study
from bmerge.logs import logger
from bmerge.method import MergeMethod, merge_method
from bmerge.recipe import BlockWeights, ModelRef, Recipe
from bmerge.records import dataclass
from bmerge.storage.lock import FolderLock
from bmerge.storage.unchanged import check_unchanged
from bmerge.study.events import Event as StudyEvent
from bmerge.study.loop import run_study

__all__ = ["Event", "RowFinished", "RowStarted", "run_benchmark"]


@dataclass(frozen=True, slots=True)
class RowStarted:
    """A row is about to be measured.

    Args:
        name: of the method or the model.
        stage: of the row.
        position: of the method, from 1; references come with the first.
        total: how many methods there are.
    """

    name: str
    stage: Stage
    position: int
    total: int


@dataclass(frozen=True, slots=True)
class RowFinished:
    """A row was stored."""

    row: MergeRow


Event: TypeAlias = RowStarted | RowFinished | StudyEvent


@merge_method
def as_it_is(a: Any) -> Any:
    """Take a model as it is.

    Formula: a
    """
    return a


def run_benchmark(
    bench: Benchmark, registry: Registry, *, on_event: Callable[[Event], None] = lambda _: None
) -> list[MergeRow]:
    """Measure what has not been measured yet.

    Args:
        bench: what to compare.
        registry: where the study file's names are looked up.
        on_event: called from this thread with each event, a tuning study's own included.

    Returns:
        The rows: base, parents, then each method's.

    Raises:
        BmergeError: if the study file is wrong, the folder cannot be used, or even a model as
            it is cannot be painted and scored. What one method does is told in its row.
        StudyInterruptedError: after Ctrl-C; what is finished is stored.
    """
    definition = bench.definition(registry)
    try:
        bench.folder.mkdir(parents=True, exist_ok=True)
        lock = FolderLock(bench.folder)
    except OSError as error:
        raise StudyError(f"{bench.folder} cannot be made: {error.strerror}") from error
    scene = Scene(bench, registry)
    try:
        _check(bench, definition)
        run = _Run(bench, scene, MergeRows(bench.folder / "rows.jsonl"), on_event)
        return [*run.references(), *run.methods()]
    except KeyboardInterrupt as interrupt:
        message = f"interrupted; finished rows are stored in {bench.folder}"
        hint = "run the same command again to continue"
        raise StudyInterruptedError(message, hint=hint) from interrupt
    finally:
        scene.close()
        lock.close()


def _check(bench: Benchmark, definition: Mapping[str, Any]) -> None:
    """Keep the definition in the folder, and refuse to continue under another one."""
    file = bench.folder / "benchmark.json"
    if file.exists():
        stored = json.loads(file.read_text(encoding="utf-8"))
        check_unchanged(stored, definition, bench.folder, what="benchmark")
        return
    part = file.with_suffix(".part")
    part.write_text(json.dumps(definition, indent=1), encoding="utf-8")
    part.replace(file)


class _Run:
    """One process's work on a benchmark."""

    def __init__(
        self, bench: Benchmark, scene: Scene, rows: MergeRows, on_event: Callable[[Event], None]
    ) -> None:
        self.bench, self.scene, self.rows, self.on_event = bench, scene, rows, on_event
        self.position = 1

    def references(self) -> Iterator[MergeRow]:
        """Yield the rows of the models themselves; an error here is nobody's merge's."""
        models = self.bench.models
        if models.base is not None:
            yield self._reference("base", models.base)
        for parent in models.parents:
            yield self._reference("parent", parent)

    def _reference(self, stage: Stage, model: ModelRef) -> MergeRow:
        label = self.bench.models.label(model)
        row = self.rows.find(label, stage, "")
        if row is None:
            self._begin(label, stage)
            own = self.bench.config.merge
            recipe = replace(own, method=as_it_is.name, models=(model,), options={})
            row = MergeRow(label, stage, models=(label,), scores=self._scores(recipe, as_it_is))
            self._end(row)
        return row

    def methods(self) -> Iterator[MergeRow]:
        """Yield the rows of each method: one at its defaults, one tuned if it can be tuned."""
        for position, method in enumerate(self.bench.methods, start=1):
            self.position = position
            yield from self._method(method)

    def _method(self, method: MergeMethod) -> Iterator[MergeRow]:
        try:
            inputs = self.bench.models.of(method)
            digest = self.bench.identity(method, tuned=False)
        except BmergeError as error:
            row = MergeRow(method.name, "defaults", reason=str(error))
            self._begin(row.name, row.stage)
            self._end(row)
            yield row
            return
        labels = tuple(map(self.bench.models.label, inputs))
        row = self._row(MergeRow(method.name, "defaults", digest, labels), method, dict)
        yield row
        if self.bench.trials and method.hyperparameters and row.scores:
            digest = self.bench.identity(method, tuned=True)
            tuned = MergeRow(method.name, "tuned", digest, labels)
            yield self._row(tuned, method, lambda: self._tune(method, digest))

    def _row(
        self, row: MergeRow, method: MergeMethod, find: Callable[[], Mapping[str, BlockWeights]]
    ) -> MergeRow:
        """Return a stored row, or measure it; what goes wrong is its reason."""
        stored = self.rows.find(row.name, row.stage, row.identity)
        if stored is not None:
            return stored
        self._begin(row.name, row.stage)
        try:
            weights = find()
            row = replace(row, hyperparameters=weights)
            recipe = replace(self.bench.recipe(method), hyperparameters=weights)
            row = replace(row, scores=self._scores(recipe, method))
            row = replace(row, cost=self._cost(recipe))
        except StudyInterruptedError:
            raise
        except BmergeError as error:
            row = replace(row, reason=str(error))
        except Exception as error:  # noqa: BLE001  it is told
            logger(__name__).debug("%s failed", row.name, exc_info=True)
            row = replace(row, reason=f"{type(error).__name__}: {error}")
        self._end(row)
        return row

    def _tune(self, method: MergeMethod, digest: str) -> Mapping[str, BlockWeights]:
        """Return the best hyperparameters that a study of the method finds."""
        study = build_study(
            self.bench.tuning(method),
            self.scene.registry,
            folder=self.bench.folder / "studies" / f"{method.name}-{digest}",
            choose=self.bench.where.choose,
            evaluator=self.scene.tuner,
        )
        best = run_study(study, on_event=self.on_event, keep_best=False).best
        if best is None:
            raise StudyError("no trial of the tuning succeeded")
        return best.proposal.weights

    def _scores(self, recipe: Recipe, method: MergeMethod) -> dict[str, Mapping[str, float]]:
        shots = self.scene.paint(recipe, method)
        return {shot.picture.payload.id: dict(shot.scores) for shot in shots}

    def _cost(self, recipe: Recipe) -> Cost:
        return measure(recipe, self.bench.where, self.bench.scratch)

    def _begin(self, name: str, stage: Stage) -> None:
        self.on_event(RowStarted(name, stage, self.position, len(self.bench.methods)))

    def _end(self, row: MergeRow) -> None:
        self.rows.add(row)
        self.on_event(RowFinished(row))
