"""Scores that change after their trial is finished, as a person's do with every answer.

What was stored with a trial and told to the optimiser stays; the new means are kept beside it, and
laid over the trials wherever they are shown or the best is chosen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bmerge.space.expected import numbers
from bmerge.trials.objective import Objectives
from bmerge.trials.picture_record import PictureRecord
from bmerge.trials.trial import Trial

__all__ = ["REVISIONS", "Revisions", "read_revisions", "revised"]

REVISIONS = "revisions"
"""Attribute of a study that holds them."""

Revisions = Mapping[str, Mapping[int, float]]
"""Scorer's label → number of a trial → its mean now."""


def revised(
    trials: Mapping[int, Trial], revisions: Revisions, objectives: Objectives
) -> dict[int, Trial]:
    """Return the trials with their means as they are now, and scored by them."""
    if not any(revisions.values()):
        return dict(trials)
    changed = dict(trials)
    for label, means in revisions.items():
        for number, mean in means.items():
            if number in changed and label in changed[number].means:
                changed[number] = _moved(changed[number], label, mean)
    return objectives.scored(changed)


def read_revisions(stored: Mapping[str, Mapping[str, float]]) -> Revisions:
    """Return revisions from plain data, whose keys are texts."""
    return {
        label: {int(trial): mean for trial, mean in numbers(means, label).items()}
        for label, means in stored.items()
    }


def _moved(trial: Trial, label: str, mean: float) -> Trial:
    """Return a trial with another mean; its pictures' scores move with it."""
    distance = mean - trial.means[label]
    pictures = tuple(_picture(picture, label, distance) for picture in trial.pictures)
    return replace(trial, means={**trial.means, label: mean}, pictures=pictures)


def _picture(picture: PictureRecord, label: str, distance: float) -> PictureRecord:
    scores = picture["scores"]
    if label not in scores:
        return picture
    return {**picture, "scores": {**scores, label: scores[label] + distance}}
