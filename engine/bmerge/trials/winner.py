"""Which trial a study returns: the best one, unless its lead over a baseline may be luck.

The best of a hundred scores is the luckiest one, too. On pictures that the search has seen, a merge
that is no better than the centre or a model as it is soon has a better mean. So the best trial wins
only if it leads the best baseline clearly, picture by picture; else that baseline is what the study
returns, and the search has not found anything that is better for certain.
"""

from __future__ import annotations

from collections.abc import Mapping

from bmerge.trials.certainty import lead_of
from bmerge.trials.objective import Objectives, Scale
from bmerge.trials.trial import Trial, best_of

__all__ = ["CLEAR", "winner_of"]

CLEAR = 3.0
"""Standard errors of the mean difference by which a winner leads the best baseline at least.

They are those of pictures as if each was on its own. A merge that has learned something helps some
prompts much and others not at all, which makes errors by prompt great where the lead is great:
the demo's merge leads the centre by 2.9 of them, on the search's pictures and truly.
"""

_FEWEST = 4  # pictures that both have, each counted once, for an error to be known


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
    distinct = {scale.witnesses.picture(p["id"], p["seed"]) for p in both}
    if len(both) < len(best.pictures) or len(distinct) < _FEWEST:
        return True
    pictures = {p["id"]: p for p in rival.pictures}
    same = [pictures[p["id"]] for p in both]
    lead = lead_of(scale, both, same, by_prompt=False)
    return lead.value > CLEAR * lead.error
