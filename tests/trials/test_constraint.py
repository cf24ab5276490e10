"""Constraints: what falls behind a model by some scorer cannot win, whatever its score is."""

from __future__ import annotations

import json

import pytest
import yaml

from bmerge import BmergeError
from bmerge.evaluate.evaluation import Evaluator
from bmerge.evaluate.scoring import WeightedScorer
from bmerge.storage.stored import read_study
from bmerge.study.loop import run_study
from bmerge.study_file.load import load_study
from bmerge.trials.constraint import Constraint
from bmerge.trials.objective import Objective, Objectives
from bmerge.trials.trial import Proposal, Trial, best_of, front_of
from grey_study import STUDY
from toy_study import PAYLOADS, Generator, Judge, Thrift, make_study

HANDS = Constraint("hands", "a", 0.1)
SUM = (Objective("score", {"beauty": 1.0}),)
TWO = (Objective("beauty", {"beauty": 1.0}), Objective("hands", {"hands": 1.0}))


def trial(number, beauty, hands, source="x", state="complete"):
    phase = "baseline" if source.startswith("model") else "iters"
    means = {"beauty": beauty, "hands": hands}
    pictures = ({"id": "p0", "weight": 1.0, "scores": means},)
    return Trial(number, state, Proposal(phase, source, {}, {}), means=means, pictures=pictures)


def scored(*trials, sums=SUM, constraints=(HANDS,)):
    return Objectives(sums, "none", constraints).scored({t.number: t for t in trials})


def test_what_falls_behind_loses_by_what_it_lacks():
    trials = scored(
        trial(0, 0.5, 0.8, "model a"), trial(1, 0.9, 0.1, "model b"), trial(2, 0.7, 0.75),
        trial(3, 0.99, 0.65), trial(4, 0.2, 0.6),
    )  # fmt: skip
    rate = 2 * (0.99 - 0.2) / (0.8 - 0.1)
    expected = [0.5, 0.9 - rate * 0.6, 0.7, 0.99 - rate * 0.05, 0.2 - rate * 0.1]
    assert [t.score for t in trials.values()] == pytest.approx(expected)
    assert [t.number for t in trials.values() if t.broken] == [1, 3, 4]
    assert trials[3].score > trials[2].score
    assert best_of(trials).number == 2


@pytest.mark.parametrize("unit", [1.0, 1e-6, 1e6])
def test_units_of_what_is_constrained_do_not_matter(unit):
    rows = ((0.5, 0.8, "model a"), (0.9, 0.1, "model b"), (0.99, 0.65, "x"))
    trials = scored(
        *(trial(n, beauty, unit * hands, source) for n, (beauty, hands, source) in enumerate(rows)),
        constraints=(Constraint("hands", "a", 0.1 * unit),),
    )
    assert trials[2].score == pytest.approx(0.99 - 2 * (0.49 / 0.7) * 0.05)


def test_nothing_is_lowered_before_the_model_is_complete():
    trials = scored(trial(0, 0.5, 0.8, "model a", "running"), trial(1, 0.9, 0.1))
    assert (trials[1].score, trials[1].broken) == (0.9, False)


def test_where_every_trial_breaks_something_the_greatest_score_is_best():
    trials = scored(
        trial(0, 0.5, 0.8, "model a"), trial(1, 0.9, 0.1, "model b"),
        constraints=(HANDS, Constraint("beauty", "b")),
    )  # fmt: skip
    assert trials[0].broken
    assert trials[1].broken
    assert best_of(trials) == max(trials.values(), key=lambda t: t.score)


def test_what_falls_behind_is_not_on_the_front():
    trials = scored(
        trial(0, 0.5, 0.8, "model a"), trial(1, 0.9, 0.6), trial(2, 0.8, 0.75), sums=TWO
    )  # fmt: skip
    lost = 0.9 - trials[1].scores[0]
    assert trials[1].scores == pytest.approx((0.9 - lost, 0.6 - lost))
    assert lost > 0
    assert [t.number for t in front_of(trials)] == [0, 2]


def thrifty(folder, constraints, **changes):
    """Return a study whose best merges have much of model b in BASE, which thrift rates down."""
    judges = (WeightedScorer("judge", 1.0, Judge()), WeightedScorer("thrift", 0.0, Thrift()))
    return make_study(
        folder, "bayes", n_iters=15, init=4,
        objectives=Objectives((Objective("score", {"judge": 1.0}),), "none", constraints),
        evaluator=Evaluator(Generator(), judges, PAYLOADS), **changes,
    )  # fmt: skip


def test_a_search_finds_the_best_that_keeps_to_its_constraint(tmp_path):
    free = run_study(thrifty(tmp_path / "free", ())).best
    assert free.proposal.weights["alpha"].of("BASE") > 0.6
    half = (Constraint("thrift", "a", 35.0),)  # a BASE of 0.5 at most
    bound = run_study(thrifty(tmp_path / "bound", half)).best
    assert bound.proposal.weights["alpha"].of("BASE") <= 0.5
    stored = read_study(tmp_path / "bound")
    assert stored.objectives.constraints == half
    keeping = [t for t in stored.trials.values() if not t.broken]
    assert all(t.means["thrift"] >= 966 - 1e-9 for t in keeping)
    assert bound.score == max(t.score for t in keeping)
    assert bound.score > max(t.score for t in keeping if t.proposal.phase == "baseline")
    assert sum(t.proposal.asked for t in keeping) > 5, "the optimiser was not led back"


def test_constraints_are_read_and_survive_the_definition(tmp_path):
    file = tmp_path / "study.yaml"
    plain = yaml.safe_load(STUDY)

    def read(constraint, **others):
        file.write_text(yaml.safe_dump({**plain, "constraints": [constraint], **others}))
        return load_study(file).objectives

    found = read({"scorer": "brightness", "model": "b", "slack": 0.2})
    assert found.constraints == (Constraint("brightness", "b", 0.2),)
    assert Objectives.of(json.loads(json.dumps(found.describe()))) == found
    right = {"scorer": "middling", "model": "a"}
    for wrong, others, text in (
        ({"scorer": "mid", "model": "a"}, {}, "no scorer has the label 'mid'"),
        ({"scorer": "middling", "model": "c"}, {}, "no model 'c' in the merge: it has a, b"),
        ({**right, "slack": -1}, {}, "slack must be 0 or more, not -1"),
        ({"model": "a"}, {}, "needs the key 'scorer'"),
        (right, {"baselines": False}, "constraints need the baselines"),
    ):
        with pytest.raises(BmergeError, match=text):
            read(wrong, **others)
