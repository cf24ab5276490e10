"""The sections of a study's definition: the merge, the plugins, the architecture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, fields
from typing import Any

from bmerge.records import dataclass
from bmerge.space.expected import mapping, number, text

__all__ = [
    "ArchitectureDefinition",
    "GeneratorDefinition",
    "MergeDefinition",
    "OptimiserDefinition",
    "Plain",
    "ScorerDefinition",
]

Plain = Mapping[str, Any]
"""A mapping that survives JSON unchanged."""


@dataclass(frozen=True, slots=True)
class MergeDefinition:
    """The merge of a study.

    Args:
        method: its name.
        models: SHA-256 of each input, followed by those of its LoRAs with their weights.
        code: where a plugin's method comes from, with the hash of its code.
        codes: the same for each step of a merge of steps.
        others: the other keys of a recipe, which are compared and not read.
    """

    method: str
    models: tuple[str, ...]
    code: str | None = None
    codes: Mapping[str, Plain] | None = None
    others: Plain = field(default_factory=dict)

    @classmethod
    def from_json(cls, stored: Any) -> MergeDefinition:
        """Return a stored merge, or raise what reading other data raises."""
        known = mapping(stored, "merge")
        return cls(
            text(known["method"], "merge.method"),
            tuple(text(each, "merge.models") for each in known["models"]),
            known.get("code"),
            known.get("codes"),
            _others(cls, known),
        )

    def to_json(self) -> dict[str, Any]:
        """Return what :meth:`from_json` reads."""
        merge = {"method": self.method, "models": list(self.models), **self.others}
        return merge | _recorded(code=self.code, codes=self.codes)


@dataclass(frozen=True, slots=True)
class GeneratorDefinition:
    """What makes the pictures of a study.

    Args:
        name: of the plugin's generator.
        options: on which pictures depend, files with their hashes; None as long as bmerge did not
            record them.
        code: where it comes from, with the hash; None of bmerge's own.
        others: what another release recorded of it.
    """

    name: str
    options: Plain | None = None
    code: str | None = None
    others: Plain = field(default_factory=dict)

    @classmethod
    def from_json(cls, stored: Any) -> GeneratorDefinition:
        """Return a stored generator, which was a bare name once."""
        if isinstance(stored, str):
            return cls(stored)
        known = mapping(stored, "generator")
        name = text(known["name"], "generator.name")
        return cls(name, known.get("options"), known.get("code"), _others(cls, known))

    def to_json(self) -> dict[str, Any]:
        """Return what :meth:`from_json` reads."""
        return {"name": self.name, **_recorded(options=self.options, code=self.code), **self.others}


@dataclass(frozen=True, slots=True)
class ScorerDefinition:
    """What judges the pictures of a study.

    Args:
        name: of the plugin's scorer.
        label: by which its scores are stored and shown.
        weight: of its mean in the objective.
        only: patterns of ids and tags of the payloads that it judges; empty for all.
        options: on which scores depend, files with their hashes.
        code: where it comes from, with the hash; None of bmerge's own.
        weights: place of a file of weights → its hash; None where it has none.
        others: what another release recorded of it.
    """

    name: str
    label: str
    weight: float
    only: tuple[str, ...] = ()
    options: Plain = field(default_factory=dict)
    code: str | None = None
    weights: Mapping[str, str] | None = None
    others: Plain = field(default_factory=dict)

    @classmethod
    def from_json(cls, stored: Any) -> ScorerDefinition:
        """Return a stored scorer, or raise what reading other data raises."""
        known = mapping(stored, "scorers")
        return cls(
            text(known["name"], "scorers.name"),
            text(known["label"], "scorers.label"),
            number(known["weight"], "scorers.weight"),
            tuple(known.get("only", ())),
            mapping(known.get("options", {}), "scorers.options"),
            known.get("code"),
            known.get("weights"),
            _others(cls, known),
        )

    def to_json(self) -> dict[str, Any]:
        """Return what :meth:`from_json` reads."""
        own = {"name": self.name, "label": self.label, "weight": self.weight}
        more = _recorded(code=self.code, weights=self.weights)
        return {**own, "only": list(self.only), "options": self.options, **more, **self.others}


@dataclass(frozen=True, slots=True)
class OptimiserDefinition:
    """What proposes the merges of a study; how many is not part of its definition.

    Args:
        name: of the plugin's optimiser.
        seed: of the initial design and of the optimiser.
        init: the design of the initial points.
        init_points: how many of them.
        options: on which proposals depend.
        code: where it comes from, with the hash; None of bmerge's own.
        others: what another release recorded of it.
    """

    name: str
    seed: int
    init: str
    init_points: int
    options: Plain = field(default_factory=dict)
    code: str | None = None
    others: Plain = field(default_factory=dict)

    @classmethod
    def from_json(cls, stored: Any) -> OptimiserDefinition:
        """Return a stored optimiser, or raise what reading other data raises."""
        known = mapping(stored, "optimiser")
        return cls(
            text(known["name"], "optimiser.name"),
            number(known["seed"], "optimiser.seed"),
            text(known["init"], "optimiser.init"),
            number(known["init_points"], "optimiser.init_points"),
            mapping(known.get("options", {}), "optimiser.options"),
            known.get("code"),
            _others(cls, known),
        )

    def to_json(self) -> dict[str, Any]:
        """Return what :meth:`from_json` reads."""
        own = {"name": self.name, "seed": self.seed, "init": self.init}
        more = {"init_points": self.init_points, "options": self.options}
        return {**own, **more, **_recorded(code=self.code), **self.others}


@dataclass(frozen=True, slots=True)
class ArchitectureDefinition:
    """Which block each tensor of a study's models belongs to.

    Args:
        id: of the architecture.
        blocks: hash of the map of keys to blocks.
        code: where it comes from, with the hash; None of bmerge's own.
        others: what another release recorded of it.
    """

    id: str
    blocks: str
    code: str | None = None
    others: Plain = field(default_factory=dict)

    @classmethod
    def from_json(cls, stored: Any) -> ArchitectureDefinition:
        """Return a stored architecture, or raise what reading other data raises."""
        known = mapping(stored, "architecture")
        name, blocks = text(known["id"], "architecture.id"), text(known["blocks"], "blocks")
        return cls(name, blocks, known.get("code"), _others(cls, known))

    def to_json(self) -> dict[str, Any]:
        """Return what :meth:`from_json` reads."""
        return {"id": self.id, "blocks": self.blocks, **_recorded(code=self.code), **self.others}


def _recorded(**values: object) -> dict[str, Any]:
    """Return the values that were recorded."""
    return {name: value for name, value in values.items() if value is not None}


def _others(kind: type, known: Plain) -> dict[str, Any]:
    """Return the entries that are not fields of a record."""
    own = {each.name for each in fields(kind)} - {"others"}
    return {name: value for name, value in known.items() if name not in own}
