"""Rules that put keys into blocks: the first that matches decides."""

from __future__ import annotations

from collections.abc import Sequence

from bmerge.architectures.patterns import compiled, starts_of
from bmerge.records import dataclass

__all__ = ["Rule", "Ruled"]

_KNOWN = 1 << 16
"""Keys whose block is remembered at most, and starts whose rules are."""
_PARTS = 3
"""Parts of a start: two may be the prefix of a picture model."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Keys that start in a certain way belong to a certain block.

    Args:
        key: how they start, for example ``~input_blocks.{i}.``; the notation is that of
            :mod:`bmerge.architectures.patterns`.
        block: the block's id, with ``{i}`` or ``{i:02}`` for that number.
    """

    key: str
    block: str

    def match(self, key: str) -> str | None:
        """Return the block of ``key``, or None if this rule does not speak of it."""
        if not key.startswith(starts_of(self.key)):
            return None
        found = compiled(self.key).match(key)
        if found is None:
            return None
        number = found["i"] if "{i}" in self.key else None
        return self.block if number is None else self.block.format(i=int(number))

    def may_match(self, start: str) -> bool:
        """Tell whether this rule may speak of some key that starts so."""
        starts = starts_of(self.key)
        return start.startswith(starts) or any(own.startswith(start) for own in starts)


class Ruled:
    """What rules say of keys.

    Few rules speak of keys that start alike, so which do is found out once for all of these.

    Args:
        rules: in their order; the last matches every key.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        self._known: dict[str, str] = {}
        self._likely: dict[str, list[Rule]] = {}

    def block_of(self, key: str) -> str:
        """Return the block of a key."""
        block = self._known.get(key)  # planning a merge asks for each key several times
        if block is None:
            block = self._look(key)
            if len(self._known) < _KNOWN:
                self._known[key] = block
        return block

    def _look(self, key: str) -> str:
        for rule in self._speaking_of(key):
            block = rule.match(key)
            if block is not None:
                return block
        raise AssertionError("the last rule matches every key")

    def _speaking_of(self, key: str) -> Sequence[Rule]:
        """Return the rules that may match keys which start as one does."""
        start = ".".join(key.split(".", _PARTS)[:_PARTS])
        likely = self._likely.get(start)
        if likely is None:
            likely = [rule for rule in self._rules if rule.may_match(start)]
            if len(self._likely) < _KNOWN:
                self._likely[start] = likely
        return likely
