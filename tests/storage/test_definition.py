"""A study's definition and the JSON that is stored of it, by this release and the first one."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest

from bmerge.errors import StudyError
from bmerge.recipe.schema import PluginRef
from bmerge.storage.definition import StudyDefinition
from bmerge.storage.recorded import Recorded
from bmerge.storage.sections import ArchitectureDefinition
from bmerge.storage.unchanged import check_definition
from bmerge.trials.objective import Objective, Objectives
from toy_study import make_study

DEFAULTS = {
    "partial_loras": False, "layout": None, "parts": [], "prefix": None, "quantise": "auto",
    "plugins": [],
}  # fmt: skip
"""Keys of a recipe that the first release did not know."""
FIRST = Path(__file__).parents[1] / "data" / "definitions" / "first_release.json"


@pytest.fixture
def first():
    """What the first release stored."""
    return json.loads(FIRST.read_text(encoding="utf-8"))


def test_a_definition_of_the_first_release_is_understood(first):
    known = StudyDefinition.from_json(first)
    assert known.merge.method == "from_middle"
    assert known.merge.models == tuple(first["merge"]["models"])
    assert known.merge.others["on_missing"] == "keep"
    assert known.space.parameters == {"pull": (0.0, 2.0)}
    assert known.space.numbers == {"pull": (0.0, 2.0)}
    assert [(p.id, p.steps, p.tags) for p in known.payloads] == [
        ("p00-s0", None, ()), ("p01-s0", 3, ("far",)),
    ]  # fmt: skip
    assert (known.generator.name, known.generator.options) == ("swatch", None)
    assert [(s.label, s.weight, s.only) for s in known.scorers] == [
        ("brightness", 1.0, ()), ("sharpness", 0.0, ("far",)),
    ]  # fmt: skip
    assert known.objectives == Objectives((Objective("score", {"brightness": 1.0}),))
    assert (known.optimiser.init, known.optimiser.init_points) == ("sobol", 2)
    assert known.attempts == ({"pull": 1.5},)
    assert known.recorded == Recorded()


def test_a_stored_definition_knows_which_prompts_are_the_same(first):
    one, other = first["payloads"]
    witnesses = StudyDefinition.from_json(first).objectives.witnesses
    assert witnesses.prompt("p00-s0") != witnesses.prompt("p01-s0")
    other["prompt"] = one["prompt"]
    witnesses = StudyDefinition.from_json(first).objectives.witnesses
    assert witnesses.prompt("p00-s0") == witnesses.prompt("p01-s0")
    assert witnesses.picture("p00-s0", 0) != witnesses.picture("p01-s0", 0), "of other steps"


def test_a_definition_of_the_first_release_is_stored_as_it_was(first):
    generator = {"generator": {"name": first["generator"]}}
    objectives = {"constraints": [], "tallies": {}}
    assert StudyDefinition.from_json(first).to_json() == {**first, **generator, **objectives}


def test_everything_that_is_recorded_survives_json(tmp_path):
    definition = replace(
        make_study(tmp_path).definition,
        recorded=Recorded(
            files={"a.png": "a.png, sha256 ab"},
            bmerge="1.0",
            plugins=(PluginRef(path="/x.py", sha256="ab"), PluginRef(None, "dist", "2")),
            architecture=ArchitectureDefinition("sd1", "sha256 cd", code="sha256 ef"),
            tried=({"alpha": {"BASE": 0.5}},),
            warm=({"alpha.BASE": 0.5},),
            choose=({"models": ["ab"], "method": "m"},),
        ),
        others={"of a later release": [1]},
    )
    stored = json.loads(json.dumps(definition.to_json()))
    assert StudyDefinition.from_json(stored) == definition
    assert stored["weights of try"] == [{"alpha": {"BASE": 0.5}}]  # the names in old databases
    assert stored["warm start"] == [{"alpha.BASE": 0.5}]


def test_a_definition_cannot_be_changed_by_accident(tmp_path):
    with pytest.raises(FrozenInstanceError):
        make_study(tmp_path).definition.baselines = False


def test_what_the_first_release_did_not_record_is_taken_over(first, tmp_path):
    stored = StudyDefinition.from_json(first)
    now = replace(
        stored,
        merge=replace(stored.merge, code="sha256 ab", others={**DEFAULTS, **stored.merge.others}),
        generator=replace(stored.generator, options={"side": 8}),
        recorded=Recorded(bmerge="1.0", architecture=ArchitectureDefinition("sd1", "sha256 cd")),
    )
    assert check_definition(stored, now, tmp_path) == now


def test_what_a_later_release_recorded_is_not_passed_over(first, tmp_path):
    first = {**first, "merge": {**DEFAULTS, **first["merge"]}}
    now = StudyDefinition.from_json(first)
    later = {**first, "scorers": [{**first["scorers"][0], "crop": 1}, first["scorers"][1]]}
    with pytest.raises(StudyError, match=r"different scorers\[0\]\.crop: 1, now None"):
        check_definition(StudyDefinition.from_json(later), now, tmp_path)
