"""What tells the checkpoints of an architecture from others."""

from __future__ import annotations

from typing import NamedTuple

from bmerge.architectures.patterns import Contents

__all__ = ["Signs"]


class Signs(NamedTuple):
    """Conditions by which an architecture is recognised; see its fields of the same names."""

    detect: tuple[str, ...]
    absent: tuple[str, ...]
    layouts: tuple[tuple[str, ...], ...]

    def certainty(self, contents: Contents) -> int:
        """Return how many conditions a checkpoint fulfils; none, if it is of another one.

        What is absent does not count: it tells of others, not of this one.
        """
        if not contents.fulfil(f"!{pattern}" for pattern in self.absent):
            return 0
        layouts = (layout for layout in (self.detect, *self.layouts) if contents.fulfil(layout))
        return max(map(len, layouts), default=0)
