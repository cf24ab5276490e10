"""Methods of many models and with options, through recipes and files."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bmerge import RecipeError, load_recipe
from bmerge.testing import read_checkpoint, write_checkpoint


@pytest.fixture
def models(tmp_path):
    random = np.random.default_rng(0)
    paths = []
    for name in "abc":
        tensors = {f"layers.{i}.w": random.standard_normal((6, 5)) for i in range(2)}
        tensors = {key: tensor.astype("<f4") for key, tensor in tensors.items()}
        paths.append(write_checkpoint(tmp_path / f"{name}.safetensors", tensors, dtype="F32"))
    return paths


def _recipe(tmp_path, models, method, **parts):
    file = tmp_path / "recipe.yaml"
    data = {"method": method, "models": [str(path) for path in models], **parts}
    file.write_text(json.dumps(data))
    return file


def test_recipe_gives_weights_per_model_and_options(tmp_path, bmerge, models):
    recipe = _recipe(
        tmp_path, models, "linear",
        hyperparameters={"weight": 2, "weight_3": 0.5}, options={"normalize": False},
    )  # fmt: skip
    out = tmp_path / "out.safetensors"
    assert bmerge("merge", recipe, "-o", out).status == 0
    a, b, c = (read_checkpoint(path)["layers.0.w"] for path in models)
    np.testing.assert_allclose(read_checkpoint(out)["layers.0.w"], 2 * a + 2 * b + c / 2, rtol=1e-6)


def test_command_line_says_the_same(tmp_path, bmerge, models):
    one, other = tmp_path / "one.safetensors", tmp_path / "other.safetensors"
    recipe = _recipe(
        tmp_path, models, "dare_ties", seed=5,
        hyperparameters={"weight": 0.8, "weight_2": 0.5}, options={"rescale": "l1"},
    )  # fmt: skip
    assert bmerge("merge", recipe, "-o", one).status == 0
    called = bmerge(
        "merge", "dare_ties", *models, "--weight", 0.8, "--weight_2", 0.5, "--rescale", "l1",
        "--seed", 5, "-o", other,
    )  # fmt: skip
    assert called.status == 0, called.err
    tensors = [read_checkpoint(path) for path in (one, other)]
    assert all((tensors[0][key] == tensors[1][key]).all() for key in tensors[0])


def test_options_are_kept_in_the_metadata(tmp_path, bmerge, models):
    out = tmp_path / "out.safetensors"
    assert bmerge("merge", "ties", *models, "--vote", "count", "-o", out).status == 0
    stored = json.loads(bmerge("inspect", out, "--json").out)["metadata"]["bmerge.recipe"]
    assert stored["options"] == {"normalize": True, "vote": "count"}
    assert stored["hyperparameters"]["weight_2"] == 1.0


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"options": {"vote": "most"}}, "vote = most is none of sum, count"),
        ({"options": {"vot": "sum"}}, "ties has no option 'vot'"),
        ({"options": {"vote": 3}}, "vote must be text"),
        ({"hyperparameters": {"weight_3": 1}}, "ties has no hyperparameter 'weight_3'"),
        ({"hyperparameters": {"density_1": 2}}, "density_1 = 2.0 is greater than 1.0"),
    ],
)
def test_mistake_in_a_recipe_is_an_error(tmp_path, bmerge, models, parts, message):
    called = bmerge("merge", _recipe(tmp_path, models, "ties", **parts), "--dry-run")
    assert called.status in {1, 2}
    assert message in called.err


def test_options_survive_being_written(tmp_path, models):
    from bmerge import dump_recipe

    recipe = load_recipe(_recipe(tmp_path, models, "ties", options={"vote": "count"}))
    (tmp_path / "again.yaml").write_text(dump_recipe(recipe))
    assert load_recipe(tmp_path / "again.yaml") == recipe
    with pytest.raises(RecipeError):
        load_recipe(_recipe(tmp_path, models, "ties", options=["count"]))


def test_method_of_whole_tensors_merges_a_file(tmp_path, bmerge, models):
    out = tmp_path / "out.safetensors"
    called = bmerge("merge", "truncate_rank", *models[:2], "--rank", 2, "-o", out)
    assert called.status == 0
    assert "truncate_rank needs whole tensors" in called.err
    base, merged = (read_checkpoint(path)["layers.0.w"] for path in (models[0], out))
    assert np.linalg.matrix_rank(merged - base, tol=1e-4) == 2
    refused = bmerge("merge", "truncate_rank", *models[:2], "--executor", "native", "--dry-run")
    assert refused.status == 1
    assert "error: truncate_rank needs whole tensors" in refused.err
