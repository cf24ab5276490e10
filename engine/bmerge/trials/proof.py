"""Is the winner really better? What merges got on fresh pictures, and how they compare.

The pictures of a search have chosen its winner, so its score there is flattering. A proof has the
same prompts with seeds that the search has not seen, the same for all contenders: they are compared
picture by picture. It lies in ``confirm/`` of the study's folder and only ever grows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, field, replace
from pathlib import Path
from typing import Any

from bmerge.evaluate.durable import append_durably, write_durably
from bmerge.records import dataclass
from bmerge.space.expected import expected
from bmerge.trials.comparison import Comparison, Margin, comparison, margin, on_scale
from bmerge.trials.objective import Scale
from bmerge.trials.picture_record import ProofRecord
from bmerge.trials.trial import dominates

__all__ = ["Contender", "Proof", "ProofStore", "compared", "load_proof"]

FOLDER = "confirm"
_FILE = "pictures.json"
_NEW = "pictures.jsonl"
"""What has come since: a line for each picture, so that none costs more than the first."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A merge that is to be compared.

    Args:
        key: of what it is, by which its pictures are found again.
        name: to be shown.
        source: what its proposal came from, such as ``model a``; empty where that is not known.
    """

    key: str
    name: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class Proof:
    """How a merge compares with others.

    Args:
        first: name of the merge that is compared.
        means: contender's name → objective on the fresh pictures; that of the first one first.
        comparisons: with each of the others.
        parts: contender's name → objective's name → its mean, where there are several objectives.
        margins: constraint in words → contender's name → by how much it holds.
    """

    first: str
    means: Mapping[str, float]
    comparisons: tuple[Comparison, ...]
    parts: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    margins: Mapping[str, Mapping[str, Margin]] = field(default_factory=dict)

    @property
    def front(self) -> tuple[str, ...]:
        """Names of those that none other excels in one objective and equals in all."""
        scores = {name: tuple(part.values()) for name, part in self.parts.items()}
        return tuple(n for n in scores if not any(dominates(o, scores[n]) for o in scores.values()))


class ProofStore:
    """The pictures of contenders, as they are on disk.

    Args:
        folder: of the study.
        place: the folder within it.
    """

    def __init__(self, folder: Path, place: str = FOLDER) -> None:
        self.place = place
        self._path, self._new = folder / place / _FILE, folder / place / _NEW
        self._folder = folder
        stored = _read(self._path)
        self.pictures: dict[str, dict[str, ProofRecord]] = stored["pictures"]
        self.contenders = [Contender(**entry) for entry in stored["contenders"]]
        lines = _lines(self._new)
        self._nbytes = sum(map(len, lines))
        with expected(f"{self._new}"):
            for key, record in map(json.loads, lines):
                self.pictures.setdefault(key, {})[record["id"]] = record

    def missing(self, contender: Contender, ids: Sequence[str]) -> list[str]:
        """Return which pictures of a contender are not there yet."""
        known = self.pictures.get(contender.key, {})
        return [i for i in ids if i not in known or not (self._folder / known[i]["file"]).is_file()]

    def add(self, contender: Contender, record: ProofRecord) -> None:
        """Keep a picture's record; it is on disk when this returns."""
        line = json.dumps([contender.key, record]).encode() + b"\n"
        append_durably(self._new, line, self._nbytes)
        self._nbytes += len(line)
        self.pictures.setdefault(contender.key, {})[record["id"]] = record

    def settle(self, contenders: Sequence[Contender]) -> None:
        """Remember who is compared in the study's report, the winner first."""
        self.contenders = list(contenders)
        known = {"contenders": [asdict(c) for c in self.contenders], "pictures": self.pictures}
        write_durably(self._path, json.dumps(known).encode())
        self._new.unlink(missing_ok=True)
        self._nbytes = 0

    def records(self, contender: Contender) -> dict[str, ProofRecord]:
        """Return id → record of a contender's pictures."""
        return self.pictures.get(contender.key, {})


def compared(store: ProofStore, contenders: Sequence[Contender], scale: Scale) -> Proof:
    """Compare the first of some contenders with the others, on the pictures that all have.

    Args:
        store: that has their pictures.
        contenders: two or more.
        scale: scores pictures.
    """
    columns = [store.records(contender) for contender in contenders]
    ids = [i for i in columns[0] if all(i in column for column in columns)]
    pictures = [[on_scale(column[i]) for i in ids] for column in columns]
    pairs = list(zip(contenders, pictures, strict=True)) if ids else []
    return Proof(
        contenders[0].name,
        {contender.name: math.fsum(scale.shares(own)) / len(own) for contender, own in pairs},
        tuple(comparison(c.name, scale, pictures[0], own) for c, own in pairs[1:]),
        _parts(contenders, columns, ids, scale),
        _margins(contenders, columns, ids, scale),
    )


def load_proof(folder: Path, scale: Scale) -> Proof | None:
    """Return the proof of a study's winner; None where there is none.

    Raises:
        StudyError: if what is stored is not what bmerge stores.
    """
    if not (folder / FOLDER / _FILE).is_file():
        return None
    store = ProofStore(folder)
    with expected(f"the proof in {folder}"):
        if len(store.contenders) < 2:
            return None
        return compared(store, store.contenders, scale)


def _parts(
    contenders: Sequence[Contender],
    columns: Sequence[Mapping[str, ProofRecord]],
    ids: Sequence[str],
    scale: Scale,
) -> dict[str, dict[str, float]]:
    """Return each contender's mean in each objective, where there are several."""
    if len(scale.sums) < 2 or not ids:
        return {}
    singles = {one.name: replace(scale, sums=(one,)) for one in scale.sums}
    return {
        contender.name: {
            name: math.fsum(single.shares([on_scale(column[i]) for i in ids])) / len(ids)
            for name, single in singles.items()
        }
        for contender, column in zip(contenders, columns, strict=True)
    }


def _margins(
    contenders: Sequence[Contender],
    columns: Sequence[Mapping[str, ProofRecord]],
    ids: Sequence[str],
    scale: Scale,
) -> dict[str, dict[str, Margin]]:
    """Return by how much each contender holds each constraint whose model is among them."""
    models = {c.source: column for c, column in zip(contenders, columns, strict=True)}
    found: dict[str, dict[str, Margin]] = {}
    for constraint in scale.rates:
        model = models.get(f"model {constraint.model}")
        judged = [i for i in ids if model and constraint.scorer in model[i]["scores"]]
        if model is not None and judged:
            found[str(constraint)] = {
                contender.name: margin(
                    constraint, [(own[i], model[i]) for i in judged], scale.witnesses
                )
                for contender, own in zip(contenders, columns, strict=True)
            }
    return found


def _lines(path: Path) -> list[bytes]:
    """Return the whole lines of a file; the last one was not written to its end after a kill."""
    lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
    return lines if not lines or lines[-1].endswith(b"\n") else lines[:-1]


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {"contenders": [], "pictures": {}}
    with expected(f"{path}"):
        stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        _ = stored["contenders"], stored["pictures"]
        return stored
