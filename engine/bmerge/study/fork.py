"""A study begun from another one: what of its trials still counts, and why the others do not.

Trials can be compared as long as their pictures are made by the same models, method and generator
and judged by the same scorers. So another space keeps the trials that lie within it, other prompts
those that have pictures of all of them, and other weights of scorers all: they are scored anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bmerge.errors import StudyError
from bmerge.evaluate.durable import copy_durably
from bmerge.evaluate.pictures import PictureFinder, place_of
from bmerge.evaluate.protocols import Payload
from bmerge.records import dataclass
from bmerge.storage.completed import completed
from bmerge.storage.definition import StudyDefinition
from bmerge.storage.forked import FORK, cut_short, is_cut_short
from bmerge.storage.stored import StoredStudy, has_study, read_study
from bmerge.storage.unchanged import check_unchanged
from bmerge.study.study import PreparedStudy
from bmerge.trials.picture_record import PictureRecord
from bmerge.trials.trial import Proposal, Trial

__all__ = ["Fate", "fork_study"]

_SAME = ("merge", "architecture", "generator", "choose")
"""What of a definition must be the same."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of a trial.

    Args:
        number: of the trial in the old study.
        now: its number in the new one; None if it does not count.
        reason: why not.
    """

    number: int
    now: int | None
    reason: str = ""


def fork_study(stored: StoredStudy, study: PreparedStudy) -> list[Fate]:
    """Begin a study with the trials of another one that still count.

    Args:
        stored: the other study.
        study: the new one, whose folder holds none yet.

    Returns:
        What becomes of each trial, by number.

    Raises:
        StudyError: if no trial can count, or the folder holds a study already.
    """
    if has_study(study.folder) and not is_cut_short(read_study(study.folder).attributes):
        message = f"{study.folder} holds a study already"
        raise StudyError(message, hint="give another folder by --out")
    fork = _Fork(stored, study)
    of = str(stored.folder.absolute())
    with study.open_store(forking=True) as store:
        store.describe(cut_short(of))
        fates = [fork.take(trial) for trial in stored.trials.values()]
        fork.copy_pictures()
        store.adopt(fork.taken, study.search.space)
        taken = {fate.now: fate.number for fate in fates if fate.now is not None}
        store.describe({FORK: {"of": of, "trials": taken}})
    return fates


class _Fork:
    """Decides about one trial after the other, and takes over those that count.

    Attributes:
        taken: these, as the new study has them.
    """

    def __init__(self, stored: StoredStudy, study: PreparedStudy) -> None:
        for entry in study.evaluator.trial_scorers:
            message = f"the scorer {entry.label!r} judges whole trials, so none can be taken over"
            raise StudyError(message, hint="begin a separate study")
        self._stored, self._study = stored, study
        now = study.definition
        known = completed(stored.definition.to_json(), now.to_json())
        _check_same(known, now.to_json(), stored)
        before = StudyDefinition.from_json(known)
        self._judges = _same_scorers(before, now)
        self._payloads = dict(_same_payloads(before, now))
        self._queue = list(study.queue)
        self._now: dict[int, int] = {}
        self._finder = PictureFinder(stored.folder)
        self._copies: list[tuple[Path, Path]] = []
        self.taken: list[Trial] = []

    def take(self, trial: Trial) -> Fate:
        """Take a trial over, if it counts."""
        try:
            proposal, records = self._proposal(trial), self._records(trial)
            incumbent = self._incumbent(trial)
        except StudyError as error:
            return Fate(trial.number, None, str(error))
        now = len(self.taken)
        pictures = tuple(self._copied(record, now) for record in records)
        means = dict(trial.means)
        if trial.state == "complete":
            means = self._study.evaluator.means([(p["weight"], p["scores"]) for p in pictures])
        taken = Trial(
            now,
            trial.state,
            proposal,
            means=means,
            pictures=pictures,
            seconds=trial.seconds,
            sequence=now,
            variance=trial.variance,
            incumbent=incumbent,
        )
        self.taken.append(taken)
        self._now[trial.number] = now
        return Fate(trial.number, now)

    def copy_pictures(self) -> None:
        """Copy the pictures of the trials that were taken."""
        copy_durably(self._copies)

    def _proposal(self, trial: Trial) -> Proposal:
        """Return what the new study calls a trial's proposal; it is none of its optimiser's."""
        if trial.state == "running":
            raise StudyError("it was not finished")
        if trial.state == "failed":
            raise StudyError("it failed")
        proposal, search = trial.proposal, self._study.search
        for entry in self._queue:
            if entry.merge == proposal.merge:
                self._queue.remove(entry)
                return entry
        values = dict(proposal.values)
        if proposal.model is None and proposal.recipe is None:
            values = search.values(proposal.weights)
        for entry in self._queue:
            if entry.phase == proposal.phase == "init":
                self._queue.remove(entry)  # one of as many as there shall be
                return replace(entry, values=values, weights=proposal.weights)
        source = f"{proposal.source} of {self._stored.name}"
        return replace(proposal, phase="iters", source=source, values=values, asked=False)

    def _records(self, trial: Trial) -> list[PictureRecord]:
        """Return a trial's pictures as the new study has them, in the order of its payloads."""
        known = {p["id"]: p for p in trial.pictures}
        whole = self._study.evaluator.payloads
        old = {payload.id: self._payloads.get(payload.id) for payload in whole}
        missing = [name for name, before in old.items() if before not in known]
        if missing and trial.state != "pruned":
            raise StudyError(f"it has only {len(whole) - len(missing)} of {len(whole)} pictures")
        if trial.state == "pruned" and None in old.values():
            raise StudyError("it was stopped early, behind one with other pictures")
        return [
            self._record(known[before], payload)
            for payload in whole
            if (before := old[payload.id]) is not None and before in known
        ]

    def _record(self, record: PictureRecord, payload: Payload) -> PictureRecord:
        if self._finder.find(record["file"]) is None:
            raise StudyError(f"{record['file']} is gone")
        judges = [e.label for e in self._study.evaluator.picture_scorers if e.judges(payload)]
        for label in judges:
            if label not in self._judges or label not in record["scores"]:
                raise StudyError(f"it has no scores by {label!r}")
        scores = {label: record["scores"][label] for label in judges}
        return {**record, "id": payload.id, "weight": payload.weight, "scores": scores}

    def _incumbent(self, trial: Trial) -> int | None:
        """Return the number here of the trial that a pruned one was behind."""
        if trial.incumbent is None:
            return None
        if trial.incumbent not in self._now:
            raise StudyError(f"it was stopped early, behind trial {trial.incumbent}")
        return self._now[trial.incumbent]

    def _copied(self, record: PictureRecord, number: int) -> PictureRecord:
        """Return the record of a picture that is to be copied into the new folder."""
        name = f"{place_of(number)}/{record['id']}.png"
        self._copies.append((self._stored.folder / record["file"], self._study.folder / name))
        return {**record, "file": name}


def _check_same(before: Mapping[str, Any], now: Mapping[str, Any], stored: StoredStudy) -> None:
    """Complain where not one trial of the old study can be compared with the new one's."""
    both = set(before.get("files", {})) & set(now.get("files", {}))

    def part(definition: Mapping[str, Any]) -> dict[str, Any]:
        files = {name: definition["files"][name] for name in sorted(both)}
        return {**{key: definition[key] for key in _SAME if key in definition}, "files": files}

    check_unchanged(part(before), part(now), stored.folder, what="study")


def _same_scorers(before: StudyDefinition, now: StudyDefinition) -> set[str]:
    """Return the labels of scorers that both studies have; their weights may differ."""
    known = {each.label: replace(each, weight=0.0) for each in before.scorers}
    return {e.label for e in now.scorers if known.get(e.label) == replace(e, weight=0.0)}


def _same_payloads(before: StudyDefinition, now: StudyDefinition) -> Iterator[tuple[str, str]]:
    """Yield the new id and the old one of each payload that both studies have."""
    known = [(payload.id, replace(payload, id="", weight=0.0)) for payload in before.payloads]
    for payload in now.payloads:
        plain = replace(payload, id="", weight=0.0)
        found = next((name for name, each in known if each == plain), None)
        if found is not None:
            yield payload.id, found
