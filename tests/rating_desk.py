"""Trials of a made-up study that are offered to a person, and a person with a taste."""

from __future__ import annotations

from dataclasses import dataclass

from bmerge.evaluate.protocols import Payload, StoredPicture
from bmerge.rating.ratings import Offer, Ratings

PAYLOADS = tuple(Payload(f"p{i:02d}-s1", f"prompt {i}", seed=1) for i in range(4))


@dataclass
class Desk:
    """A study's ratings, and who answers them."""

    ratings: Ratings
    mode: str = "pairwise"

    def offer(self, trial, *, shown=True, questions=8, payloads=PAYLOADS):
        pictures = [StoredPicture(p, f"pictures/{trial:04d}/{p.id}.png") for p in payloads]
        self.ratings.offer(Offer(trial, self.mode, shown), pictures, questions)

    def trial_of(self, picture):
        return int(self.ratings.file(picture).split("/")[1])

    def sides(self, question):
        return self.trial_of(question.left), self.trial_of(question.right)

    def undo(self):
        """Take the last answer back, if there is one."""
        last = self.ratings.last_answer()
        return last is not None and self.ratings.undo(*last)

    def answer_all(self, better):
        """Answer until nothing is open: ``better`` maps the two trials to left, right or tie."""
        seen = []
        while question := self.ratings.question():
            sides = self.sides(question)
            assert self.ratings.answer(question.id, better(*sides))
            seen.append(sides)
        return seen


def later(left, right):
    return "left" if left > right else "right"
