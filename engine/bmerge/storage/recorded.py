"""Entries of a study's definition that releases after the first have added.

Each is None where a release did not record it, and is not stored then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from bmerge.recipe.dump import plugin_data
from bmerge.recipe.schema import PluginRef
from bmerge.records import dataclass
from bmerge.storage.sections import ArchitectureDefinition, Plain

__all__ = ["Recorded"]

_TRIED = "weights of try"
_WARM = "warm start"


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a study file only names, or does not say at all, and results depend on.

    Args:
        files: name of a file in the payloads → its content's hash.
        bmerge: the release that began the study.
        plugins: that are loaded for it.
        architecture: of the models.
        tried: block weights, or the recipe, of each attempt.
        warm: points of the space that another study found best.
        choose: contents and code of each merge that can be chosen.
    """

    files: Mapping[str, str] | None = None
    bmerge: str | None = None
    plugins: tuple[PluginRef, ...] | None = None
    architecture: ArchitectureDefinition | None = None
    tried: tuple[Plain, ...] | None = None
    warm: tuple[Mapping[str, float], ...] | None = None
    choose: tuple[Plain, ...] | None = None

    KEYS: ClassVar = ("files", "bmerge", "plugins", "architecture", _TRIED, _WARM, "choose")
    """By which they are stored."""

    @classmethod
    def from_json(cls, known: Mapping[str, Any]) -> Recorded:
        """Return the entries of a stored definition, or raise what reading other data raises."""
        plugins, place = known.get("plugins"), known.get("architecture")
        return cls(
            files=known.get("files"),
            bmerge=known.get("bmerge"),
            plugins=None if plugins is None else tuple(PluginRef(**each) for each in plugins),
            architecture=None if place is None else ArchitectureDefinition.from_json(place),
            tried=_tuple(known.get(_TRIED)),
            warm=_tuple(known.get(_WARM)),
            choose=_tuple(known.get("choose")),
        )

    def to_json(self) -> dict[str, Any]:
        """Return what :meth:`from_json` reads."""
        return {key: value for key, value in self._entries() if value is not None}

    def _entries(self) -> Iterator[tuple[str, Any]]:
        yield "files", self.files
        yield "bmerge", self.bmerge
        yield "plugins", None if self.plugins is None else [*map(plugin_data, self.plugins)]
        yield "architecture", self.architecture and self.architecture.to_json()
        for key, rows in ((_TRIED, self.tried), (_WARM, self.warm), ("choose", self.choose)):
            yield key, None if rows is None else list(rows)


def _tuple(stored: Sequence[Any] | None) -> tuple[Any, ...] | None:
    return None if stored is None else tuple(stored)
