"""Baselines: every method's studies begin with each model as it is, and with the centre."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import replace

import numpy as np
import pytest

from bmerge import MethodError, RecipeError, load_registry
from bmerge.architectures import builtin, detect
from bmerge.executors import NativeExecutor
from bmerge.formats import open_checkpoint
from bmerge.host.study_queue import given_proposals, queue_of
from bmerge.method import Hyperparameter
from bmerge.pipeline import TAKES, Merger
from bmerge.recipe import ModelRef, Recipe
from bmerge.storage.stored import read_study
from bmerge.study.loop import run_study
from bmerge.study_file.load import load_study
from bmerge.study_file.space_config import build_space
from bmerge.study_file.space_entry import HyperparameterSpace
from bmerge.testing.checkpoints import read_checkpoint, write_checkpoint
from bmerge.trials.baselines import baselines, model_name, pure_models
from toy_study import ALPHA, TOY, make_study

REGISTRY = load_registry()
NAMES = "abcde"
STUDY = """
merge: {{method: {method}, models: [{models}]}}
payloads: {{prompts: [x]}}
generator: {{name: demo}}
scorers: [{{name: sharpness}}]
optimiser: {{init_points: 0}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder of five small models."""
    folder = tmp_path_factory.mktemp("models")
    rng = np.random.default_rng(1)
    for name in NAMES:
        tensors = {f"x.{i}.weight": rng.normal(size=(4, 3)).astype("f4") for i in range(2)}
        write_checkpoint(folder / f"{name}.safetensors", tensors)
    return folder


def parts(folder, method, count):
    """Return a merger of so many models, and the baselines of its study."""
    paths = [folder / f"{name}.safetensors" for name in NAMES[:count]]
    file = folder / f"{method.name}-{count}.yaml"
    models = ", ".join(path.name for path in paths)
    file.write_text(STUDY.format(method=method.name, models=models))
    checkpoints = [open_checkpoint(path) for path in paths]
    architecture = detect(checkpoints[0].tensors, builtin())
    merger = Merger(
        Recipe(method.name, tuple(ModelRef(str(path)) for path in paths)),
        method={TAKES: REGISTRY.method(TAKES), method.name: method},
        checkpoints=checkpoints,
        architecture=architecture,
        executor=NativeExecutor(),
        scratch=folder / "scratch",
    )
    search = build_space({}, method.hyperparameters_of(count), architecture)
    config = load_study(file)
    given = tuple(given_proposals(config, architecture, search, REGISTRY))
    return merger, list(queue_of(config, search, given)), paths


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("name", sorted({method.name for method in REGISTRY.methods.values()}))
def test_every_method_begins_with_its_models_to_the_byte(folder, name, count):
    method = REGISTRY.method(name)
    try:
        method.check_models(count)
    except MethodError:
        return  # it takes another number
    for wrong, message in (
        (not method.hyperparameters_of(count), "nothing to search"),
        (name == "add" and count > 1, "takes a difference"),
    ):
        if wrong:  # there is no such study
            with pytest.raises(RecipeError, match=message):
                parts(folder, method, count)
            return
    merger, queue, paths = parts(folder, method, count)
    sources = [(proposal.phase, proposal.source) for proposal in queue]
    models = [("baseline", f"model {letter}") for letter in NAMES[:count]]
    assert sources == [*models, ("baseline", "centre")]
    for index, (proposal, path) in enumerate(zip(queue, paths, strict=False)):
        assert proposal.merge == proposal.model == index
        with merger.model(proposal.merge) as made:
            found = read_checkpoint(made.file())
        wanted = read_checkpoint(path)
        assert list(found) == list(wanted)
        assert all(found[key].tobytes() == wanted[key].tobytes() for key in wanted)
        if proposal.weights:  # they mean the same
            copies = merger.plan(proposal.weights).copies
            assert {(job.key, job.source.file) for job in copies} == {(k, path) for k in wanted}
    assert queue[-1].model is None
    assert queue[-1].merge == queue[-1].weights


@pytest.mark.parametrize(
    ("name", "count", "known"),
    [
        ("weighted_sum", 2, {0: {"alpha": 0.0}, 1: {"alpha": 1.0}}),
        ("add_difference", 3, {0: {"alpha": 0.0}}),
        (
            "linear",
            5,
            {i: {f"weight_{j}": float(i + 1 == j) for j in range(1, 6)} for i in range(5)},
        ),
        ("slerp", 2, {}),
        ("karcher", 3, None),
    ],
)
def test_a_model_that_is_a_point_of_the_space_has_its_values(folder, name, count, known):
    _, queue, _ = parts(folder, REGISTRY.method(name), count)
    found = {
        proposal.model: {key: weights.default for key, weights in proposal.weights.items()}
        for proposal in queue[:-1]
        if proposal.weights
    }
    if known is not None:
        assert found == known
    for proposal in queue[:-1]:
        assert set(proposal.values) in (set(), set(queue[-1].values))
        assert bool(proposal.values) == bool(proposal.weights)


def test_values_outside_the_space_are_not_told_and_the_model_is_tried_all_the_same():
    narrow = build_space({"alpha": HyperparameterSpace(range=(0.2, 1.0))}, [ALPHA], TOY)
    first, second, centre = baselines(narrow, {0: {"alpha": 0.0}, 1: {"alpha": 1.0}}, 2)
    assert (first.values, first.model) == ({}, 0)
    assert set(second.values.values()) == {1.0}
    assert (centre.source, centre.model) == ("centre", None)


@pytest.mark.parametrize("count", [2, 40, 300])
def test_many_models_take_no_more_settings(count):
    asked = []

    def never(values):
        asked.append(values)

    weight = Hyperparameter("weight", 0.5, 0.0, 1.0, per_model=True)
    scale = Hyperparameter("scale", 1.0, 0.0, 2.0)
    groups = [weight.of_models(count), scale.of_models(count), scale.of_models(count)]
    assert pure_models(groups, never, count) == {}
    assert len(asked) <= 1000
    assert all(len(values) == count + 2 for values in asked)


def test_a_weight_of_one_for_each_of_many_models_is_found():
    weight = Hyperparameter("weight", 0.5, 0.0, 1.0, per_model=True)

    def chosen(values):
        return values.index(1.0) if sorted(values) == [0.0] * 29 + [1.0] else None

    found = pure_models([weight.of_models(30)], chosen, 30)
    assert list(found) == list(range(30))
    assert found[7] == {f"weight_{i}": float(i == 8) for i in range(1, 31)}


def test_models_have_letters_however_many():
    names = [model_name(index) for index in range(703)]
    assert names[:3] == ["a", "b", "c"]
    assert names[25:28] == ["z", "aa", "ab"]
    assert names[701:] == ["zz", "aaa"]
    assert len(set(names)) == len(names)


def test_a_model_as_it_is_is_stored_and_read(tmp_path):
    run_study(make_study(tmp_path, init=0, n_iters=0))
    trials = read_study(tmp_path).trials
    assert [trial.proposal.model for trial in trials.values()] == [0, 1, None]
    assert trials[1].proposal.merge == 1
    assert trials[1].proposal.weights["alpha"].default == 1.0
    assert set(trials[1].proposal.values.values()) == {1.0}, "the optimiser is told of it"


@pytest.mark.parametrize("trials", [2, 3, 6])
def test_a_study_that_began_without_models_gets_them_and_repeats_nothing(tmp_path, trials):
    """As with slerp in earlier releases: the centre alone was a baseline."""
    whole = make_study(tmp_path, init=3, n_iters=2)
    began = replace(whole, queue=whole.queue[2:])
    run_study(began, trials=trials)
    run_study(whole)
    found = list(read_study(tmp_path).trials.values())
    assert {trial.state for trial in found} == {"complete"}
    sources = [(trial.proposal.source, tuple(trial.proposal.values.values())) for trial in found]
    assert len(set(sources)) == len(sources) == whole.trials
    wanted = [proposal.source for proposal in whole.queue]
    assert sorted(source for source, _ in sources if source != "random") == sorted(wanted)


def test_trials_of_earlier_releases_are_read_and_go_on(tmp_path):
    """They had no ``model``: hyperparameters meant the same."""
    study = make_study(tmp_path, init=1, n_iters=1)
    run_study(study, trials=3)
    with contextlib.closing(sqlite3.connect(tmp_path / "study.db")) as db, db:
        db.execute("DELETE FROM trial_user_attributes WHERE key = 'model'")
    assert [t.proposal.model for t in read_study(tmp_path).trials.values()] == [None] * 3
    run_study(study)
    found = read_study(tmp_path).trials
    assert [t.proposal.source for t in found.values()] == [
        "model a", "model b", "centre", "sobol", "random",
    ]  # fmt: skip
