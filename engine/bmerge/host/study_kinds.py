"""The plugins that a study file names: found, their options checked, and constructed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from bmerge.errors import PluginError, StudyError
from bmerge.evaluate.evaluation import Evaluator
from bmerge.evaluate.protocols import DependentScorer, TrialScorer
from bmerge.evaluate.scoring import WeightedScorer
from bmerge.extras import require
from bmerge.host.ingredients import code_of, payload_files, section_of
from bmerge.host.numbers import methods_in, steps_of
from bmerge.host.registry import Registry
from bmerge.recipe import (
    PluginRef,
    Recipe,
)
from bmerge.space.protocols import Optimiser, ParameterKind, Space
from bmerge.storage.definition import Ingredients
from bmerge.storage.recorded import Recorded
from bmerge.study.prove import check_provable
from bmerge.study.racing import check_racing
from bmerge.study_file.config import StudyConfig
from bmerge.version import __version__

__all__ = ["StudyKinds", "methods_data"]

_WORDS: Mapping[ParameterKind, str] = {
    "float": "number",
    "log": "number on a logarithmic scale",
    "integer": "whole number",
    "categorical": "choice",
    "simplex": "weight of a simplex",
}


class StudyKinds:
    """The plugins that a study names, found and their options checked, not yet constructed."""

    def __init__(self, config: StudyConfig, registry: Registry) -> None:
        require(("optuna", "scipy", "numpy", "PIL", "jinja2"), "a study")
        self._config = config
        self._registry = registry
        self.methods = methods_in(config.merge, registry)
        self._optimiser = registry.optimiser(config.optimiser.name)
        self._generator = registry.generator(config.generator.name)
        self._scorers = [registry.scorer(scorer.name) for scorer in config.scorers]
        self._optimiser.check(config.optimiser.options)
        if len(config.objectives.sums) > 1 and not self._optimiser.several_objectives:
            able = [k.name for k in registry.optimisers.values() if k.several_objectives]
            message = f"the optimiser {self._optimiser.name!r} handles only one objective"
            raise PluginError(
                message, plugin=self._optimiser.name, hint=f"several: {', '.join(sorted(able))}"
            )
        if config.optimiser.least_gain is not None and not self._optimiser.foresees:
            able = [k.name for k in registry.optimisers.values() if k.foresees]
            message = f"the optimiser {self._optimiser.name!r} does not tell what it expects"
            hint = f"leave least_gain out, or take one that does: {', '.join(sorted(able))}"
            raise PluginError(message, plugin=self._optimiser.name, hint=hint)
        self._generator.check(config.generator.options)
        for kind, scorer in zip(self._scorers, config.scorers, strict=True):
            kind.check(scorer.options)

    def check_space(self, space: Space) -> None:
        """Refuse an optimiser that cannot propose values of every kind in the space."""
        for p in space.parameters:
            if p.kind not in self._optimiser.takes:
                kinds = self._registry.optimisers.values()
                able = sorted(k.name for k in kinds if p.kind in k.takes)
                who = f"the optimiser {self._optimiser.name!r}"
                message = f"{who} cannot propose a {_WORDS[p.kind]}, which {p.name} is"
                hint = f"these do: {', '.join(able)}"
                raise PluginError(message, plugin=self._optimiser.name, hint=hint)

    def plugins(self, of_merges: Iterable[PluginRef]) -> tuple[PluginRef, ...]:
        """Return all plugins but bmerge's own that take part, and those given by path."""
        config, registry = self._config, self._registry
        origins = [
            registry.generators.origin(config.generator.name),
            registry.optimisers.origin(config.optimiser.name),
            *(registry.scorers.origin(scorer.name) for scorer in config.scorers),
        ]
        refs = (ref for record in origins if record and (ref := record.ref))
        return tuple(dict.fromkeys((*of_merges, *refs, *registry.files)))

    def recorded(self, of_merges: Iterable[PluginRef]) -> Recorded:
        """Return what a definition records of plugins and payloads."""
        return Recorded(
            files=payload_files(self._config.payloads),
            bmerge=__version__,
            plugins=self.plugins(of_merges),
        )

    def ingredients(self, recorded: Recorded) -> Ingredients:
        """Return what the study file only names.

        Args:
            recorded: what the definition records beside the sections of plugins.
        """
        config, registry = self._config, self._registry
        generator, optimiser = config.generator, config.optimiser
        return Ingredients(
            method=methods_data(config.merge, registry),
            generator=section_of(registry.generators, generator.name, generator.options),
            scorers=tuple(section_of(registry.scorers, s.name, s.options) for s in config.scorers),
            optimiser=section_of(registry.optimisers, optimiser.name, optimiser.options),
            recorded=recorded,
        )

    def optimiser(self, space: Space, seed: int, budget: int, /) -> Optimiser:
        """Construct the optimiser."""
        return self._optimiser.create(space, seed, budget, options=self._config.optimiser.options)

    def evaluators(self) -> list[Evaluator]:
        """Construct the evaluators of all places; none stays open if one cannot be made."""
        generator = self._config.generator
        section = partial(section_of, self._registry.generators, generator.name)
        every = [{**generator.options, **options} for options in self._config.evaluators]
        for number, options in enumerate(every):
            self._generator.check(options)
            if section(options) != section(generator.options):
                message = f"evaluators[{number}] would make other pictures than the others"
                raise StudyError(message, hint="let only addresses, devices and the like differ")
        made: list[Evaluator] = []
        try:
            for options in every:
                made.append(self.evaluator(options))  # noqa: PERF401  those that are made count
        except BaseException:
            for each in made:
                each.close()
            raise
        return made

    def evaluator(self, options: Mapping[str, Any] | None = None) -> Evaluator:
        """Construct the scorers, then the generator: it alone must be closed.

        Args:
            options: of the generator; None takes the study file's.
        """
        if options is None:
            options = self._config.generator.options
        scorers = tuple(
            WeightedScorer(
                scorer.label,
                math.fsum(o.weights.get(scorer.label, 0.0) for o in self._config.objectives.sums),
                kind.create(options=scorer.options),
                scorer.only,
                scorer.name,
            )
            for kind, scorer in zip(self._scorers, self._config.scorers, strict=True)
        )
        weighted = any(s.weight for s in scorers if not isinstance(s.scorer, TrialScorer))
        for entry in scorers:
            if isinstance(entry.scorer, DependentScorer):
                entry.scorer.check_others(weighted=weighted)
        if self._config.confirm.pictures:
            check_provable(scorers)
        if self._config.racing == "on":
            check_racing(scorers, self._config.objectives)
        generator = self._generator.create(options=options)
        return Evaluator(generator, scorers, self._config.payloads, self._config.generator.name)


def methods_data(merge: Recipe, registry: Registry) -> dict[str, Any]:
    """Return the code of a merge's methods that are a plugin's: of its own, or step → code."""
    codes = {step.name: code_of(registry.methods, step.method) for step in steps_of(merge)}
    if not merge.steps:
        return codes.get("", {})
    return {"codes": own} if (own := {name: code for name, code in codes.items() if code}) else {}
