"""Winners are compared on fresh pictures: which, how, and what is said of it."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from bmerge import Payload, StudyError
from bmerge.evaluate.evaluation import Evaluator
from bmerge.evaluate.scoring import WeightedScorer
from bmerge.recipe import BlockWeights
from bmerge.storage.stored import read_study
from bmerge.study.loop import run_study
from bmerge.study.prove import Entry, contenders_of, fresh_payloads, prove, share_of
from bmerge.trials.constraint import Constraint
from bmerge.trials.objective import Objective, Objectives
from bmerge.trials.proof import Contender, ProofStore, compared, load_proof
from bmerge.trials.trial import front_of
from bmerge.trials.winner import winner_of
from noisy_study import PAYLOADS, Judge, Painter
from toy_study import BEST, ONE, TWO, make_study


def study_of(folder, painter, **changes):
    evaluator = Evaluator(painter, (WeightedScorer("judge", 1.0, Judge()),), PAYLOADS)
    changes = {"n_iters": 1, "init": 1, "racing": "off", **changes}
    return make_study(folder, evaluator=evaluator, **changes)


def records(scores, weights=None):
    return {
        f"p{i}-fresh-0": {
            "id": f"p{i}-fresh-0", "payload": f"p{i}", "file": "x", "seed": i,
            "weight": 1.0 if weights is None else weights[i], "scores": {"judge": score},
        }
        for i, score in enumerate(scores)
    }  # fmt: skip


@pytest.mark.parametrize(("shift", "verdict"), [
    (0.5, "better"), (0.0, "not shown to be better"), (-0.5, "worse"),
])  # fmt: skip
def test_comparison_is_the_paired_t_test(tmp_path, shift, verdict):
    rng = np.random.default_rng(3)
    hard = rng.normal(0, 5, 16)  # prompts differ far more than merges
    one, other = hard + rng.normal(shift, 0.3, 16), hard + rng.normal(0, 0.3, 16)
    store = ProofStore(tmp_path)
    store.pictures = {"one": records(one), "other": records(other)}
    both = [Contender("one", "trial 7"), Contender("other", "model a")]
    proof = compared(store, both, ONE.scale({}))
    (found,) = proof.comparisons
    expected = stats.ttest_rel(one, other)
    low, high = expected.confidence_interval()
    assert found.difference == pytest.approx(one.mean() - other.mean())
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.verdict, found.pictures, found.rival) == (verdict, 16, "model a")
    assert proof.means == pytest.approx({"trial 7": one.mean(), "model a": other.mean()})


def test_comparison_counts_prompts(tmp_path):
    rng, store = np.random.default_rng(3), ProofStore(tmp_path)
    liked = rng.normal(0.5, 0.3, 8)
    one, other = np.repeat(liked, 2) + rng.normal(0, 0.05, 16), np.zeros(16)
    store.pictures = {"one": records(one), "other": records(other)}
    for row in store.pictures.values():
        for place, record in enumerate(row.values()):
            record["payload"] = f"p{place // 2:02d}-s{place % 2}"
    both = [Contender("one", "trial 7"), Contender("other", "model a")]
    (found,) = compared(store, both, ONE.scale({})).comparisons
    assert found.p == pytest.approx(stats.ttest_1samp(one.reshape(8, 2).mean(1), 0).pvalue)
    assert found.pictures == 16


def test_weighted_pictures_count_by_their_weights(tmp_path):
    one, other, weights = [1.0, 2.0, 4.0], [0.0, 2.0, 1.0], [1.0, 2.0, 5.0]
    store = ProofStore(tmp_path)
    store.pictures = {"one": records(one, weights), "other": records(other, weights)}
    proof = compared(store, [Contender("one", "a"), Contender("other", "b")], ONE.scale({}))
    difference = np.average(np.subtract(one, other), weights=weights)
    assert proof.comparisons[0].difference == pytest.approx(difference)


@pytest.mark.parametrize(("shift", "verdict"), [
    (0.5, "holds"), (-0.1, "not shown to hold"), (-0.5, "breaks"),
])  # fmt: skip
def test_a_constraint_is_judged_on_the_fresh_pictures_that_its_scorer_judges(
    tmp_path, shift, verdict
):
    rng = np.random.default_rng(4)
    hard = rng.normal(0, 5, 16)
    one, model = hard + rng.normal(shift, 0.3, 16), hard + rng.normal(0, 0.3, 16)
    store = ProofStore(tmp_path)
    store.pictures = {"one": records(range(20)), "model": records(range(20))}
    for key, scores in (("one", one), ("model", model)):
        for place, score in enumerate(scores):  # the last four are not of hands
            store.pictures[key][f"p{place}-fresh-0"]["scores"]["hands"] = score
    contenders = [Contender("one", "trial 7"), Contender("model", "trial 0", "model a")]
    hands = Constraint("hands", "a", slack=0.1)
    proof = compared(store, contenders, replace(ONE, constraints=(hands,)).scale({}))
    margin = proof.margins[str(hands)]["trial 7"]
    low, high = stats.ttest_rel(one, model).confidence_interval()
    assert margin.least == pytest.approx(np.mean(one - model) + 0.1)
    assert (margin.low, margin.high) == pytest.approx((low + 0.1, high + 0.1))
    assert margin.verdict == verdict
    assert proof.margins[str(hands)]["trial 0"].verdict == "holds"
    alone = compared(store, contenders[:1], replace(ONE, constraints=(hands,)).scale({}))
    assert not alone.margins, "the model is not among them"


def test_fresh_pictures_have_seeds_that_the_search_has_not_and_more_begin_alike():
    fresh = fresh_payloads(PAYLOADS, 30, seed=5)
    seeds = [payload.seed for payload, _ in fresh]
    assert len(set(seeds) | {p.seed for p in PAYLOADS}) == 30 + len(PAYLOADS)
    assert len({payload.id for payload, _ in fresh}) == 30
    assert {source for _, source in fresh} == {p.id for p in PAYLOADS}
    assert fresh_payloads(PAYLOADS, 40, seed=5)[:30] == fresh
    ((first, _),) = fresh_payloads([Payload("p", "", seed=1)], 1, seed=5)
    ((other, _),) = fresh_payloads([Payload("p", "", seed=first.seed)], 1, seed=5)
    assert other.seed != first.seed, "the search has seen that one"


def test_fresh_pictures_are_of_as_many_prompts_as_there_are():
    prompts = [f"p{prompt}" for prompt in range(5) for _ in range(3)]
    payloads = [Payload(f"{prompt}-s{n}", prompt, seed=n) for n, prompt in enumerate(prompts)]
    fresh = [payload.prompt for payload, _ in fresh_payloads(payloads, 40, seed=5)]
    assert all(len(set(fresh[n : n + 5])) == 5 for n in range(0, 40, 5))


def test_fresh_pictures_are_of_as_many_prompts_where_one_is_listed_several_times():
    texts = ["a", "a", "a", "a", "b", "c"]
    payloads = [Payload(f"p{n:02d}-s1", text, seed=1) for n, text in enumerate(texts)]
    fresh = [payload.prompt for payload, _ in fresh_payloads(payloads, 12, seed=5)]
    assert set(fresh[:3]) == {"a", "b", "c"}
    assert sorted(fresh) == ["a"] * 8 + ["b"] * 2 + ["c"] * 2, "an entry weighs as it is listed"


def test_the_winner_is_compared_with_the_next_best_and_all_baselines(tmp_path):
    painter = Painter()
    study = study_of(tmp_path, painter, confirm=60)
    proof = run_study(study).proof
    trials = read_study(tmp_path).trials
    best = winner_of(trials, ONE)
    assert proof.first.startswith(f"trial {best.number}")
    rivals = {c.rival for c in proof.comparisons}
    assert {"trial 0 (model a)", "trial 1 (model b)", "trial 2 (centre)"} <= rivals | {proof.first}
    assert len(rivals) + 1 == len(trials) == 5  # all of them are among the best or baselines
    painted = painter.painted[len(trials) :]
    assert all(ids == painted[0] and len(ids) == 12 for ids in painted)
    assert not set(painted[0]) & {p.id for p in PAYLOADS}
    assert load_proof(tmp_path, ONE.scale({})) == proof
    run_study(study)
    assert len(painter.painted) == len(trials) + 5, "pictures were made twice"


def test_a_proof_that_stops_goes_on_without_losing_a_picture(tmp_path):
    study = study_of(tmp_path, Painter(), patience=0.0)
    run_study(study)
    trials = read_study(tmp_path).trials
    entries = contenders_of(study, trials, ())
    broken = replace(study, evaluator=replace(study.evaluator, generator=Painter(fail={(2, 3)})))
    with pytest.raises(StudyError, match="no answer"):
        prove(broken, trials, entries, 8, lambda _: None)
    painter = Painter()
    whole = replace(study, evaluator=replace(study.evaluator, generator=painter))
    events = []
    prove(whole, trials, entries, 8, events.append)
    assert list(map(len, painter.painted)) == [5, 8, 8, 8]
    assert (events[0].done, events[0].total) == (4, 8)
    known = json.loads((tmp_path / "confirm" / "pictures.json").read_text())["pictures"]
    assert all(len(pictures) == 8 for pictures in known.values())
    assert all((tmp_path / p["file"]).is_file() for c in known.values() for p in c.values())


def test_equal_merges_are_painted_once_and_others_may_join(tmp_path):
    study = study_of(tmp_path, Painter())
    run_study(study)
    trials = read_study(tmp_path).trials
    perfect = Entry(Contender("x", "perfect"), {"alpha": BlockWeights(0.5, dict(BEST))})
    entries = contenders_of(study, {**trials, 9: replace(trials[0], number=9)}, [perfect])
    assert len({e.contender.key for e in entries}) == len(entries) == 6
    proof = prove(study, trials, [perfect, *entries[:-1]], 30, lambda _: None)
    assert {c.verdict for c in proof.comparisons} == {"better"}


def test_what_proves_nothing_is_refused(tmp_path):
    study = study_of(tmp_path, Painter())
    run_study(study)
    trials = read_study(tmp_path).trials
    entries = contenders_of(study, trials, ())
    with pytest.raises(StudyError, match="3 pictures for each of 5 merges prove nothing"):
        prove(study, trials, entries, 3, lambda _: None)
    with pytest.raises(StudyError, match="no trial is complete"):
        contenders_of(study, {}, ())
    assert [share_of(None, painted, 5) for painted in (100, 320, 9000)] == [2, 8, 12]
    assert share_of(200, 9000, 5) == 40


@pytest.mark.parametrize("pictures", [1, 11])
def test_a_confirmation_that_would_prove_nothing_is_refused_before_the_first_trial(
    tmp_path, pictures
):
    message = rf"confirm: {pictures} pictures for 3 merges or more prove nothing"
    with pytest.raises(StudyError, match=message):
        run_study(study_of(tmp_path, Painter(), confirm=pictures))
    assert not list(tmp_path.glob("pictures/*"))


def test_a_confirmation_is_left_out_where_the_search_made_too_many_merges(tmp_path, caplog):
    finished = run_study(study_of(tmp_path, Painter(), confirm=16))
    assert (finished.proof, finished.checkpoint.is_file()) == (None, True)
    assert "is not confirmed: 16 pictures for 5 merges prove nothing" in caplog.text


def test_winner_without_rivals_needs_no_proof(tmp_path, caplog):
    study = study_of(tmp_path, Painter(), n_iters=0, confirm=None)
    alone = replace(study, queue=study.queue[:1] * 4)  # one merge, as where races leave one
    finished = run_study(alone)
    assert (len(read_study(tmp_path).trials), finished.proof) == (4, None)
    assert run_study(replace(alone, confirm=60)).proof is None
    assert "is not confirmed: there is no other merge to compare it with" in caplog.text


def test_normalised_scores_are_compared_too(tmp_path):
    objectives = Objectives((Objective("one", {"judge": 1.0}),), "zscore")
    proof = run_study(study_of(tmp_path, Painter(), objectives=objectives, confirm=60)).proof
    raw = ProofStore(tmp_path)
    columns = [[r["scores"]["judge"] for r in raw.records(c).values()] for c in raw.contenders]
    scale = objectives.scale(read_study(tmp_path).trials)
    unit = scale.normal["judge"]("p00", 1.0) - scale.normal["judge"]("p00", 0.0)
    by_id = [[r["weight"] for r in raw.records(c).values()] for c in raw.contenders]
    expected = [
        unit * (np.average(columns[0], weights=by_id[0]) - np.average(c, weights=by_id[0]))
        for c in columns[1:]
    ]
    assert [c.difference for c in proof.comparisons] == pytest.approx(expected)


def test_points_of_the_front_are_confirmed_in_every_objective(tmp_path):
    proof = run_study(make_study(tmp_path, n_iters=12, objectives=TWO, confirm=120)).proof
    trials = read_study(tmp_path).trials
    front = {trial.number for trial in front_of(trials)}
    painted = {int(name.split()[1]) for name in proof.means}
    assert len(front & painted) >= min(6, len(front)) > 3
    for axis in (0, 1):
        assert max(trials.values(), key=lambda t: t.scores[axis]).number in painted
    for name, part in proof.parts.items():
        assert [*part] == ["quality", "thrift"]
        assert sum(part.values()) == pytest.approx(proof.means[name])
    points = {name: np.array([*part.values()]) for name, part in proof.parts.items()}
    behind = {n for n, x in points.items() for y in points.values() if all(y >= x) and any(y > x)}
    assert set(proof.front) == set(points) - behind
    assert proof.front
    assert load_proof(tmp_path, TWO.scale(trials)) == proof


def record(name):
    return {"id": name, "payload": name, "file": f"{name}.png", "seed": 1, "weight": 1.0,
            "scores": {"judge": 0.5}}  # fmt: skip


def test_a_line_that_a_kill_cut_short_costs_its_picture_alone(tmp_path):
    contender, file = Contender("one", "trial 1"), tmp_path / "confirm" / "pictures.jsonl"
    store = ProofStore(tmp_path)
    for name in ("p", "q"):
        store.add(contender, record(name))
    with file.open("ab") as lines:
        lines.write(b'["one", {"id": "r", "payl')
    again = ProofStore(tmp_path)
    assert again.records(contender) == {name: record(name) for name in ("p", "q")}
    again.add(contender, record("s"))
    assert list(ProofStore(tmp_path).records(contender)) == ["p", "q", "s"]
    again.settle([contender])
    assert not file.exists()
    assert list(ProofStore(tmp_path).records(contender)) == ["p", "q", "s"]


def test_the_last_picture_of_a_proof_costs_no_more_to_keep_than_the_first(tmp_path):
    contender, file = Contender("one", "trial 1"), tmp_path / "confirm" / "pictures.jsonl"
    store, written = ProofStore(tmp_path), []
    for number in range(100, 200):
        before = file.stat().st_size if file.exists() else 0
        store.add(contender, record(f"p{number}"))
        written.append(file.stat().st_size - before)
    assert len(set(written)) == 1
    assert sorted(path.name for path in file.parent.iterdir()) == [file.name]


def test_what_is_no_file_in_the_place_of_pictures_is_not_waited_for(tmp_path):
    (tmp_path / "confirm").mkdir()
    os.mkfifo(tmp_path / "confirm" / "pictures.jsonl")
    with pytest.raises(StudyError, match=r"pictures\.jsonl cannot be written: it is not a file"):
        ProofStore(tmp_path).add(Contender("one", "trial 1"), record("p"))
