"""The generator and the scorers of a benchmark: made once, for all methods and their tunings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from bmerge.bench.benchmark import Benchmark
from bmerge.evaluate.evaluation import Evaluator, ScoredPicture
from bmerge.evaluate.protocols import Generator, MergedModel, Payload, Picture
from bmerge.host import Registry
from bmerge.host.merges import inputs_of, open_models
from bmerge.host.studies import build_evaluator
from bmerge.pipeline import Merger
from bmerge.plan import Methods, build_plan, match_tensors
from bmerge.recipe import Recipe

__all__ = ["Scene"]


class Scene:
    """Merges, paints and scores; nothing is constructed before it is needed.

    Args:
        bench: of which.
        registry: where the study file's names are looked up.
    """

    def __init__(self, bench: Benchmark, registry: Registry) -> None:
        self._bench, self.registry = bench, registry
        self._evaluator: Evaluator | None = None

    @property
    def tuner(self) -> Evaluator:
        """The evaluator of tunings: the study file's pictures, a generator that stays open."""
        if self._evaluator is None:
            self._evaluator = build_evaluator(self._bench.config, self.registry)
        return replace(self._evaluator, generator=_KeptOpen(self._evaluator.generator))

    def paint(self, recipe: Recipe, method: Methods) -> list[ScoredPicture]:
        """Return a merge's held-out pictures with their scores.

        Each call has a merger of its own: it may not trust what an earlier one has left in the
        generator's live model.
        """
        scored: list[ScoredPicture] = []
        with (
            closing(self._merger(recipe, method)) as merger,
            merger.model(recipe.hyperparameters) as model,
        ):
            replace(self.tuner, payloads=self._bench.pictures).evaluate(model, scored.append)
        return scored

    def close(self) -> None:
        """Close the generator, if it was made."""
        if self._evaluator is not None:
            self._evaluator.close()

    def _merger(self, recipe: Recipe, method: Methods) -> Merger:
        opened = open_models(recipe.models, Path())
        inputs = inputs_of(recipe, opened, self.registry, Path())
        checkpoints, architecture = inputs.checkpoints, inputs.architecture
        matching = match_tensors(recipe, checkpoints, architecture, method=method)
        return Merger(
            recipe,
            method=method,
            checkpoints=checkpoints,
            architecture=architecture,
            executor=self._bench.where.choose(build_plan(recipe, matching=matching)),
            scratch=self._bench.scratch,
            matching=matching,
        )


class _KeptOpen:
    """A generator that a study may close and the next one still use."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator

    def load(self, model: MergedModel) -> None:
        """Take a merged model."""
        self._generator.load(model)

    def generate(self, payloads: Sequence[Payload]) -> Iterator[Picture]:
        """Yield one picture for each payload."""
        return self._generator.generate(payloads)

    def close(self) -> None:
        """Do nothing: the benchmark closes it."""
