"""The schemas say what the readers of files say: the same keys, the same files right and wrong."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest

from bmerge import RecipeError
from bmerge.recipe import load as recipe_load
from bmerge.recipe import load_steps
from bmerge.recipe.document import parse_document
from bmerge.study_file import executor as load_executor
from bmerge.study_file import load
from bmerge.study_file import merge as load_merge
from bmerge.study_file import payloads as load_payloads
from bmerge.study_file import scorers as load_scorers
from bmerge.study_file import space as load_space
from bmerge.study_file.payload_settings import SETTINGS

ROOT = Path(__file__).parents[2]
VALIDATOR = Path(__file__).with_name("validator.py")
_spec = importlib.util.spec_from_file_location("validator", VALIDATOR)
validator = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(validator)


@pytest.fixture(scope="module")
def schemas():
    from bmerge import load_registry
    from bmerge.schema import recipe_schema, study_schema

    registry = load_registry()
    return {"study": study_schema(registry), "recipe": recipe_schema(registry)}


def _problems(text: str, schema) -> list[str]:
    return list(validator.problems(parse_document(text).plain(), schema))


def _blocks() -> list[tuple[str, str]]:
    """Return the studies and recipes of examples and pages, whole ones: (kind, text)."""
    files = [(file.name, file.read_text()) for file in (ROOT / "examples").glob("*.yaml")]
    for page in (ROOT / "docs").glob("*.md"):
        blocks = re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)
        files += [(page.name, text) for text in blocks]
    found = []
    for name, text in files:
        keys = set(re.findall(r"^(\w+):", text, re.MULTILINE))
        if {"merge", "payloads", "scorers"} <= keys:
            found.append(pytest.param("study", text, id=f"{name} study"))
        elif "models" in keys and keys & {"method", "steps"}:
            found.append(pytest.param("recipe", text, id=f"{name} recipe"))
    return found


@pytest.mark.parametrize(("kind", "text"), _blocks())
def test_files_of_the_documentation_are_right(schemas, kind, text):
    assert _problems(text, schemas[kind]) == []


def test_keys_are_those_that_the_readers_know(schemas):
    study, recipe = (schemas[kind]["properties"] for kind in ("study", "recipe"))
    assert set(study) == set(load.TOP)
    assert set(study["merge"]["properties"]) == set(load_merge.KEYS)
    assert set(study["executor"]["properties"]) == set(load_executor.KEYS)
    assert set(study["optimiser"]["properties"]) == set(load.OPTIMISER)
    assert set(study["scorers"]["items"]["properties"]) == set(load_scorers.SCORER)
    assert set(study["space"]["additionalProperties"]["properties"]) == set(load_space._KEYS)
    payloads = study["payloads"]["properties"]
    assert set(payloads) == set(load_payloads._KEYS)
    assert set(payloads["defaults"]["properties"]) == set(SETTINGS)
    prompt = payloads["prompts"]["items"]["anyOf"][1]["properties"]
    assert set(prompt) == {*load_payloads._PROMPT, *SETTINGS}
    assert set(recipe) == set(recipe_load._KEYS)
    step = recipe["steps"]["additionalProperties"]["properties"]
    assert set(step) == {*load_steps.METHOD, *load_steps.FORMS}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  method: weighted_sum", "  methods: weighted_sum"),
        ("  seed: 1\n", "  seed: one\n"),
        ("  pictures: 1600", "  pictures: many"),
        ("    weight: 0 ", "    weight: none "),
        ("    steps: 12 ", "    steps: twelve "),
        ("generator:\n  name: demo ", "generator:\n  name: demo\n  batches: 3 "),
        ("scorers: ", "judges: "),
        ("  seeds: [1000, 1001]", "  seeds: [-1]"),
    ],
)
def test_what_the_schema_marks_is_what_bmerge_run_refuses(schemas, tmp_path, bmerge, old, new):
    text = (ROOT / "examples" / "demo.yaml").read_text()
    assets = ROOT / "plugins" / "bmerge_plugins" / "demo" / "assets"
    text = text.replace("../plugins/bmerge_plugins/demo/assets", str(assets))
    assert old in text
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(text.replace(old, new, 1))
    assert _problems(wrong.read_text(), schemas["study"])
    assert bmerge("run", wrong, "--out", tmp_path / "out").status != 0


@pytest.mark.parametrize(
    "text",
    [
        "method: weighted_sum\nmodels: a\n",
        "method: weighted_sum\nmodels: [a, b]\nseed: -1\n",
        "method: weighted_sum\nmodels: [a, b]\nclamp: some\n",
        "method: weighted_sum\nmodels: [a, {path: b, hash: x}]\n",
        "method: weighted_sum\n",
    ],
)
def test_what_the_schema_marks_is_what_recipes_must_not_have(schemas, text):
    assert _problems(text, schemas["recipe"])
    with pytest.raises(RecipeError):
        recipe_load.parse_recipe(text)


def test_plugins_and_their_options_are_offered(bmerge, write_plugin):
    plugin = write_plugin(
        "glow.py",
        '''
        from bmerge import ScorerKind, hookimpl

        def make(*, target: float = 1.0, words: tuple[str, ...] = ()):
            """Make it.

            Args:
                target: what is best.
            """

        @hookimpl
        def bmerge_scorers():
            return [ScorerKind("glow", make, "how it glows")]
        ''',
    )
    schema = json.loads(bmerge("schema", "study", "--plugin", plugin).out)
    rules = schema["properties"]["scorers"]["items"]["allOf"]
    (rule,) = [r["then"] for r in rules if r["if"]["properties"]["name"]["const"] == "glow"]
    assert rule["properties"]["target"] == {"type": "number", "description": "what is best."}
    assert rule["properties"]["words"] == {"type": "array", "items": {"type": "string"}}
    assert not rule["additionalProperties"]
