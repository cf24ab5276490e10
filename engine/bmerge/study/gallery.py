"""Where a trial's pictures go while it is evaluated, and which of them are there already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from bmerge.evaluate.evaluation import ScoredPicture
from bmerge.evaluate.pictures import place_of, save_picture, stored_scores
from bmerge.evaluate.protocols import Payload
from bmerge.records import dataclass
from bmerge.study.study import PreparedStudy
from bmerge.trials.picture_record import PictureRecord
from bmerge.trials.trial import Trial

__all__ = ["FolderGallery", "Gallery", "record_of"]


class Gallery(Protocol):
    """Takes pictures of trials."""

    def kept(self, trial: Trial) -> dict[str, PictureRecord]:
        """Return the pictures that a trial has already, by payload."""

    def save(self, trial: Trial, scored: ScoredPicture) -> str:
        """Store a picture with its scores; return its file within the study's folder."""


@dataclass(frozen=True, slots=True)
class FolderGallery:
    """The pictures in a study's folder.

    Args:
        study: whose folder.
    """

    study: PreparedStudy

    def kept(self, trial: Trial) -> dict[str, PictureRecord]:
        """Return the pictures that a trial has already, by payload.

        They are stored with it, unless the process was killed; then they tell themselves.
        """
        folder, evaluator = self.study.folder, self.study.evaluator
        kept = {p["id"]: p for p in trial.pictures if (folder / p["file"]).is_file()}
        for payload in evaluator.payloads:
            if payload.id in kept:
                continue
            found = stored_scores(folder, place_of(trial.number), payload, trial.token)
            judges = {e.label for e in evaluator.picture_scorers if e.judges(payload)}
            if found is not None and set(found[1]) == judges:
                kept[payload.id] = record_of(payload, *found)
        return kept

    def save(self, trial: Trial, scored: ScoredPicture) -> str:
        """Write the picture's file."""
        place = place_of(trial.number)
        return save_picture(self.study.folder, place, scored.picture, scored.scores, trial.token)


def record_of(payload: Payload, file: str, scores: Mapping[str, float]) -> PictureRecord:
    """Return what is stored of a picture."""
    return {
        "id": payload.id,
        "file": file,
        "seed": payload.seed,
        "weight": payload.weight,
        "scores": dict(scores),
    }
