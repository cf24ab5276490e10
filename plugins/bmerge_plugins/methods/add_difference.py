"""add_difference: one model plus what another one has learned."""

from __future__ import annotations

from collections.abc import Iterable

from bmerge import MergeMethod, Weight, hookimpl, merge_method, ops


@merge_method(aliases=("AD",))
def add_difference(
    a: ops.Tensor, b: ops.Tensor, c: ops.Tensor, *, alpha: Weight = 0.5
) -> ops.Tensor:
    """Add to a what b has learned beyond c.

    Formula: a + alpha * (b - c)

    For giving a model the style, subject or ability (inpainting, say) of b, where c is the
    model that b was trained from. The difference is kept in float32; tools that round it to the
    models' dtype lose small changes.

    Args:
        a: model that is added to.
        b: model that was trained from c.
        c: base of b, often of a too.
        alpha: how much of the difference; 1 is all of it.

    Source: Task arithmetic (Ilharco et al., 2022, arXiv:2212.04089); add_difference of sd-meh,
    "Add difference" of supermerger and the AUTOMATIC1111 web UI, AD of Chattiori's merger.
    """
    return a + alpha * (b - c)


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer the method."""
    return [add_difference]
