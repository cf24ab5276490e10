"""Many merges of the same inputs with different weights: what a study needs.

Tables of contents and the matching of tensors are computed once. A live model gets only those
tensors again whose job has changed since the last merge into it, and so does a file that was lent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias

from bmerge.architectures import Architecture
from bmerge.executors import Executor, ProgressCallback
from bmerge.formats import Checkpoint
from bmerge.formats.unchanged import Unchanged
from bmerge.logs import logger
from bmerge.lora.patched import loras_of
from bmerge.pipeline.file import MergeReport, merge_to_file
from bmerge.pipeline.live import merge_into
from bmerge.pipeline.measure import Statistics
from bmerge.pipeline.trial_files import TrialFile, TrialFiles
from bmerge.pipeline.whole import models_of, whole_model
from bmerge.plan import Job, Matching, Methods, Plan, build_plan, match_tensors
from bmerge.recipe import BlockWeights, PluginRef, Recipe
from bmerge.temporaries import remove_left_over

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Merger", "TrialMerge"]

Merge: TypeAlias = "Mapping[str, BlockWeights] | int | Recipe"
"""Hyperparameters, the index of a model that is given as it is, or the recipe of another merge.

Hyperparameters of steps are called ``STEP.NAME``.
"""


class Merger:
    """Merges the same models again and again.

    Used from one thread. Of inputs that change while it lives nothing is made.

    Args:
        recipe: the merge; hyperparameters that a trial does not give are taken from it.
        method: the merge method that it names, or name → method if it has steps. For models as
            they are, ``weighted_sum`` must be among them.
        checkpoints: the inputs, in the order of its models.
        architecture: the block map.
        executor: runs the merges.
        scratch: folder for the files of trials; made when it is first needed.
        plugins_of_wholes: that models as they are need: without those of the method.
        plan_other: makes the plan of a recipe that is none of this merge; None where there are
            no others.
        on_start: called with the plan of each merge that is about to run.
        matching: of the recipe's tensors, if they are matched already.

    Raises:
        MethodError: if the method takes another number of models.
        ArchitectureError: if the inputs do not fit together.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        method: Methods,
        checkpoints: Sequence[Checkpoint],
        architecture: Architecture,
        executor: Executor,
        scratch: Path,
        plugins_of_wholes: tuple[PluginRef, ...] = (),
        plan_other: Callable[[Recipe], Plan] | None = None,
        on_start: Callable[[Plan], None] = lambda _: None,
        matching: Matching | None = None,
    ) -> None:
        self._plan_other = plan_other
        self._on_start = on_start
        self._recipe, self._plugins_of_wholes = recipe, plugins_of_wholes
        self._methods = method
        if matching is None:
            matching = match_tensors(recipe, checkpoints, architecture, method=method)
        self._matching = matching
        self._unchanged = Unchanged(_known(recipe, matching.checkpoints))
        self._wholes: dict[int, tuple[Recipe, Matching]] = {}
        self._executor = executor
        self._scratch = scratch
        self._live = _Live(executor, self._unchanged)
        self._files = TrialFiles(executor, scratch)
        self._statistics = Statistics(executor)
        remove_left_over(scratch)  # of studies that were killed

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of how the inputs fit together."""
        return self._matching.notes

    @property
    def scratch(self) -> Path:
        """The folder for the files of trials; it need not be there yet."""
        return self._scratch

    def size(self, merge: Merge) -> int:
        """Return the bytes of a merge's file, but for its header."""
        return self.plan(merge).nbytes_written

    def recipe(self, merge: Merge) -> Recipe:
        """Return the recipe of one merge; see :meth:`plan`."""
        if isinstance(merge, int):
            return self._whole(merge)[0]
        if isinstance(merge, Recipe):
            return merge
        return self._recipe.with_weights(merge)

    def plan(self, merge: Merge) -> Plan:
        """Return the plan of one merge.

        Args:
            merge: its hyperparameters; the index of a model that is given as it is, in the
                layout of all other merges; or the recipe of any other merge.

        Raises:
            MethodError: if the method has no such hyperparameter, or not with that value.
            RecipeError: if weights name a block that the architecture has not.
        """
        if isinstance(merge, int):
            recipe, matching = self._whole(merge)
            return build_plan(recipe, matching=matching)
        if isinstance(merge, Recipe):
            assert self._plan_other is not None, "this merger makes no other recipes"
            return self._plan_other(merge)
        return build_plan(self.recipe(merge), matching=self._matching)

    def model(self, merge: Merge) -> TrialMerge:
        """Return a merge that is carried out when it is asked for; see :meth:`plan`."""
        plan, known = self.plan(merge), self._statistics_of(merge)
        return TrialMerge(plan, self._live, self._files, known, self._on_start, self._unchanged)

    def write(
        self,
        merge: Merge,
        output: Path,
        *,
        progress: ProgressCallback | None = None,
    ) -> MergeReport:
        """Write one merge to a file that is kept; see :func:`bmerge.pipeline.merge_to_file`."""
        plan = self.plan(merge)
        self._on_start(plan)
        plan = self._statistics_of(merge).fill(plan, progress)
        report = merge_to_file(plan, output, executor=self._executor, progress=progress)
        for warning in report.warnings[len(plan.warnings) :]:
            logger(__name__).warning("%s: %s", output.name, warning)
        return report

    def close(self) -> None:
        """Remove what is kept of one trial for the next; there may be more of them."""
        self._files.close()

    def _statistics_of(self, merge: Merge) -> Statistics:
        """Return the statistics of a merge's models: those of another recipe are its own."""
        return Statistics(self._executor) if isinstance(merge, Recipe) else self._statistics

    def _whole(self, index: int) -> tuple[Recipe, Matching]:
        """Return the recipe of a model as it is, and its tensors matched with those it needs."""
        if index not in self._wholes:
            checkpoints, widest = self._matching.checkpoints, self._widest()
            needing = replace(self._recipe, plugins=self._plugins_of_wholes)
            recipe = whole_model(needing, index, widest)
            needed = [checkpoints[each] for each in models_of(index, widest)]
            architecture = self._matching.architecture
            matching = match_tensors(recipe, needed, architecture, method=self._methods)
            self._wholes[index] = recipe, matching
        return self._wholes[index]

    def _widest(self) -> int:
        """Return which model has all channels of a tensor that others have only some of."""
        split = next((m.widest for m in self._matching.matches if m.channels is not None), None)
        if split is None:
            return 0
        tables = [checkpoint.tensors for checkpoint in self._matching.checkpoints]
        return next(i for i, table in enumerate(tables) if table.get(split.key) == split)


def _known(
    recipe: Recipe, checkpoints: Sequence[Checkpoint]
) -> Iterator[tuple[Checkpoint, str | None]]:
    """Yield the models and LoRAs of a recipe, each with the hash by which it knows them."""
    for model, checkpoint in zip(recipe.models, checkpoints, strict=True):
        yield checkpoint, model.sha256
        for ref, applied in zip(model.loras, loras_of(checkpoint), strict=True):
            yield applied.lora.checkpoint, ref.sha256


class _Live:
    """What was last merged into which live model."""

    def __init__(self, executor: Executor, unchanged: Unchanged) -> None:
        self._executor, self._unchanged = executor, unchanged
        self._state_dict: Mapping[str, Any] | None = None
        self._written: dict[str, tuple[Job, Any]] = {}

    def merge(self, plan: Plan, state_dict: Mapping[str, Any]) -> None:
        """Merge what differs from the last merge into the same mapping."""
        known = self._written if self._state_dict is state_dict else {}
        current = {job.key: (job, state_dict.get(job.key)) for job in plan.jobs}
        changed = {key for key, made in current.items() if not _same(known.get(key), made)}
        self._state_dict, self._written = None, {}  # in case the merge fails half-way
        if changed:
            merge_into(plan.only(changed), state_dict, executor=self._executor)
            self._unchanged.check()
        self._state_dict, self._written = state_dict, current


def _same(before: tuple[Job, Any] | None, now: tuple[Job, Any]) -> bool:
    """Tell whether the same job was done for the same tensor object."""
    return before is not None and before[1] is now[1] and before[0] == now[0]


class TrialMerge:
    """One merge, carried out in the form that is asked for: a live or a written model.

    A context manager; made by :meth:`Merger.model`. See
    :class:`bmerge.evaluate.protocols.MergedModel`.
    """

    def __init__(
        self,
        plan: Plan,
        live: _Live,
        files: TrialFiles,
        statistics: Statistics,
        on_start: Callable[[Plan], None],
        unchanged: Unchanged,
    ) -> None:
        self.plan = plan
        self._unchanged = unchanged
        self._on_start = on_start
        self._statistics = statistics
        self._live, self._files = live, files
        self._file: TrialFile | None = None
        self._lent = True
        self.seconds = 0.0
        """That merging has taken so far."""

    def into(self, state_dict: Mapping[str, Any]) -> None:
        """Merge into live tensors; only what changed since the last trial is computed.

        Raises:
            ExecutorError: if a key is missing there or has another shape, or the merge fails.
            RecipeError: if an input has changed.
        """
        self._on_start(self.plan)
        with self._counted():
            self._live.merge(self._statistics.fill(self.plan), state_dict)

    def layout(self) -> Mapping[str, tuple[int, ...]]:
        """Return the shape of every tensor of the merge, by key."""
        return {output.key: output.shape for output in self.plan.outputs}

    def file(self, *, lent: bool = False) -> Path:
        """Return a file of the merge, written at the first call and taken back by ``close``.

        Args:
            lent: whether the next trial's file may be made of it then.

        Raises:
            ExecutorError: if it cannot be written.
            RecipeError: if an input has changed.
        """
        self._lent = self._lent and lent
        if self._file is None:
            self._on_start(self.plan)
            with self._counted():
                self._file = self._written()
        return self._file.path

    def _written(self) -> TrialFile:
        file = self._files.write(self._statistics.fill(self.plan))
        try:
            self._unchanged.check()
        except BaseException:
            self._files.let_go(file, lent=False)
            raise
        return file

    @contextmanager
    def _counted(self) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - start

    def close(self) -> None:
        """Let the file go, if there is one."""
        if self._file is not None:
            self._files.let_go(self._file, lent=self._lent)
            self._file = None

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()
