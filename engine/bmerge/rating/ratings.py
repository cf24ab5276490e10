"""The queue between a run and a person: trials that are offered, questions, answers."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from bmerge.errors import StudyError
from bmerge.evaluate.protocols import StoredPicture
from bmerge.rating.queries import (
    ask,
    count_answers,
    open_trial,
    read_comparisons,
    rivals_of,
    unanswered,
    want_no_more,
)
from bmerge.rating.schema import FILE, open_ratings
from bmerge.rating.strengths import AnsweredPair
from bmerge.records import dataclass

__all__ = ["ANSWERS", "Mode", "Offer", "Question", "Rating", "RatingProgress", "Ratings"]

Mode = Literal["pairwise", "0-10"]

ANSWERS: dict[Mode, tuple[str, ...]] = {
    "pairwise": ("left", "right", "tie", "skip"),
    "0-10": (*map(str, range(11)), "skip"),
}
"""What may be answered; ``skip`` tells nothing and counts as done."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One trial as it was offered.

    Args:
        trial: its number.
        mode: how it is judged.
        shown: whether the person is asked.
    """

    trial: int
    mode: Mode
    shown: bool


@dataclass(frozen=True, slots=True)
class Question:
    """What the person sees: one picture, or two of the same prompt and seed.

    Args:
        id: of the question.
        mode: how it is answered.
        left: id of a picture.
        right: id of the other one; None for a single picture.
    """

    id: str
    mode: Mode
    prompt: str
    seed: int
    left: str
    right: str | None


@dataclass(frozen=True, slots=True)
class Rating:
    """One picture's answer on the scale of 0 to 10; None was skipped."""

    payload: str
    weight: float
    value: int | None


@dataclass(frozen=True, slots=True)
class RatingProgress:
    """How far the person is.

    Args:
        answered: questions of the trial that are answered.
        wanted: answers that its score waits for.
    """

    answered: int
    wanted: int

    @property
    def done(self) -> bool:
        """Whether the trial waits for nothing more."""
        return self.answered >= self.wanted


class Ratings:
    """The ratings of the study in a folder; any number of processes may hold one.

    Args:
        folder: of the study.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def exist(self) -> bool:
        """Whether a person was ever to be asked in this study."""
        return (self.folder / FILE).is_file()

    def offer(self, offer: Offer, pictures: Sequence[StoredPicture], questions: int) -> None:
        """Put a trial into the queue; one that is there already stays as it is.

        Args:
            offer: the trial.
            pictures: all of them; those of weight 0 are not asked for.
            questions: the most that are asked; fewer if there are no more pairs.
        """
        counted = sum(picture.payload.weight > 0 for picture in pictures)
        with open_ratings(self.folder, write=True) as db:
            most = counted
            if offer.mode == "pairwise":
                rivals = rivals_of(db, offer.trial)
                most = counted * len(rivals)
            wanted = min(questions, most) if offer.shown else 0
            db.execute(
                "INSERT OR IGNORE INTO trials VALUES (?, ?, ?, ?)",
                (offer.trial, offer.mode, offer.shown, wanted),
            )
            db.executemany(
                "INSERT OR IGNORE INTO pictures VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (secrets.token_hex(8), offer.trial, p.id, p.prompt, p.seed, p.weight, file)
                    for p, file in ((one.payload, one.file) for one in pictures)
                ],
            )

    def offers(self) -> list[Offer]:
        """Return all trials that were offered, in the order of their numbers."""
        with open_ratings(self.folder) as db:
            rows = db.execute("SELECT * FROM trials ORDER BY number").fetchall()
        return [Offer(r["number"], r["mode"], bool(r["shown"])) for r in rows]

    def progress(self, trial: int) -> RatingProgress:
        """Return how far a trial is."""
        with open_ratings(self.folder) as db:
            (wanted,) = db.execute(
                "SELECT wanted FROM trials WHERE number = ?", (trial,)
            ).fetchone()
            return RatingProgress(count_answers(db, trial), wanted)

    def open_trial(self) -> int | None:
        """Return the trial that waits for answers."""
        with open_ratings(self.folder) as db:
            row = open_trial(db)
        return row["number"] if row else None

    def answered(self) -> int:
        """Return how many questions are answered, of all trials."""
        with open_ratings(self.folder) as db:
            (count,) = db.execute("SELECT count(turn) FROM questions").fetchone()
        return int(count)

    def marks(self) -> tuple[int, ...]:
        """Return numbers that are different after something was offered or answered."""
        query = "SELECT (SELECT count(*) FROM trials), count(turn), ifnull(max(turn), 0)"
        with open_ratings(self.folder) as db:
            return tuple(db.execute(f"{query} FROM questions").fetchone())

    def question(self) -> Question | None:
        """Return the question that is to be answered now; the same until it is."""
        with open_ratings(self.folder, write=True) as db:
            row = unanswered(db)
            if row is None and (trial := open_trial(db)) is not None:
                if not ask(db, trial):  # answers that were taken back left fewer pairs
                    want_no_more(db, trial["number"])
                row = unanswered(db)
        if row is None:
            return None
        keys = ("id", "mode", "prompt", "seed", "left", "right")
        return Question(*(row[key] for key in keys))

    def answer(self, question: str, answer: str) -> bool:
        """Store an answer; return False if the question is not there or answered already.

        Raises:
            StudyError: if it is not an answer to such a question.
        """
        with open_ratings(self.folder, write=True) as db:
            row = db.execute(
                "SELECT mode, answer FROM questions JOIN trials ON trials.number = trial"
                " WHERE id = ?",
                (question,),
            ).fetchone()
            if row is None or row["answer"] is not None:
                return False
            if answer not in ANSWERS[row["mode"]]:
                allowed = ", ".join(ANSWERS[row["mode"]])
                raise StudyError(f"{answer!r} is not an answer; allowed are {allowed}")
            db.execute(
                "UPDATE questions SET answer = ?, turn = (SELECT ifnull(max(turn), 0) + 1"
                " FROM questions) WHERE id = ?",
                (answer, question),
            )
        return True

    def last_answer(self) -> tuple[str, str] | None:
        """Return the question that was answered last, and the answer; None if there is none."""
        query = "SELECT id, answer FROM questions WHERE turn = (SELECT max(turn) FROM questions)"
        with open_ratings(self.folder) as db:
            row = db.execute(query).fetchone()
        return (row["id"], row["answer"]) if row else None

    def undo(self, question: str, answer: str) -> bool:
        """Take back an answer; return False if it is not the last: another page may have answered.

        Args:
            question: that was answered.
            answer: that it got.
        """
        with open_ratings(self.folder, write=True) as db:
            done = db.execute(
                "UPDATE questions SET answer = NULL, turn = NULL WHERE id = ? AND answer = ?"
                " AND turn = (SELECT max(turn) FROM questions)",
                (question, answer),
            )
        return done.rowcount > 0

    def comparisons(self) -> list[AnsweredPair]:
        """Return all comparisons that were answered and not skipped."""
        with open_ratings(self.folder) as db:
            return read_comparisons(db)

    def ratings(self, trial: int) -> list[Rating]:
        """Return the answers on the scale of 0 to 10, of one trial."""
        with open_ratings(self.folder) as db:
            rows = db.execute(
                "SELECT payload, weight, answer FROM questions JOIN pictures ON pictures.id = left"
                " WHERE questions.trial = ? AND right IS NULL AND answer IS NOT NULL",
                (trial,),
            ).fetchall()
        return [
            Rating(r["payload"], r["weight"], None if r["answer"] == "skip" else int(r["answer"]))
            for r in rows
        ]

    def file(self, picture: str) -> str | None:
        """Return the file of a picture, within the study's folder, by the picture's id."""
        with open_ratings(self.folder) as db:
            row = db.execute("SELECT file FROM pictures WHERE id = ?", (picture,)).fetchone()
        return row["file"] if row else None
