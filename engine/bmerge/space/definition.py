"""A search space as it is stored with a study: what is searched, and where it has an effect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from bmerge.records import dataclass
from bmerge.space.expected import mapping, number

__all__ = ["SpaceDefinition"]

_WORDS = ("categorical", "simplex")
"""Kinds of parameters whose values are not numbers for people."""


@dataclass(frozen=True, slots=True)
class SpaceDefinition:
    """A search space without what can be computed of it.

    Args:
        parameters: name → least and greatest value.
        blocks: hyperparameter → block → its frozen value, or the name of its parameter.
        layers: hyperparameter → pattern of keys → the name of its parameter.
        kinds: parameter that is not a plain number → its kind and its choices.
    """

    parameters: Mapping[str, tuple[float, float]]
    blocks: Mapping[str, Mapping[str, str | float]]
    layers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    kinds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def from_json(cls, stored: Any) -> SpaceDefinition:
        """Return a stored space.

        Raises:
            TypeError, ValueError, KeyError: if it is not one.
        """
        known = mapping(stored, "space")
        parts = {
            name: mapping(known.get(name, {}), f"space.{name}") for name in ("layers", "kinds")
        }
        return cls(
            parameters={
                name: (number(low, name), number(high, name))
                for name, (low, high) in mapping(known["parameters"], "space.parameters").items()
            },
            blocks=_maps(known["blocks"], "space.blocks"),
            layers=_maps(parts["layers"], "space.layers"),
            kinds={name: tuple(kind) for name, kind in parts["kinds"].items()},
        )

    def to_json(self) -> dict[str, Any]:
        """Return what :meth:`from_json` reads."""
        kinds = {name: list(kind) for name, kind in self.kinds.items()}
        return {
            "parameters": {name: list(ends) for name, ends in self.parameters.items()},
            "blocks": {name: dict(places) for name, places in self.blocks.items()},
            **({"layers": {k: dict(v) for k, v in self.layers.items()}} if self.layers else {}),
            **({"kinds": kinds} if kinds else {}),
        }

    @property
    def numbers(self) -> dict[str, tuple[float, float]]:
        """Parameter → range, of those that are numbers and not choices."""
        plain = ("float",)
        return {
            name: ends
            for name, ends in self.parameters.items()
            if self.kinds.get(name, plain)[0] not in _WORDS
        }

    def in_words(self, values: Mapping[str, float]) -> dict[str, Any]:
        """Return values of some parameters for people: of a choice, the word that is chosen."""
        found: dict[str, Any] = {}
        for name, value in values.items():
            kind, *words = self.kinds.get(name, ("float",))
            found[name] = words[int(value)] if kind == "categorical" else value
        return found


def _maps(stored: Any, name: str) -> dict[str, Mapping[str, Any]]:
    return {key: mapping(each, f"{name}.{key}") for key, each in mapping(stored, name).items()}
