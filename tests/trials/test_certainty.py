"""How sure a lead is where pictures share prompts, by other computations of the same."""

from __future__ import annotations

from dataclasses import astuple, replace

import numpy as np
import pytest
from scipy import linalg, stats

from bmerge import Payload
from bmerge.evaluate.payloads import Prompt, Witnesses, make_payloads
from bmerge.trials.certainty import lead_of, score_of
from bmerge.trials.comparison import comparison
from bmerge.trials.objective import Objective
from toy_study import ONE

SCALE = ONE.scale({})


def pictures(prompts, scores, weights=None):
    """Return records of pictures; ``prompts`` says of which prompt each is."""
    return [
        {"id": f"p{prompt:02d}-s{place}", "file": "", "seed": place, "weight": float(weight),
         "scores": {"judge": float(score)}}
        for place, (prompt, score, weight) in enumerate(
            zip(prompts, scores, weights or [1.0] * len(prompts), strict=True)
        )
    ]  # fmt: skip


def rows(prompts, seed=0, shift=0.1):
    """Return pictures of two merges: offsets far greater than what prompts like, and noise."""
    rng = np.random.default_rng(seed)
    hard = rng.normal(0, 5, len(prompts))
    liked = rng.normal(shift, 0.2, max(prompts) + 1)[prompts]
    return hard + liked + rng.normal(0, 0.1, len(prompts)), hard


def bias_reduced(differences, prompts):
    """Return the error and the degrees of freedom by matrices, as Bell and McCaffrey have them."""
    count = len(differences)
    design = np.ones((count, 1))
    hat = design @ np.linalg.inv(design.T @ design) @ design.T
    rest = np.eye(count) - hat
    columns = []
    for prompt in set(prompts):
        at = np.flatnonzero(np.array(prompts) == prompt)
        adjusted = linalg.inv(linalg.sqrtm(np.eye(len(at)) - hat[np.ix_(at, at)]))
        columns.append(rest[:, at] @ adjusted @ np.ones(len(at)) / count)
    columns = np.array(columns).T
    values = np.linalg.eigvalsh(columns.T @ columns)
    error = np.sqrt(((columns.T @ differences) ** 2).sum())
    return error, values.sum() ** 2 / (values**2).sum()


@pytest.mark.parametrize(
    "prompts",
    [[0, 0, 1, 1, 2, 2, 3, 3], [0, 0, 0, 1, 2, 2, 3, 3, 3, 3], [0] * 9 + [1, 2], [0, 1, 2, 3, 4]],
    ids=["pairs", "unequal", "mostly one", "single"],
)
def test_errors_are_those_of_a_bias_reduced_regression(prompts):
    own, other = rows(prompts)
    lead = lead_of(SCALE, pictures(prompts, own), pictures(prompts, other))
    assert lead.value == pytest.approx((own - other).mean())
    assert (lead.error, lead.freedom) == pytest.approx(bias_reduced(own - other, prompts))


def test_prompts_with_as_many_pictures_each_are_compared_by_their_means():
    prompts = [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    own, other = rows(prompts)
    found = comparison("b", SCALE, pictures(prompts, own), pictures(prompts, other))
    means = (own - other).reshape(4, 3).mean(1)
    expected = stats.ttest_1samp(means, 0)
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx((*expected.confidence_interval(),))


def test_a_score_has_an_error_by_prompts_too():
    prompts = [0, 0, 1, 1, 2, 2]
    row, _ = rows(prompts)
    found, means = score_of(SCALE, pictures(prompts, row)), row.reshape(3, 2).mean(1)
    assert found.value == pytest.approx(row.mean())
    assert found.interval == pytest.approx((*stats.ttest_1samp(means, 0).confidence_interval(),))


@pytest.mark.parametrize("by_prompt", [True, False])
def test_pictures_of_one_prompt_are_compared_one_by_one(by_prompt):
    own, other = rows([0] * 8)
    one, two = pictures([0] * 8, own), pictures([0] * 8, other)
    if not by_prompt:
        one, two = ([{**p, "id": f"p{n // 2}-s0"} for n, p in enumerate(row)] for row in (one, two))
    lead = lead_of(SCALE, one, two, by_prompt=by_prompt)
    assert lead.value / lead.error == pytest.approx(stats.ttest_rel(own, other).statistic)
    assert lead.freedom == pytest.approx(7)


def listed(texts, seeds=(1, 2), **settings):
    """Return the pictures of a study file's prompts, and a scale that knows how they hang."""
    prompts = [Prompt(Payload("", text, **settings), seeds) for text in texts]
    payloads = make_payloads(prompts, ())
    return payloads, replace(SCALE, witnesses=Witnesses.of(payloads))


def judged(payloads, scores):
    return [
        {"id": p.id, "file": "", "seed": p.seed, "weight": 1.0, "scores": {"judge": float(score)}}
        for p, score in zip(payloads, scores, strict=True)
    ]


def test_a_prompt_that_is_listed_twice_is_one_witness():
    payloads, scale = listed(["a cat", "a dog", "a  cat", "a hat", "a fox"])
    together = [0, 0, 1, 1, 0, 0, 2, 2, 3, 3]
    own, other = rows(together)
    lead = lead_of(scale, judged(payloads, own), judged(payloads, other))
    assert (lead.error, lead.freedom) == pytest.approx(bias_reduced(own - other, together))
    found = score_of(scale, judged(payloads, own))
    assert (found.error, found.freedom) == pytest.approx(bias_reduced(own - own.mean(), together))


def test_entries_that_wildcards_drew_the_same_text_for_are_one_prompt():
    payloads, _ = listed(["a", "b", "c", "d"])
    drawn = [*payloads[:3], replace(payloads[3], prompt="c"), *payloads[4:]]
    witnesses = Witnesses.of(drawn)
    prompts = [witnesses.prompt(payload.id) for payload in drawn]
    assert [prompts.index(prompt) for prompt in prompts] == [0, 0, 2, 2, 2, 2, 6, 6]


@pytest.mark.parametrize("texts", [["a", "b", "a", "c"], ["a", "a", "a", "a"]])
def test_a_picture_that_is_there_twice_is_one_where_each_is_on_its_own(texts):
    payloads, scale = listed(texts, seeds=(1, 2, 3))
    doubles = [texts.index(text) * 3 + seed for text in texts for seed in range(3)]
    own, other = rows(doubles)
    one, two = judged(payloads, own), judged(payloads, other)
    lead = lead_of(scale, one, two, by_prompt=False)
    assert (lead.error, lead.freedom) == pytest.approx(bias_reduced(own - other, doubles))
    fresh = [[{**p, "seed": n} for n, p in enumerate(row)] for row in (one, two)]
    apart = lead_of(scale, *fresh, by_prompt=False)
    assert apart.value / apart.error == pytest.approx(stats.ttest_rel(own, other).statistic)


@pytest.mark.parametrize("sizes", [[2] * 8, [4, 4, 2, 2, 1, 1], [3] * 12 + [2] * 12])
def test_equal_merges_are_called_different_by_one_in_twenty(sizes):
    rng, prompts = np.random.default_rng(4), np.repeat(range(len(sizes)), sizes)
    found = []
    for _ in range(600):
        liked = rng.normal(0, 0.1, len(sizes))[prompts] + rng.normal(0, 0.04, len(prompts))
        row = pictures(prompts, liked), pictures(prompts, 0 * liked)
        found.append(comparison("b", SCALE, *row).p)
    assert 0.03 < np.mean(np.array(found) < 0.05) < 0.07
    assert np.mean(np.array(found) < 0.01) < 0.022


def test_what_weighs_nothing_or_is_judged_by_nobody_witnesses_nothing():
    own, other = rows([0, 0, 1, 1, 2, 2], shift=1.0)
    alone = lead_of(SCALE, pictures([0, 0, 1, 1, 2, 2], own), pictures([0, 0, 1, 1, 2, 2], other))
    more, weights = [0, 0, 1, 1, 2, 2, 2, 3], [1.0] * 6 + [0.0, 0.0]
    one, two = (pictures(more, [*row, 9, 9], weights) for row in (own, other))
    assert astuple(lead_of(SCALE, one, two)) == pytest.approx(astuple(alone))
    for row in (one, two):
        row[6:] = [{**p, "weight": 1.0, "scores": {"other": 1.0}} for p in row[6:]]
    assert astuple(lead_of(SCALE, one, two)) == pytest.approx(astuple(alone))


def test_scorers_of_other_pictures_each_have_an_error_of_their_own():
    own, other = rows([0, 1, 2, 3, 4, 5], shift=1.0)
    one, two = pictures(range(6), own), pictures(range(6), other)
    for row in (one, two):
        row[3:] = [{**p, "scores": {"hands": p["scores"]["judge"]}} for p in row[3:]]
    scale = replace(SCALE, sums=(Objective("", {"judge": 0.5, "hands": 2.0}),))
    lead = lead_of(scale, one, two)
    halves = np.split(own - other, 2)
    assert lead.value == pytest.approx(0.5 * halves[0].mean() + 2 * halves[1].mean())
    parts = np.repeat([0.5, 2.0], 3) / 7.5
    errors = np.concatenate([w * (h - h.mean()) / 3 for w, h in zip((0.5, 2), halves, strict=True)])
    assert lead.error == pytest.approx(np.sqrt((errors**2 / (1 - parts)).sum()))


@pytest.mark.parametrize("weights", [[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
def test_a_single_picture_says_nothing_for_certain(weights):
    own, other = pictures([0, 1, 2], [3, 2, 1], weights), pictures([0, 1, 2], [0, 0, 0], weights)
    found = comparison("b", SCALE, own, other)
    assert (found.low, found.high, found.p) == (-np.inf, np.inf, 1.0)
    assert found.verdict == "not shown to be better"


@pytest.mark.parametrize("size", [1e300, 1e-300])
def test_scores_of_any_size_have_errors(size):
    own = pictures([0, 0, 1, 1, 2, 2], np.array([1, 2, 3, 5, 4, 7]) * size)
    other = pictures([0, 0, 1, 1, 2, 2], np.zeros(6))
    lead = lead_of(SCALE, own, other)
    assert 0 < lead.error < np.inf
    assert lead.value / lead.error == pytest.approx(stats.ttest_1samp([1.5, 4, 5.5], 0).statistic)
