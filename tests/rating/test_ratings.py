from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from bmerge.errors import StudyError
from bmerge.rating.ratings import Ratings
from bmerge.rating.scores import standings
from rating_desk import PAYLOADS, Desk, later


def test_first_trial_has_nothing_to_be_compared_with(desk):
    desk.offer(0)
    assert desk.ratings.question() is None
    assert desk.ratings.progress(0).done
    assert standings(desk.ratings)[0].score == 0


def test_pairs_are_of_one_prompt_and_sides_are_shuffled(desk):
    desk.offer(0)
    sides = []
    for trial in range(1, 12):
        desk.offer(trial, questions=4)
        while question := desk.ratings.question():
            left, right = (desk.ratings.file(q) for q in (question.left, question.right))
            assert (
                left.split("/")[-1] == right.split("/")[-1] == f"{question_payload(question)}.png"
            )
            pair = desk.sides(question)
            assert trial in pair
            sides.append(pair.index(trial))
            desk.ratings.answer(question.id, "tie")
    assert len(sides) == 44
    assert 8 < sum(sides) < 36  # by chance in one of 30,000 runs it is not


def question_payload(question):
    return f"p{int(question.prompt.split()[-1]):02d}-s1"


def test_no_picture_is_asked_twice_and_no_id_tells_its_trial(desk):
    desk.offer(0)
    desk.offer(1)
    seen = desk.answer_all(later)
    assert len(seen) == 4  # four prompts, one rival
    with sqlite3.connect(desk.ratings.folder / "ratings.db") as db:
        ids = [row[0] for row in db.execute("SELECT id FROM pictures ORDER BY rowid")]
    assert len({*ids}) == 8
    assert ids != sorted(ids)
    assert all(len(one) == 16 and int(one, 16) >= 0 for one in ids)


def test_first_half_is_against_the_strongest_the_rest_where_it_tells_most(desk):
    for trial in range(4):
        desk.offer(trial)
        desk.answer_all(later)
    assert max(standings(desk.ratings).items(), key=lambda item: item[1].score)[0] == 3
    desk.offer(4)
    worst = lambda left, right: "right" if left == 4 else "left"  # noqa: E731
    rivals = [min(pair) for pair in desk.answer_all(worst)]
    assert rivals[:4] == [3] * 4
    assert set(rivals[4:]) - {3}  # that it is worse than the best is known by now


def test_answers_of_a_consistent_person_give_the_order(desk):
    for trial in range(6):
        desk.offer(trial)
        desk.answer_all(later)
    found = standings(desk.ratings)
    scores = [found[trial].score for trial in range(6)]
    assert scores == sorted(scores)
    assert scores[0] == 0
    assert all(found[trial].error > 0 for trial in range(1, 6))


def test_skipped_questions_say_nothing(desk):
    desk.offer(0)
    desk.offer(1)
    desk.answer_all(lambda *_: "skip")
    assert desk.ratings.progress(1).done
    assert 1 not in standings(desk.ratings)


def test_undo_asks_again_and_changes_the_result(desk):
    desk.offer(0)
    desk.offer(1)
    desk.answer_all(later)
    before = standings(desk.ratings)[1].score
    assert desk.undo()
    assert not desk.ratings.progress(1).done
    desk.answer_all(lambda left, right: later(right, left))
    assert standings(desk.ratings)[1].score < before
    for _ in range(4):
        assert desk.undo()
    assert not desk.undo()
    assert desk.ratings.answered() == 0


def test_undo_takes_back_nothing_but_the_answer_that_it_names(desk):
    """Of two pages that are open, one does not know what the other has answered since."""
    desk.offer(0)
    desk.offer(1)
    first, second = None, None
    for answer in ("left", "tie"):
        assert desk.ratings.answer(desk.ratings.question().id, answer)
        first, second = second, desk.ratings.last_answer()
    assert not desk.ratings.undo(*first)
    assert not desk.ratings.undo(second[0], "right")
    assert desk.ratings.answered() == 2
    assert desk.ratings.undo(*second)
    assert desk.ratings.last_answer() == first


def test_undo_that_leaves_no_pairs_does_not_stop_the_study(desk):
    """Trial 2's rival 1 drops out when its answers become skips; what is left must suffice."""
    desk.offer(0, payloads=PAYLOADS[:1])
    desk.offer(1, payloads=PAYLOADS[:1])
    desk.answer_all(later)
    desk.offer(2, payloads=PAYLOADS[:1])
    assert desk.ratings.progress(2).wanted == 2
    desk.undo()
    desk.ratings.answer(desk.ratings.question().id, "skip")
    desk.answer_all(later)
    assert desk.ratings.question() is None
    assert desk.ratings.progress(2).done


def test_question_stays_the_same_until_it_is_answered_once(desk):
    desk.offer(0)
    desk.offer(1)
    question = desk.ratings.question()
    assert desk.ratings.question() == question
    assert Ratings(desk.ratings.folder).question() == question
    assert desk.ratings.answer(question.id, "tie")
    assert not desk.ratings.answer(question.id, "left")
    assert not desk.ratings.answer("0" * 16, "left")
    assert desk.ratings.comparisons()[0].outcome == "tie"


@pytest.mark.parametrize("answer", ["", "up", "11", "5", "LEFT"])
def test_wrong_answer_is_refused(desk, answer):
    desk.offer(0)
    desk.offer(1)
    with pytest.raises(StudyError, match="is not an answer; allowed are left, right, tie, skip"):
        desk.ratings.answer(desk.ratings.question().id, answer)


def test_pictures_of_weight_0_are_not_asked_for(desk):
    payloads = (replace(PAYLOADS[0], weight=0), *PAYLOADS[1:])
    desk.offer(0, payloads=payloads)
    desk.offer(1, payloads=payloads)
    prompts = set()
    while question := desk.ratings.question():
        prompts.add(question.prompt)
        desk.ratings.answer(question.id, "tie")
    assert prompts == {"prompt 1", "prompt 2", "prompt 3"}


def test_marks_from_0_to_10(tmp_path):
    desk = Desk(Ratings(tmp_path), "0-10")
    desk.offer(0, questions=3)
    for mark in ("10", "skip", "5"):
        question = desk.ratings.question()
        assert question.right is None
        assert desk.ratings.answer(question.id, mark)
    assert desk.ratings.question() is None
    standing = standings(desk.ratings)[0]
    assert (standing.score, standing.answers) == (7.5, 2)
    assert standing.error == pytest.approx(2.5)


def test_trial_that_was_not_shown_gets_the_lowest_score(desk):
    desk.offer(0)
    for trial in (1, 2):
        desk.offer(trial)
        desk.answer_all(lambda left, right: later(right, left))
    desk.offer(3, shown=False)
    assert desk.ratings.question() is None
    found = standings(desk.ratings)
    assert found[3].score == min(found[t].score for t in range(3)) < 0
    assert found[3].answers == 0


def test_offering_again_changes_nothing(desk):
    desk.offer(0)
    desk.offer(1)
    desk.answer_all(later)
    before = desk.ratings.offers(), standings(desk.ratings)
    desk.offer(1, shown=False, questions=1)
    assert (desk.ratings.offers(), standings(desk.ratings)) == before


KILLED = """
import itertools, sys
sys.path[:0] = {path!r}
from pathlib import Path
from bmerge.rating.ratings import Ratings
ratings = Ratings(Path({folder!r}))
while question := ratings.question():
    ratings.answer(question.id, "left")
    print(ratings.answered(), flush=True)
"""


def test_killed_process_loses_no_answer(desk):
    desk.offer(0)
    for trial in range(1, 9):
        desk.offer(trial, questions=4)
    code = KILLED.format(path=sys.path, folder=str(desk.ratings.folder))
    last = 0
    while desk.ratings.question():
        with subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=os.environ
        ) as process:
            for _ in range(9):
                last = int(process.stdout.readline().strip() or last)
            process.kill()
        assert desk.ratings.answered() >= last
    assert all(desk.ratings.progress(trial).done for trial in range(9))


def test_file_of_a_later_version_is_refused(desk):
    desk.offer(0)
    with sqlite3.connect(desk.ratings.folder / "ratings.db") as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(StudyError, match="later version of bmerge"):
        desk.ratings.offers()


def test_broken_file_is_an_error_of_one_line(tmp_path):
    (tmp_path / "ratings.db").write_bytes(b"no database" * 100)
    with pytest.raises(StudyError, match="ratings.db is damaged: file is not a database"):
        Ratings(tmp_path).offers()


def test_answers_that_come_from_two_pages_at_once_count_once(desk):
    desk.offer(0)
    desk.offer(1)
    question, sides = desk.ratings.question(), ["left", "right"] * 4
    with ThreadPoolExecutor(len(sides)) as pool:
        pages = [Ratings(desk.ratings.folder) for _ in sides]
        stored = [*pool.map(lambda page, side: page.answer(question.id, side), pages, sides)]
    assert stored.count(True) == 1
    assert desk.ratings.answered() == 1
