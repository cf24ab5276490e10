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
    from bmerge.architectures import Architecture

__all__ = ["bmerge_architectures"]


@hookimpl
def bmerge_architectures() -> Iterable[Architecture]:
    """Offer the block maps that come with bmerge."""
    from bmerge.architectures import builtin

    return builtin()
