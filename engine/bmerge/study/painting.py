"""Merges painted on the same pictures, outside of the search, so that they can be compared."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from bmerge.evaluate.evaluation import Evaluator, ScoredPicture
from bmerge.evaluate.pictures import save_picture
from bmerge.evaluate.protocols import Payload
from bmerge.recipe import dump_recipe
from bmerge.recipe.schema import BlockWeights, Recipe
from bmerge.records import dataclass
from bmerge.study.events import Event, ProofPicture
from bmerge.study.study import PreparedStudy
from bmerge.study.waiting import Patience
from bmerge.trials.picture_record import ProofRecord
from bmerge.trials.proof import Contender, ProofStore

__all__ = ["Entry", "Fresh", "key_of", "paint"]

Merge = Mapping[str, BlockWeights] | int | Recipe
Fresh = tuple[Payload, str]
"""What is painted, and the id of the study's payload that it is made of."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A contender with what a merger makes it of."""

    contender: Contender
    merge: Merge


def key_of(recipe: Recipe) -> str:
    """Return a name of what a recipe makes."""
    return hashlib.sha256(dump_recipe(recipe).encode()).hexdigest()[:16]


def paint(
    study: PreparedStudy,
    store: ProofStore,
    entries: Sequence[Entry],
    pictures: Sequence[Fresh],
    on_event: Callable[[Event], None],
) -> None:
    """Paint what is missing of the contenders' pictures; each is stored when it is scored.

    Args:
        study: whose generator and scorers are used.
        store: of the pictures.
        entries: the contenders.
        pictures: that each of them gets.
        on_event: told of each picture.
    """
    evaluator = replace(study.evaluator, scorers=study.evaluator.picture_scorers)
    patience = Patience(study.patience, study.evaluator, on_event)
    for entry in entries:
        painter = _Painter(study, evaluator, store, entry, pictures, patience, on_event)
        patience.through(painter.paint)


@dataclass(frozen=True, slots=True)
class _Painter:
    """Paints one contender."""

    study: PreparedStudy
    evaluator: Evaluator
    store: ProofStore
    entry: Entry
    fresh: Sequence[Fresh]
    patience: Patience
    on_event: Callable[[Event], None]

    def paint(self) -> None:
        """Make what is missing of its pictures."""
        missing = self._missing()
        if not missing:
            return
        payloads = tuple(payload for payload, _ in self.fresh if payload.id in missing)
        model = self.study.merger.model(self.entry.merge)
        try:
            evaluator = replace(self.evaluator, payloads=payloads)
            evaluator.evaluate(model, self._keep, persist=self.patience.through)
        finally:
            model.close()

    def _keep(self, scored: ScoredPicture) -> None:
        payload, contender = scored.picture.payload, self.entry.contender
        place = f"{self.store.place}/{contender.key}"
        save = partial(save_picture, self.study.folder, place, scored.picture, scored.scores)
        record: ProofRecord = {
            "id": payload.id,
            "payload": {fresh.id: source for fresh, source in self.fresh}[payload.id],
            "file": self.patience.through(save),
            "seed": payload.seed,
            "weight": payload.weight,
            "scores": dict(scored.scores),
        }
        self.patience.prove()
        self.patience.through(lambda: self.store.add(contender, record))
        done = len(self.fresh) - len(self._missing())
        self.on_event(ProofPicture(contender.name, done, len(self.fresh), scored.score))

    def _missing(self) -> set[str]:
        ids = [payload.id for payload, _ in self.fresh]
        return set(self.store.missing(self.entry.contender, ids))
