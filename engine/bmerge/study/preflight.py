"""What is asked before the first trial, so that nothing is found out at its cost."""

from __future__ import annotations

from bmerge.evaluate.evaluation import Evaluator
from bmerge.evaluate.protocols import Checked

__all__ = ["check_parts"]


def check_parts(evaluator: Evaluator, *, paint: bool = False) -> None:
    """Ask the generator and each scorer whether they work, if they can tell.

    Args:
        evaluator: that has them.
        paint: whether one small picture may be made and judged, to be sure.

    Raises:
        BmergeError: the first complaint.
    """
    for part in (evaluator.generator, *(entry.scorer for entry in evaluator.scorers)):
        if isinstance(part, Checked):
            part.check(paint=paint)
