"""Pictures are scored while the next are painted; what comes of it is in order all the same."""

from __future__ import annotations

import threading

import pytest
from PIL import Image

from bmerge import GeneratorError, ScorerError
from bmerge.evaluate import evaluation
from bmerge.evaluate.evaluation import Evaluator
from bmerge.evaluate.protocols import Payload, Picture
from bmerge.evaluate.scoring import WeightedScorer

PAYLOADS = tuple(Payload(f"p{i}", f"prompt {i}", seed=i) for i in range(6))
IDS = [payload.id for payload in PAYLOADS]
LONG = 60.0  # seconds in which even a busy machine comes to a thread


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(evaluation, "_PATIENCE", 0.0)


class Painter:
    """Calls ``before`` with the index of each picture that it is about to paint."""

    def __init__(self, before=lambda index: None):
        self.before, self.painted, self.closed = before, [], False

    def load(self, model):
        pass

    def generate(self, payloads):
        try:
            for index, payload in enumerate(payloads):
                self.before(index)
                self.painted.append(payload.id)
                yield Picture(payload, Image.new("RGB", (4, 4), (index + 1, 0, 0)))
        finally:
            self.closed = True

    def close(self):
        pass


class Judge:
    """Calls ``before`` with the ids of the pictures that it is about to score."""

    def __init__(self, before=lambda ids: None):
        self.before, self.scored = before, []

    def score(self, pictures):
        ids = [picture.payload.id for picture in pictures]
        self.before(ids)
        self.scored += ids
        return [picture.image.getpixel((0, 0))[0] for picture in pictures]


def evaluator_of(painter, judge):
    return Evaluator(painter, (WeightedScorer("red", 1.0, judge),), PAYLOADS)


def test_the_next_picture_is_painted_while_one_is_scored():
    meeting = threading.Barrier(2)

    def painting(index):
        if index == 1:
            meeting.wait(LONG)  # breaks if the first is not scored meanwhile

    def judging(ids):
        if IDS[0] in ids:
            meeting.wait(LONG)

    scored = []
    result = evaluator_of(Painter(painting), Judge(judging)).evaluate(None, scored.append)
    assert [one.picture.payload.id for one in scored] == IDS
    assert [one.score for one in scored] == [1, 2, 3, 4, 5, 6]
    assert result.means == {"red": 3.5}
    assert not [thread for thread in threading.enumerate() if thread.name == "scorers"]


def test_no_more_is_painted_than_is_wanted_before_the_next_score():
    scored, ahead = [], []

    def painting(index):
        ahead.append(index + 1 - len(scored))

    def wanted():
        return 0 if len(scored) == 4 else 2 if len(scored) < 2 else 1

    painter = Painter(painting)
    evaluator_of(painter, Judge()).evaluate(None, scored.append, wanted=wanted)
    assert len(scored) == len(painter.painted) == 4
    assert all(count <= (2 if index < 3 else 1) for index, count in enumerate(ahead))
    assert painter.closed


def test_what_fails_is_tried_again_where_it_failed_and_nothing_overtakes_it():
    judge, full, tries = Judge(), {"p1": 2, "p4": 1}, []
    kept, scored = [], []

    def keep(one):
        name = one.picture.payload.id
        if full.get(name):
            full[name] -= 1
            raise OSError("disk full")
        kept.append(name)

    def persist(action):
        while True:
            try:
                return action()
            except OSError as error:
                tries.append(str(error))

    evaluator_of(Painter(), judge).evaluate(None, scored.append, keep=keep, persist=persist)
    assert kept == IDS
    assert judge.scored == IDS  # none twice
    assert [one.picture.payload.id for one in scored] == IDS
    assert tries == ["disk full"] * 3


def test_a_failing_scorer_ends_the_evaluation_with_what_it_raised():
    def judging(ids):
        if "p2" in ids:
            raise ValueError("no eyes")

    painter, scored = Painter(), []
    with pytest.raises(ScorerError, match="the scorer 'red' failed at .*'p2'.*no eyes"):
        evaluator_of(painter, Judge(judging)).evaluate(None, scored.append)
    assert [one.picture.payload.id for one in scored] == IDS[: len(scored)]
    assert "p2" not in [one.picture.payload.id for one in scored]
    assert painter.closed


def test_a_failing_scorer_goes_before_the_generator_that_fails_later():
    def painting(index):
        if index == 3:
            raise GeneratorError("server down")

    def judging(ids):
        if "p2" in ids:
            raise ValueError("no eyes")

    with pytest.raises(ScorerError, match="no eyes"):
        evaluator_of(Painter(painting), Judge(judging)).evaluate(None, lambda _: None)


def test_an_interrupt_ends_the_thread_of_the_scorers():
    def interrupted(one):
        raise KeyboardInterrupt

    painter = Painter()
    with pytest.raises(KeyboardInterrupt):
        evaluator_of(painter, Judge()).evaluate(None, interrupted)
    assert painter.closed
    assert not [thread for thread in threading.enumerate() if thread.name == "scorers"]
