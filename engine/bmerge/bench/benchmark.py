"""What a benchmark compares, on which pictures: objects and data, nothing done yet."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from bmerge.bench.cost import Where
from bmerge.bench.models import BenchModels
from bmerge.evaluate.protocols import Payload
from bmerge.formats import in_one_layout
from bmerge.host import Registry
from bmerge.host.ingredients import payload_files, section_of
from bmerge.host.loras import add_loras
from bmerge.host.merges import architecture_of, open_models
from bmerge.host.studies import model_identity
from bmerge.method import MergeMethod
from bmerge.recipe import Recipe
from bmerge.records import dataclass
from bmerge.study_file.config import StudyConfig
from bmerge.study_file.space_entry import HyperparameterSpace

__all__ = ["Benchmark", "Per", "held_out"]

Per: TypeAlias = Literal["single", "block"]

_FIRST_SEED = 900_000


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark of merge methods.

    Args:
        config: a study file: generator, scorers, optimiser, and the pictures of the tuning.
        models: parents and base.
        methods: what is compared.
        folder: where everything is kept.
        pictures: held out from the tuning; all quality is measured on these.
        where: how merges are executed.
        trials: of each method's tuning; 0 leaves it out.
        per: what is tuned: one value of each hyperparameter, or one for each block or group of
            blocks.
    """

    config: StudyConfig
    models: BenchModels
    methods: tuple[MergeMethod, ...]
    folder: Path
    pictures: tuple[Payload, ...]
    where: Where
    trials: int = 12
    per: Per = "single"

    @property
    def scratch(self) -> Path:
        """Where merged files lie for as long as they are needed."""
        return self.config.executor.scratch or self.folder / "scratch"

    def definition(self, registry: Registry) -> dict[str, Any]:
        """Return all that every result depends on, as plain data.

        Raises:
            BmergeError: if a model cannot be read.
        """
        generator = self.config.generator
        merge = asdict(replace(self.config.merge, models=(), method="", options={}))
        models = self.models.all
        checkpoints = open_models(models, Path())
        architecture = architecture_of(self.config.merge.architecture, checkpoints, registry)
        partial = self.config.merge.partial_loras
        patched = add_loras(
            models, in_one_layout(checkpoints), architecture, Path(), partial=partial
        )
        definition = {
            "models": [model_identity(checkpoint) for checkpoint in patched],
            "base": self.models.base is not None,
            "merge": merge,
            "pictures": [asdict(payload) for payload in self.pictures],
            "generator": {
                "name": generator.name,
                **section_of(registry.generators, generator.name, generator.options),
            },
            "scorers": [
                {
                    **asdict(replace(scorer, options={})),
                    **section_of(registry.scorers, scorer.name, scorer.options),
                }
                for scorer in self.config.scorers
            ],
            "files": payload_files(self.pictures),
        }
        plain: dict[str, Any] = json.loads(json.dumps(definition, default=str))
        return plain

    def identity(self, method: MergeMethod, *, tuned: bool) -> str:
        """Return a digest of what a method computes, and of how it is tuned if it is.

        Results of another body, or of another tuning, are not its own.

        Raises:
            MethodError: if it needs other models than the benchmark's, or its body is wrong.
        """
        recipe = self.recipe(method)
        if method.opaque:
            file = inspect.getfile(inspect.unwrap(method.function))
            body = Path(file).read_text(encoding="utf-8")
        else:
            body = repr(method.graph(len(recipe.models), recipe.options))
        roles = [self.models.label(model) for model in recipe.models]
        parts = [body, method.hyperparameters, replace(recipe, models=()), roles]
        if tuned:
            parts += [self.trials, self.per, self.config.optimiser]
            parts += [self.config.payloads, self.config.objectives]
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]

    def recipe(self, method: MergeMethod) -> Recipe:
        """Return the merge of a method at its defaults.

        Raises:
            MethodError: if it needs other models than the benchmark's.
        """
        own = self.config.merge
        options = own.options if own.method in (method.name, *method.aliases) else {}
        return replace(own, method=method.name, models=self.models.of(method), options=options)

    def tuning(self, method: MergeMethod) -> StudyConfig:
        """Return the study that tunes a method: its defaults first, then the optimiser's."""
        optimised = self.trials // 2
        return replace(
            self.config,
            name=method.name,
            merge=self.recipe(method),
            space={h.name: self._space() for h in method.hyperparameters},
            optimiser=replace(
                self.config.optimiser,
                init_points=self.trials - 1 - optimised,
                n_iters=optimised,
            ),
            baselines=False,
            attempts=({h.name: h.default for h in method.hyperparameters},),
            storage=None,
        )

    def _space(self) -> HyperparameterSpace:
        if self.per == "single":
            return HyperparameterSpace(single=True)
        groups = next((s.groups for s in self.config.space.values() if s.groups), {})
        return HyperparameterSpace(groups=groups)


def held_out(payloads: Sequence[Payload], seeds: int) -> tuple[Payload, ...]:
    """Return the prompts of ``payloads`` with seeds that none of these has.

    Args:
        payloads: of the tuning.
        seeds: how many for each prompt.
    """
    known = {payload.seed for payload in payloads}
    fresh = [s for s in range(_FIRST_SEED, _FIRST_SEED + seeds + len(known)) if s not in known]
    return tuple(
        replace(prompt, id=f"h{index:02d}-s{seed}", seed=seed)
        for index, prompt in enumerate(_prompts(payloads))
        for seed in fresh[:seeds]
    )


def _prompts(payloads: Sequence[Payload]) -> Iterator[Payload]:
    """Yield the payloads that differ by more than id and seed."""
    seen = set()
    for payload in payloads:
        text = repr(replace(payload, id="", seed=0))
        if text not in seen:
            seen.add(text)
            yield payload
