"""What of a merge itself is searched: places in the file's merge, and their recipes."""

from __future__ import annotations

import pytest

from bmerge import BlockWeights, RecipeError
from bmerge.method import Hyperparameter
from bmerge.space.choices import with_choices
from bmerge.study_file.load import load_study
from bmerge.study_file.space_config import build_space
from toy_study import TOY

ALPHA = Hyperparameter("alpha", default=0.5, low=0.0, high=1.0)
FILE = """\
merge:
  method: slerp
  options: {vote: sum}
  models: [a.safetensors, {path: b.safetensors, loras: [{path: x.safetensors, weight: 0.5}]}]
choose:
  method: [weighted_sum, slerp]
  models.0: [a.safetensors, {path: c.safetensors, sha256: ff}]
  models.1.loras.0.weight: {range: [0.1, 2], scale: log}
  options.vote: [sum, count]
  seed: {range: [0, 9], integer: true}
payloads: {prompts: [a moon]}
generator: {name: demo}
scorers: [{name: judge}]
"""


@pytest.fixture
def load(tmp_path):
    def call(text=FILE):
        (tmp_path / "study.yaml").write_text(text)
        return load_study(tmp_path / "study.yaml")

    return call


def test_choices_are_parameters_whose_first_word_is_the_merges_own(load):
    method, model, strength, vote, seed = (c.parameter for c in load().choices.all)
    assert (method.name, method.choices) == ("merge.method", ("slerp", "weighted_sum"))
    assert model.choices == ("a.safetensors", '{"path": "c.safetensors", "sha256": "ff"}')
    assert (strength.name, strength.kind) == ("merge.models.1.loras.0.weight", "log")
    assert vote.choices == ("sum", "count")
    assert (seed.kind, seed.low, seed.high) == ("integer", 0.0, 9.0)


def test_choices_make_recipes(load, tmp_path):
    study = load()
    defaults = study.choices.defaults
    assert defaults["merge.models.1.loras.0.weight"] == 0.5
    as_written = study.choices.recipe_at({**defaults, "merge.seed": 0.0})
    assert (as_written.method, as_written.options) == ("slerp", {"vote": "sum"})
    assert as_written.models == study.merge.models
    chosen = study.choices.recipe_at(
        {
            "merge.method": 1.0,
            "merge.models.0": 1.0,
            "merge.models.1.loras.0.weight": 1.25,
            "merge.options.vote": 1.0,
            "merge.seed": 7.0,
        }
    )
    assert (chosen.method, chosen.seed, chosen.options) == ("weighted_sum", 7, {"vote": "count"})
    assert chosen.models[0].path == str(tmp_path / "c.safetensors")
    assert chosen.models[0].sha256 == "ff"
    assert chosen.models[1].loras[0].weights == BlockWeights(1.25)
    assert chosen.models[1].loras[0].path == str(tmp_path / "x.safetensors")


def test_choices_travel_with_the_block_weights(load):
    choices = load().choices
    search = with_choices(build_space({}, [ALPHA], TOY), choices)
    point = {**search.centre(), "merge.method": 1.0, "merge.models.1.loras.0.weight": 0.3}
    weights = search.weights(point)
    assert search.values(weights) == point
    assert choices.values(weights) == {name: point[name] for name in choices.defaults}
    assert search.values({"alpha": BlockWeights(0.2)})["merge.method"] == 0.0
    assert search.describe().kinds["merge.method"] == ("categorical", "slerp", "weighted_sum")
    words = [values["merge.method"] for values in choices.single()]
    assert words == [1.0, 0.0, 0.0]  # one word in another place at a time


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("[weighted_sum, slerp]", "[weighted_sum, ties]", 6, "what the merge has there, slerp"),
        ("[weighted_sum, slerp]", "[slerp]", 6, "method must be two or more"),
        ("[sum, count]", "[sum, count, sum]", 9, "two or more different ones"),
        ("models.0:", "models.2:", 7, "models has no entry 2"),
        ("models.0:", "models.a:", 7, "there is no such place in the merge"),
        ("models.1.loras.0.weight:", "models.0.loras.0.weight:", 8, "there is no such place"),
        ("options.vote:", "optons.vote:", 9, "the merge has no optons"),
        ("[0.1, 2]", "[0, 2]", 8, "a range on a logarithmic scale begins above 0"),
        ("[0.1, 2]", "[1, 2]", 8, "the merge has 0.5 there, outside the range"),
        ("range: [0, 9], ", "", 10, "needs the key 'range'"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_choice_that_makes_no_sense_is_refused(load, old, new, line, message):
    with pytest.raises(RecipeError, match=message) as caught:
        load(FILE.replace(old, new))
    assert caught.value.line == line


def test_a_range_may_have_a_number_in_each_of_some_blocks(load):
    entry = "{range: [0, 2], blocks: [IN00-IN05, M00]}"
    text = FILE.replace("{range: [0.1, 2], scale: log}", entry)
    study = load(text.replace("method: slerp", "architecture: sd1\n  method: slerp"))
    place = "merge.models.1.loras.0.weight"
    named = {c.name: c.default for c in study.choices.all if c.name.startswith(place)}
    assert named == {f"{place}.IN00-IN05": 0.5, f"{place}.M00": 0.5}
    values = {**study.choices.defaults, f"{place}.M00": 1.5, "merge.seed": 0.0}
    [lora] = study.choices.recipe_at(values).models[1].loras
    assert (lora.weights.of("IN03"), lora.weights.of("M00"), lora.weights.of("OUT00")) == (
        0.5, 1.5, 0.5,
    )  # fmt: skip
