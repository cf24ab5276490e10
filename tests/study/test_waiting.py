"""Patience with a study's surroundings: pauses, news, its end, and failures nothing explains."""

from __future__ import annotations

import errno
import itertools
import socket
import urllib.error

import pytest

from bmerge import (
    ExecutorError,
    FormatError,
    GeneratorError,
    MethodError,
    PluginError,
    RecipeError,
    ScorerError,
    StudyError,
)
from bmerge.evaluate.evaluation import Evaluator
from bmerge.evaluate.scoring import WeightedScorer
from bmerge.faults import in_one_line
from bmerge.study import waiting
from bmerge.study.failures import UnexplainedError, blame_of
from bmerge.study.waiting import Patience
from toy_study import PAYLOADS, Generator, Judge


def caused(error, cause):
    error.__cause__ = cause
    return error


def during(error, context):
    error.__context__ = context
    return error


class OutOfMemoryError(RuntimeError):
    """Called as torch calls its own."""


@pytest.mark.parametrize(
    ("error", "blame"),
    [
        (GeneratorError("NaN"), "merge"),
        (GeneratorError("busy", transient=True), "surroundings"),
        (GeneratorError("password", blame="surroundings"), "surroundings"),
        (ScorerError("no such model", blame="study"), "study"),
        (ScorerError("busy", transient=True, blame="merge"), "merge"),
        (PluginError("no such plugin"), "study"),
        (RecipeError("no such block"), "study"),
        (StudyError("folder"), "study"),
        (StudyError("locked", blame="surroundings"), "surroundings"),
        (MethodError("not with that value"), "merge"),
        (ZeroDivisionError("0 / 0"), "merge"),
        (OSError(errno.ENOSPC, "no space left"), "surroundings"),
        (OSError(errno.EDQUOT, "quota"), "surroundings"),
        (OSError(errno.EIO, "input or output"), "surroundings"),
        (OSError(errno.EFBIG, "too large"), "study"),
        (FileExistsError(errno.EEXIST, "file exists"), "study"),
        (OSError("cannot identify image file"), "merge"),
        (ConnectionRefusedError("no errno"), "surroundings"),
        (TimeoutError("no errno"), "surroundings"),
        (socket.gaierror(socket.EAI_NONAME, "name"), "surroundings"),
        (during(urllib.error.URLError("refused"), ConnectionRefusedError()), "surroundings"),
        (caused(ExecutorError("no space"), OSError(errno.ENOSPC, "")), "surroundings"),
        (caused(FormatError("gone"), FileNotFoundError(errno.ENOENT, "")), "surroundings"),
        (during(ValueError("own"), FileNotFoundError(errno.ENOENT, "")), "merge"),
        (caused(GeneratorError("lost"), caused(KeyError(), BrokenPipeError())), "surroundings"),
        (ExecutorError("NaN"), "merge"),
        (MemoryError(), "surroundings"),
        (caused(GeneratorError("failed"), RuntimeError("can't start new thread")), "surroundings"),
        (caused(ExecutorError("too little memory"), OutOfMemoryError()), "surroundings"),
        (UnexplainedError(GeneratorError("busy", transient=True), 5), "merge"),
    ],
    ids=lambda value: value if isinstance(value, str) else in_one_line(value),
)
def test_blame_of_each_kind_of_error(error, blame):
    assert blame_of(error) == blame


def test_blame_of_a_circle_of_causes_ends():
    one, two = ValueError(1), ValueError(2)
    one.__cause__, two.__cause__ = two, one
    assert blame_of(one) == "merge"


class Clock:
    """Time that passes while somebody sleeps."""

    def __init__(self):
        self.now, self.slept = 0.0, []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


class Checked(Generator):
    """Says what it is told to say when it is asked."""

    def __init__(self, *answers):
        super().__init__()
        self.answers = itertools.chain(answers, itertools.repeat(None))
        self.asked = []

    def check(self, *, paint):
        self.asked.append(paint)
        if (answer := next(self.answers)) is not None:
            raise answer


def patience_of(minutes, generator=None, *, judge=None, worked=True):
    evaluator = Evaluator(
        generator or Generator(), (WeightedScorer("judge", 1.0, judge or Judge()),), PAYLOADS
    )
    clock, events = Clock(), []
    patience = Patience(minutes, evaluator, events.append, clock=clock, sleep=clock.sleep)
    if worked:
        patience.prove()
    return patience, clock, events


def failing(times, error=None):
    """Return an action that fails so often, and the list of its calls."""
    calls = []

    def action():
        calls.append(None)
        if len(calls) <= times:
            raise error or GeneratorError(f"refused {len(calls)}", transient=True)
        return len(calls)

    return action, calls


def test_pauses_grow_and_are_told():
    patience, clock, events = patience_of(30)
    action, _ = failing(9)
    assert patience.through(action, 4) == 10
    assert clock.slept == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert [event.number for event in events] == [4] * 9
    assert [event.seconds for event in events] == clock.slept
    assert (events[0].reason, events[1].reason) == ("refused 1", "refused 2")
    assert (events[0].left, events[2].left) == (1800, 1797)


def test_patience_ends_with_a_hint_after_a_last_attempt():
    patience, clock, _ = patience_of(2)
    error = GeneratorError("refused", transient=True, hint="start the server")
    action, calls = failing(99, error)
    with pytest.raises(StudyError, match=r"^trial 4 cannot be evaluated: refused \(waited") as told:
        patience.through(action, 4)
    assert sum(clock.slept) == 120
    assert len(calls) == len(clock.slept) + 1
    assert told.value.hint == "start the server; run the same command again to continue"
    assert blame_of(told.value) == "surroundings"


@pytest.mark.parametrize(("minutes", "said"), [(0.05, "3 s"), (1, "60 s"), (30, "30 min")])
def test_what_was_waited_is_told_as_it_was(minutes, said):
    patience, _, _ = patience_of(minutes)
    with pytest.raises(StudyError) as told:
        patience.through(failing(9999)[0])
    assert str(told.value).endswith(f" (waited for {said})")


def test_patience_of_weeks_is_no_trouble():
    patience, clock, _ = patience_of(60 * 24 * 14)
    assert patience.through(failing(2000)[0], 4) == 2001
    assert clock.slept[-1] == 60


def test_no_patience_does_not_wait():
    patience, clock, events = patience_of(0)
    with pytest.raises(StudyError, match=r"^the study cannot continue: refused 1$"):
        patience.through(failing(1)[0])
    assert (clock.slept, events) == ([], [])


def test_patience_that_is_out_is_not_waited_for_outside():
    patience, clock, _ = patience_of(1)
    with pytest.raises(StudyError, match=r"^trial 4 cannot be evaluated: refused \d+ \(waited"):
        patience.through(lambda: patience.through(failing(99)[0], 4), 4)
    assert sum(clock.slept) == 60


def test_each_thing_that_works_renews_patience():
    patience, clock, _ = patience_of(1)
    for _ in range(3):
        patience.through(failing(5)[0], 4)  # 31 s each
    assert clock.slept == [1, 2, 4, 8, 16] * 3


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (GeneratorError("starting", transient=True), 120),
        (GeneratorError("wrong password", blame="surroundings"), 0),
        (OSError(errno.ECONNREFUSED, "refused"), 120),
        (StudyError("disk full", blame="surroundings"), 120),
    ],
    ids=["transient", "password", "refused", "disk"],
)
def test_before_the_first_picture_patience_is_short(error, seconds):
    patience, clock, _ = patience_of(30, worked=False)
    patience.through(lambda: None)  # as a check that asks nobody
    with pytest.raises(StudyError):
        patience.through(failing(99, error)[0])
    assert sum(clock.slept) == seconds


@pytest.mark.parametrize("error", [GeneratorError("NaN"), PluginError("x"), KeyError("x")])
def test_what_the_surroundings_did_not_do_is_raised_at_once(error):
    patience, clock, _ = patience_of(30)
    with pytest.raises(type(error)):
        patience.through(failing(1, error)[0])
    assert clock.slept == []


def test_generator_is_asked_before_the_trial_is_attempted_again():
    down = GeneratorError("still down", transient=True)
    generator = Checked(down, GeneratorError("says not whose fault"), down)
    patience, clock, events = patience_of(30, generator)
    action, calls = failing(1)
    patience.through(action, 4)
    assert len(calls) == 2
    assert clock.slept == [1, 2, 4, 8]
    reasons = ["refused 1", "still down", "says not whose fault", "still down"]
    assert [event.reason for event in events] == reasons
    assert generator.asked == [False] * 4


def test_what_is_said_against_a_study_that_worked_is_waited_for_a_minute():
    patience, clock, _ = patience_of(30)
    patience.trust()
    down = GeneratorError("refused", transient=True)
    against = GeneratorError("no such node", blame="study")
    errors = itertools.chain([down] * 12, itertools.repeat(against))

    def action():
        raise next(errors)

    with pytest.raises(StudyError, match=r"^trial 4 cannot be evaluated: no such node \(waited"):
        patience.through(action, 4)
    assert sum(clock.slept) == sum(clock.slept[:12]) + 60
    assert sum(clock.slept[:12]) > 300


def test_check_that_blames_the_study_ends_the_wait():
    generator = Checked(GeneratorError("no such sampler", blame="study"))
    patience, _, _ = patience_of(30, generator)
    with pytest.raises(GeneratorError, match="no such sampler"):
        patience.through(failing(99)[0], 4)


def test_a_study_that_has_had_a_whole_trial_is_not_to_blame_any_more():
    wrong = GeneratorError("308 Permanent Redirect", blame="study")
    generator = Checked(wrong, wrong)
    patience, clock, events = patience_of(30, generator)
    with pytest.raises(GeneratorError):
        patience.through(failing(1, wrong)[0], 4)
    patience.trust()
    patience.through(failing(1, wrong)[0], 4)
    assert clock.slept == [1, 2, 4]
    assert {event.reason for event in events} == {"308 Permanent Redirect"}
    with pytest.raises(PluginError):
        patience.through(failing(1, PluginError("no picture"))[0], 4)


def test_scorer_is_asked_for_its_own_failures_only():
    class CheckedJudge(Judge):
        asked = 0

        def check(self, *, paint):
            self.asked += 1

    generator, judge = Checked(), CheckedJudge()
    patience, _, _ = patience_of(30, generator, judge=judge)
    patience.through(failing(1, ScorerError("busy", transient=True))[0], 4)
    assert (generator.asked, judge.asked) == ([], 1)
    patience.through(failing(1, StudyError("locked", blame="surroundings"))[0], 4)
    assert (generator.asked, judge.asked) == ([], 1)


def test_trial_that_fails_although_its_surroundings_work_is_given_up():
    generator = Checked()
    patience, clock, _ = patience_of(30, generator)
    with pytest.raises(UnexplainedError, match=r"refused \d+ \(\d+ times, while everything else"):
        patience.through(failing(99)[0], 4)
    assert waiting._UNEXPLAINED_FOR <= clock.now < 2 * waiting._UNEXPLAINED_FOR
    assert generator.asked[:2] == [False, True]  # a small picture proves it


def test_trial_is_not_given_up_while_a_small_picture_fails_too():
    class Broken(Checked):
        def check(self, *, paint):
            if paint:
                raise GeneratorError("out of memory", blame="surroundings")

    patience, clock, _ = patience_of(30, Broken())
    with pytest.raises(StudyError, match="cannot be evaluated: out of memory"):
        patience.through(failing(99)[0], 4)
    assert clock.now == 1800


def test_trial_is_not_given_up_by_who_cannot_be_asked():
    patience, clock, _ = patience_of(30)
    with pytest.raises(StudyError, match="cannot be evaluated"):
        patience.through(failing(99)[0], 4)
    assert clock.now == 1800
