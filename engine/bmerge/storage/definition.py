"""A study's definition: all that its results depend on, as it is stored with the study.

A resumed study must have the same, or the trials of before and after would not be comparable
(:mod:`bmerge.storage.unchanged` tells). How many trials there are is not part of it. JSON is only
at the edge: :meth:`StudyDefinition.from_json` understands what every release has stored.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, field, fields, replace
from pathlib import Path
from typing import Any

from bmerge.errors import redacted
from bmerge.evaluate.payloads import Witnesses
from bmerge.evaluate.protocols import Payload
from bmerge.records import dataclass
from bmerge.space.definition import SpaceDefinition
from bmerge.space.expected import mapping
from bmerge.space.space import SearchSpace
from bmerge.storage.recorded import Recorded
from bmerge.storage.sections import (
    GeneratorDefinition,
    MergeDefinition,
    OptimiserDefinition,
    Plain,
    ScorerDefinition,
)
from bmerge.study_file.config import StudyConfig
from bmerge.trials.objective import Objectives

__all__ = ["Ingredients", "StudyDefinition", "definition_of"]


@dataclass(frozen=True, slots=True)
class StudyDefinition:
    """All that a study's results depend on. None stands for what a release did not record.

    Args:
        merge: what is merged, and how.
        space: what is searched.
        payloads: the pictures of every trial.
        generator: what makes them.
        scorers: what judges them.
        objectives: what is maximised.
        optimiser: what proposes merges.
        baselines: whether the pure models and the centre of the space come first.
        attempts: merges that are tried next, as the study file has them.
        recorded: what the first release did not store yet.
        others: what another release recorded.
    """

    merge: MergeDefinition
    space: SpaceDefinition
    payloads: tuple[Payload, ...]
    generator: GeneratorDefinition
    scorers: tuple[ScorerDefinition, ...]
    objectives: Objectives
    optimiser: OptimiserDefinition
    baselines: bool = True
    attempts: tuple[Plain, ...] = ()
    recorded: Recorded = field(default_factory=Recorded)
    others: Plain = field(default_factory=dict)

    @classmethod
    def from_json(cls, stored: Any) -> StudyDefinition:
        """Return a stored definition, of this release or an earlier one.

        Raises:
            KeyError, TypeError, ValueError: if it is not one; see
                :func:`bmerge.space.expected.expected`.
        """
        known = mapping(stored, "the definition")
        payloads = tuple(map(_payload, known["payloads"]))
        return cls(
            merge=MergeDefinition.from_json(known["merge"]),
            space=SpaceDefinition.from_json(known["space"]),
            payloads=payloads,
            generator=GeneratorDefinition.from_json(known["generator"]),
            scorers=tuple(map(ScorerDefinition.from_json, known["scorers"])),
            objectives=replace(Objectives.of(known), witnesses=Witnesses.of(payloads)),
            optimiser=OptimiserDefinition.from_json(known["optimiser"]),
            baselines=known.get("baselines", True),
            attempts=tuple(known.get("try", ())),
            recorded=Recorded.from_json(known),
            others={key: value for key, value in known.items() if key not in _KEYS},
        )

    def to_json(self) -> dict[str, Any]:
        """Return what :meth:`from_json` reads."""
        return {
            "merge": self.merge.to_json(),
            "space": self.space.to_json(),
            "payloads": [{**asdict(each), "tags": list(each.tags)} for each in self.payloads],
            "generator": self.generator.to_json(),
            "scorers": [each.to_json() for each in self.scorers],
            **self.objectives.describe(),
            "optimiser": self.optimiser.to_json(),
            "baselines": self.baselines,
            "try": list(self.attempts),
            **self.recorded.to_json(),
            **self.others,
        }

    @property
    def of_evaluators(self) -> StudyDefinition:
        """The definition without what only the run that asks and tells has to know."""
        optimiser = OptimiserDefinition("", 0, "", 0)
        recorded = replace(self.recorded, tried=None, warm=None)
        return replace(self, attempts=(), recorded=recorded, optimiser=optimiser)


_KEYS = {
    *(each.name for each in fields(StudyDefinition)),
    *Objectives(()).describe(),
    *("try", *Recorded.KEYS),
} - {"attempts", "recorded", "others"}


@dataclass(frozen=True, slots=True)
class Ingredients:
    """What a study file only names, as plain data with hashes of contents.

    Args:
        method: of the merge: its ``code``, if that is a plugin's, or ``codes`` of its steps.
        generator: its ``options`` on which pictures depend, and its ``code``.
        scorers: the same of each scorer, and its ``weights``.
        optimiser: as of the generator.
        recorded: what stands in the definition as it is here.
    """

    method: Plain = field(default_factory=dict)
    generator: Plain = field(default_factory=dict)
    scorers: tuple[Plain, ...] = ()
    optimiser: Plain = field(default_factory=dict)
    recorded: Recorded = field(default_factory=Recorded)


def definition_of(
    config: StudyConfig,
    search: SearchSpace,
    models: Sequence[str],
    ingredients: Ingredients | None = None,
) -> StudyDefinition:
    """Return the definition of a study, the same as it is read again later.

    Args:
        config: the study file.
        search: its search space.
        models: identity of each input: the sha256 of its bytes.
        ingredients: what the file only names; options of plugins are taken from it alone,
            because an address or a batch size may change between runs.
    """
    named = ingredients or Ingredients()
    merge = asdict(replace(config.merge, models=()))
    optimiser = asdict(replace(config.optimiser, options={}))
    del optimiser["n_iters"], optimiser["limits"], optimiser["least_gain"]
    scorers = [asdict(replace(scorer, options={})) for scorer in config.scorers]
    sections = named.scorers or ({},) * len(scorers)
    definition = StudyDefinition(
        merge=MergeDefinition.from_json({**merge, "models": models, **named.method}),
        space=search.describe(),
        payloads=config.payloads,
        generator=GeneratorDefinition(config.generator.name, **named.generator),
        scorers=tuple(
            ScorerDefinition.from_json({**one, **more})
            for one, more in zip(scorers, sections, strict=True)
        ),
        objectives=config.objectives,
        optimiser=OptimiserDefinition.from_json({**optimiser, **named.optimiser}),
        baselines=config.baselines,
        attempts=tuple(each for each in config.attempts if not isinstance(each, Path)),
        recorded=named.recorded,
    )
    # A password may change between runs, and must not be stored: plugins may take addresses, too.
    plain = redacted(json.dumps(definition.to_json(), default=str))
    return StudyDefinition.from_json(json.loads(plain))


def _payload(stored: Any) -> Payload:
    known = mapping(stored, "payloads")
    return Payload(**{**known, "tags": tuple(known.get("tags", ()))})
