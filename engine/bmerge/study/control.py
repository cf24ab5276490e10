"""A trial that has worked, tried again to find out whether it is the surroundings that fail.

A trial may fail for what looks like its surroundings, although nothing is wrong with them: a
method that asks for more memory than there is with some weights only. Where no plugin can be
asked, what worked before is the evidence. In the study, above evaluation.
"""

from __future__ import annotations

from dataclasses import replace

from bmerge.records import dataclass
from bmerge.study.study import PreparedStudy
from bmerge.trials.trial import Trial

__all__ = ["Control"]


@dataclass(frozen=True, slots=True)
class Control:
    """Implements :class:`bmerge.evaluate.protocols.Checked` by one picture of a complete trial.

    Args:
        study: with the evaluator and the merger that are in doubt.
        trial: that is complete.
    """

    study: PreparedStudy
    trial: Trial

    def check(self, *, paint: bool) -> None:
        """Merge as that trial did, and have the first picture painted and judged.

        Args:
            paint: whether to do that; there is nothing cheaper to ask.

        Raises:
            Exception: what any trial would fail with now.
        """
        if not paint:
            return
        evaluator = self.study.evaluator
        model = self.study.merger.model(self.trial.proposal.merge)
        try:
            one = replace(evaluator, payloads=evaluator.payloads[:1])
            one.evaluate(model, lambda _: None)
        finally:
            model.close()
