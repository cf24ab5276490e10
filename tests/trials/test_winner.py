"""What a study returns: the best trial if it is clearly better than every baseline."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from PIL import Image

from bmerge import Payload, Picture
from bmerge.cli.study_progress import leader_text
from bmerge.evaluate.evaluation import Evaluator
from bmerge.evaluate.payloads import Witnesses
from bmerge.evaluate.scoring import WeightedScorer
from bmerge.recipe import load_recipe
from bmerge.storage.stored import read_study
from bmerge.study.loop import run_study
from bmerge.trials.trial import Proposal, Trial, best_of
from bmerge.trials.winner import winner_of
from noisy_study import PAYLOADS, Judge
from toy_study import ONE, TWO, Generator, make_study


def trial(number, values, phase="iters", label="judge"):
    pictures = tuple(
        {"id": f"p{i}", "seed": 0, "weight": 1.0, "scores": {label: float(value)}}
        for i, value in enumerate(values)
    )
    mean = float(np.mean(values))
    proposal = Proposal(phase, "x", {}, {})
    return Trial(number, "complete", proposal, mean, {label: mean}, pictures)


def leading_by(errors, count=16):
    """Return two rows of scores, the second with a lead of so many standard errors."""
    rng = np.random.default_rng(count)
    hard, difference = rng.normal(0, 5, count), rng.normal(0, 1, count)
    difference += errors * difference.std(ddof=1) / np.sqrt(count) - difference.mean()
    return hard, hard + difference


@pytest.mark.parametrize("count", [4, 16])
@pytest.mark.parametrize(("errors", "number"), [(2.9, 1), (3.1, 2)])
def test_a_lead_of_three_standard_errors_over_the_best_baseline_wins(count, errors, number):
    centre, found = leading_by(errors, count)
    trials = [trial(0, centre - 9, "baseline"), trial(1, centre, "baseline"), trial(2, found)]
    assert winner_of(dict(enumerate(trials)), ONE).number == number
    assert best_of(dict(enumerate(trials))).number == 2


@pytest.mark.parametrize("prompts", [16, 4, 1])
def test_a_merge_that_helps_some_prompts_much_and_others_not_wins(prompts):
    liked = np.repeat([2.0, 1.5, 1.0, 0.0], 4)  # 5.9 errors above 0 by pictures, 2.6 by prompts
    trials = {}
    for place, (row, phase) in enumerate([(0 * liked, "baseline"), (liked, "iters")]):
        one = trial(place, row, phase)
        ids = [f"p{picture * prompts // 16:02d}-s{picture}" for picture in range(16)]
        pictures = tuple({**p, "id": id_} for p, id_ in zip(one.pictures, ids, strict=True))
        trials[place] = replace(one, pictures=pictures)
    assert winner_of(trials, ONE).number == 1


@pytest.mark.parametrize(("repeats", "number"), [(1, 1), (4, 0)])
def test_pictures_that_are_there_several_times_make_no_lead_clear(repeats, number):
    liked = np.tile(leading_by(2.0, 8)[1] - leading_by(2.0, 8)[0], 4)
    payloads = [Payload(f"p{n:02d}-s0", f"{n % 8 if repeats > 1 else n}") for n in range(32)]
    objectives = replace(ONE, witnesses=Witnesses.of(payloads))
    trials = {}
    for place, (row, phase) in enumerate([(0 * liked, "baseline"), (liked, "iters")]):
        one = trial(place, row, phase)
        pictures = zip(one.pictures, payloads, strict=True)
        trials[place] = replace(one, pictures=tuple({**p, "id": of.id} for p, of in pictures))
    assert winner_of(trials, objectives).number == number


@pytest.mark.parametrize("case", ["few", "objectives", "tally", "judges", "no baseline"])
def test_where_nothing_can_be_compared_the_greatest_score_wins(case):
    centre, found = leading_by(1.0, 3 if case == "few" else 16)
    phase = "init" if case == "no baseline" else "baseline"
    rival = trial(0, centre, phase, "other" if case == "judges" else "judge")
    trials = {0: rival, 1: trial(1, found)}
    others = {"objectives": TWO, "tally": replace(ONE, tallies={"judge": "min"})}
    assert winner_of(trials, others.get(case, ONE)).number == 1
    assert winner_of({}, ONE) is None


@dataclass
class Flat(Generator):
    """Paints equally well with whatever it is given."""

    def generate(self, payloads):
        weights = sorted(self.model.weights["alpha"].blocks.values())
        for payload in payloads:
            rng = np.random.default_rng((payload.seed, *(round(1e6 * w) for w in weights)))
            value = payload.seed + rng.normal()
            yield Picture(payload, Image.new("RGB", (8, 8), (9, 9, 9)), {"value": value})


def test_a_search_that_found_nothing_returns_a_baseline_and_says_so(tmp_path):
    evaluator = Evaluator(Flat(), (WeightedScorer("judge", 1.0, Judge()),), PAYLOADS)
    study = make_study(
        tmp_path, n_iters=20, init=1, racing="off", evaluator=evaluator, confirm=60
    )  # fmt: skip
    finished = run_study(study)
    stored = read_study(tmp_path)
    assert finished.best.proposal.phase == "baseline"
    assert finished.leader == best_of(stored.trials) != finished.best
    assert finished.leader.score > finished.best.score
    assert winner_of(stored.trials, stored.objectives) == finished.best
    assert load_recipe(finished.recipe) == study.merger.recipe(finished.best.proposal.merge)
    assert finished.proof.first == f"trial {finished.best.number} ({finished.best.proposal.source})"
    assert f"trial {finished.leader.number}" in {c.rival for c in finished.proof.comparisons}
    text = leader_text(finished.leader, finished.best)
    assert text.startswith(f"trial {finished.leader.number} leads {finished.best.proposal.source}")
