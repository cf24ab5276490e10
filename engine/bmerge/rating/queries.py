"""Questions put to ``ratings.db`` within one transaction; :class:`Ratings` opens and closes it."""

from __future__ import annotations

import secrets
import sqlite3

from bmerge.rating.pairs import choose_pair, linked
from bmerge.rating.strengths import AnsweredPair, Outcome

__all__ = [
    "ask",
    "count_answers",
    "open_trial",
    "read_comparisons",
    "rivals_of",
    "unanswered",
    "want_no_more",
]

_OUTCOMES: dict[str, Outcome] = {"left": "first", "right": "second", "tie": "tie"}


def count_answers(db: sqlite3.Connection, trial: int) -> int:
    """Return how many questions on a trial are answered."""
    query = "SELECT count(answer) FROM questions WHERE trial = ?"
    (count,) = db.execute(query, (trial,)).fetchone()
    return int(count)


def open_trial(db: sqlite3.Connection) -> sqlite3.Row | None:
    """Return the first trial that waits for answers."""
    row: sqlite3.Row | None = db.execute(
        "SELECT number, mode, wanted FROM trials WHERE wanted >"
        " (SELECT count(answer) FROM questions WHERE trial = trials.number)"
        " ORDER BY number LIMIT 1"
    ).fetchone()
    return row


def unanswered(db: sqlite3.Connection) -> sqlite3.Row | None:
    """Return the first question that waits, with what is shown of it."""
    row: sqlite3.Row | None = db.execute(
        "SELECT questions.id, mode, prompt, seed, left, right FROM questions"
        " JOIN trials ON trials.number = questions.trial JOIN pictures ON pictures.id = left"
        " WHERE answer IS NULL ORDER BY questions.number LIMIT 1"
    ).fetchone()
    return row


def ask(db: sqlite3.Connection, trial: sqlite3.Row) -> bool:
    """Add the next question on a trial; return False if there is none."""
    number = trial["number"]
    mine = _pictures_of(db, number)
    if trial["mode"] == "pairwise":
        share = count_answers(db, number) / trial["wanted"]
        asked = _pairs_asked(db, number)
        rivals = rivals_of(db, number)
        pair = choose_pair(number, list(mine), asked, read_comparisons(db), rivals, share=share)
        if pair is None:
            return False
        sides: list[str | None] = [mine[pair[1]], _pictures_of(db, pair[0])[pair[1]]]
        if secrets.randbelow(2):
            sides.reverse()
    else:
        done = _pairs_asked(db, number).get(number, set())
        left = [payload for payload in mine if payload not in done]
        if not left:
            return False
        sides = [mine[left[0]], None]
    db.execute(
        "INSERT INTO questions (id, trial, left, right) VALUES (?, ?, ?, ?)",
        (secrets.token_hex(8), number, *sides),
    )
    return True


def want_no_more(db: sqlite3.Connection, trial: int) -> None:
    """Let a trial wait for no more answers than it has."""
    query = "UPDATE trials SET wanted = ? WHERE number = ?"
    db.execute(query, (count_answers(db, trial), trial))


def _pictures_of(db: sqlite3.Connection, trial: int) -> dict[str, str]:
    """Return payload → id of the trial's pictures that count."""
    rows = db.execute(
        "SELECT payload, id FROM pictures WHERE trial = ? AND weight > 0 ORDER BY rowid", (trial,)
    )
    return {row["payload"]: row["id"] for row in rows}


def _pairs_asked(db: sqlite3.Connection, trial: int) -> dict[int, set[str]]:
    """Return rival → payloads that were asked for; the trial itself for single pictures."""
    found: dict[int, set[str]] = {}
    rows = db.execute(
        "SELECT one.payload, one.trial AS one, other.trial AS other FROM questions"
        " JOIN pictures one ON one.id = left LEFT JOIN pictures other ON other.id = right"
        " WHERE questions.trial = ?",
        (trial,),
    )
    for row in rows:
        rival = row["other"] if row["one"] == trial and row["other"] is not None else row["one"]
        found.setdefault(rival, set()).add(row["payload"])
    return found


def read_comparisons(db: sqlite3.Connection) -> list[AnsweredPair]:
    """Return all comparisons that were answered and not skipped, in order."""
    rows = db.execute(
        "SELECT one.trial AS one, other.trial AS other, answer, one.weight FROM questions"
        " JOIN pictures one ON one.id = left JOIN pictures other ON other.id = right"
        " WHERE answer IN ('left', 'right', 'tie') ORDER BY turn"
    ).fetchall()
    mean = sum(row["weight"] for row in rows) / max(1, len(rows))
    return [
        AnsweredPair(row["one"], row["other"], _OUTCOMES[row["answer"]], row["weight"] / mean)
        for row in rows
    ]


def rivals_of(db: sqlite3.Connection, trial: int) -> list[int]:
    """Return the trials that a trial can be compared with, the anchor first."""
    query = "SELECT min(number) FROM trials WHERE shown AND mode = 'pairwise'"
    (anchor,) = db.execute(query).fetchone()
    if anchor is None or anchor == trial:
        return []
    return [rival for rival in linked(anchor, read_comparisons(db)) if rival != trial]
