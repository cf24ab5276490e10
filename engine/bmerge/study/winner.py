"""Which trial a study returns: the best one, unless its lead over a baseline may be luck.

The best of a hundred scores is the luckiest one, too. On pictures that the search has seen, a merge
that is no better than the centre or a model as it is soon has a better mean. So the best trial wins
only if it leads the best baseline clearly, picture by picture and prompt by prompt; else the study
returns that baseline, and the search has not found anything that is better for certain.
"""

from __future__ import annotations

from collections.abc import Mapping

from bmerge.study.certainty import lead_of
from bmerge.study.objective import Objectives, Scale
from bmerge.study.trial import Trial, best_of

__all__ = ["CLEAR", "winner_of"]

CLEAR = 3.5
"""Standard errors of the mean difference by which a winner leads the best baseline at least.

They are the larger ones of two: of pictures as if each was on its own, and of prompts, whose
pictures have in common what the prompt likes. With many prompts that is about one chance in 1,000;
with two or three, errors by prompt say little, and those of pictures are a second lock.
"""

_FEWEST = 4  # pictures that both have, for an error to be known


def winner_of(trials: Mapping[int, Trial], objectives: Objectives) -> Trial | None:
    """Return the trial whose merge a study returns; None if no trial is complete.

    That is the trial with the greatest score or, where its lead is not :data:`CLEAR`, the best
    baseline. Where there are several objectives, scores that count otherwise than by their mean, or
    too few pictures to tell, nothing is compared.

    Args:
        trials: of the study, with their present scores.
        objectives: of the study.
    """
    best = best_of(trials)
    rival = best_of({n: t for n, t in trials.items() if t.proposal.phase == "baseline"})
    if best is None or rival is None or best == rival:
        return best
    if len(objectives.sums) > 1 or objectives.tallies:
        return best
    return best if _leads(best, rival, objectives.scale(trials)) else rival


def _leads(best: Trial, rival: Trial, scale: Scale) -> bool:
    """Tell whether ``best`` is clearly better, on the pictures that the same scorers judged."""
    judged = {p["id"]: set(p["scores"]) for p in rival.pictures}
    both = tuple(p for p in best.pictures if judged.get(p["id"]) == set(p["scores"]))
    if len(both) < max(_FEWEST, len(best.pictures)):
        return True
    pictures = {p["id"]: p for p in rival.pictures}
    same = [pictures[p["id"]] for p in both]
    leads = [lead_of(scale, both, same, by_prompt=each) for each in (False, True)]
    return all(lead.value > CLEAR * lead.error for lead in leads)
