"""docs/files.md names every key of recipes and studies, and its examples are valid."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bmerge import load_registry, open_checkpoint
from bmerge.host.merges import plan_merge
from bmerge.recipe.load import _KEYS as RECIPE
from bmerge.recipe.load import _STEPS, parse_recipe
from bmerge.recipe.load_steps import FORMS, METHOD
from bmerge.study_file.executor import KEYS as EXECUTOR
from bmerge.study_file.load import OPTIMISER, TOP, load_study
from bmerge.study_file.merge import KEYS
from bmerge.study_file.payload_settings import SETTINGS
from bmerge.study_file.payloads import _KEYS as PAYLOADS
from bmerge.study_file.payloads import _PROMPT as PROMPT
from bmerge.study_file.scorers import SCORER
from bmerge.study_file.space import _KEYS as SPACE
from bmerge.testing import tiny_sd1
from bmerge.trials.objective import NORMALISATIONS

PAGE = (Path(__file__).parents[2] / "docs" / "files.md").read_text()
PARTS = dict(re.findall(r"^#+ (.+)\n((?:(?!^#).*\n)*)", PAGE, re.MULTILINE))
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize(
    ("part", "keys"),
    [
        ("Recipe", (*RECIPE, *KEYS)),
        ("steps", (*FORMS, *METHOD)),
        ("Study", TOP),
        ("space", SPACE),
        ("payloads", (*SETTINGS, *PAYLOADS, *PROMPT)),
        ("scorers", SCORER),
        ("normalise and objectives", (*NORMALISATIONS[1:], "objectives", "normalise")),
        ("optimiser", OPTIMISER),
        ("executor", EXECUTOR),
    ],
)
def test_every_key_is_documented(part, keys):
    assert not [key for key in keys if f"`{key}`" not in PARTS[part]]


def test_example_of_a_recipe_is_one():
    recipe = parse_recipe(EXAMPLES[0])
    assert recipe.method == "weighted_sum"
    named = set(re.findall(r"^(\w+):", EXAMPLES[0], re.MULTILINE))
    assert set(RECIPE) - set(_STEPS) == named


def test_example_of_steps_is_one_that_can_be_merged(tmp_path):
    recipe = parse_recipe(EXAMPLES[1])
    checkpoints = []
    for number, model in enumerate(recipe.models):
        checkpoints.append(open_checkpoint(tiny_sd1(tmp_path / model.path, number)))
    plan = plan_merge(recipe, checkpoints, load_registry())
    assert len(plan.merges) > 400
    assert {job.source.file.stem for job in plan.copies} == {"anime", "photo", "vae"}


def test_example_of_a_study_is_one(tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text(EXAMPLES[2])
    config = load_study(file)
    assert config.name == "portraits"
    assert len(config.payloads) == 8
    assert config.optimiser.n_iters == 60
