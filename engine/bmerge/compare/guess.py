"""Fitted weights in the words of merge methods, where they are those of one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import permutations

from bmerge.compare.made_of import MadeOf

__all__ = ["guess"]

_NEAR = 0.02
_ENOUGH = 0.98
"""Share of the child's distance that parents must explain; rounding leaves the rest."""


def guess(made: MadeOf, names: Sequence[str]) -> str:
    """Return one sentence: the method and its weights, or what is against one.

    Args:
        made: the fits.
        names: of the parents.
    """
    share = f"{100 * made.explained:.4g} %"
    if made.total.same:
        return "the parents do not differ in what the child has"
    if made.explained < _ENOUGH:
        return f"not made of these alone: they explain {share} of its distance from the nearest"
    found = _method(made, names)
    if found is None:
        return f"a weighted sum of all of them explains {share}; no method of one weight does"
    method, order, alpha = found
    models = " ".join(names[index] for index in order)
    return f"most likely {method} {models} --alpha {_text(alpha)} (explains {share})"


def _method(
    made: MadeOf, names: Sequence[str]
) -> tuple[str, tuple[int, ...], Mapping[str, float]] | None:
    """Return a method's name, the order of its models, and its alpha in each block."""
    weights = {
        block: tuple(weight or 0.0 for weight in fit.weights)
        for block, fit in made.blocks.items()
        if not fit.same
    }
    if len(names) == 2:
        return "weighted_sum", (0, 1), {block: w[1] for block, w in weights.items()}
    if len(names) != 3:
        return None
    for a, b, c in permutations(range(3)):
        fits = all(abs(w[a] - 1) < _NEAR and abs(w[b] + w[c]) < _NEAR for w in weights.values())
        if fits and sum(w[b] for w in weights.values()) > 0:
            return "add_difference", (a, b, c), {block: w[b] for block, w in weights.items()}
    return None


def _text(alpha: Mapping[str, float]) -> str:
    """Return the weights as ``--alpha`` takes them."""
    rounded = {block: f"{round(value, 3) + 0:g}" for block, value in alpha.items()}
    ((usual, _),) = Counter(rounded.values()).most_common(1)
    others = [f"{block}={value}" for block, value in rounded.items() if value != usual]
    return ",".join([*others, f"*={usual}"]) if others else usual
