"""What bmerge itself offers, through the same hooks as any plugin.

Methods, optimisers, generators and scorers are files in ``plugins/`` with entry points of their
own. The block maps are data of :mod:`bmerge.architectures`, which cannot do without them; this
module hands them over.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from bmerge.host.hookspecs import hookimpl

if TYPE_CHECKING:
    from bmerge.architectures import Outline

__all__ = ["bmerge_architectures"]


@hookimpl
def bmerge_architectures() -> Iterable[Outline]:
    """Offer the block maps that come with bmerge, made when they are asked for."""
    from bmerge.architectures import outlines

    return outlines()
