"""Values of hyperparameters for patterns of keys: what supermerger calls elemental merge."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase

import numpy as np
import pytest

from bmerge.architectures import builtin
from bmerge.errors import RecipeError
from bmerge.formats import open_checkpoint
from bmerge.recipe import BlockWeights, parse_weights
from bmerge.recipe.dump import dump_recipe
from bmerge.recipe.load import parse_recipe
from bmerge.testing.checkpoints import read_checkpoint, tiny_sd1
from merges import assert_near, plan_of, recipe_of, weighted_sums

SD1 = next(a for a in builtin() if a.id == "sd1")
TEXT = "IN00-IN11=0.2,OUT04=0.4,*=0.1,*attn?.to_q*=0.7,*output_blocks.[4-6].*=0.9,*.bias=0"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return [tiny_sd1(folder / f"{name}.safetensors", i) for i, name in enumerate("ab")]


def alpha_of(key):
    """Return what TEXT says of a key: the last pattern that matches, else its block."""
    patterns = {"*attn?.to_q*": 0.7, "*output_blocks.[4-6].*": 0.9, "*.bias": 0.0}
    own = [value for pattern, value in patterns.items() if fnmatchcase(key, pattern)]
    block = SD1.block_of(key)
    return own[-1] if own else {"OUT04": 0.4}.get(block, 0.2 if block.startswith("IN") else 0.1)


def test_merge_takes_the_value_of_the_last_pattern_that_matches(bmerge, models, tmp_path):
    out = tmp_path / "out.safetensors"
    called = bmerge("merge", "weighted_sum", *models, "--alpha", TEXT, "-o", out)
    assert called.status == 0, called.err
    assert_near(read_checkpoint(out), weighted_sums(*models, alpha_of))
    recipe = json.loads(open_checkpoint(out).metadata["bmerge.recipe"])
    assert recipe["hyperparameters"]["alpha"]["*attn?.to_q*"] == 0.7


def test_key_of_weight_0_is_copied_to_the_byte(models):
    plan = plan_of(models, alpha=BlockWeights(0.5, {}, {"*.bias": 0.0}))
    copied = {job.key for job in plan.copies}
    biases = {key for key in open_checkpoint(models[0]).tensors if key.endswith(".bias")}
    assert biases <= copied
    assert not any(job.key.endswith(".bias") for job in plan.merges)


def test_self_and_adjust_of_supermerger_are_one_line_each(bmerge, models, tmp_path):
    """Not with to_out, proj_out and norm; and the bias of the last layer alone."""
    out = tmp_path / "out.safetensors"
    scale = "*=0.9,*to_out*=1,*proj_out*=1,*norm*=1"
    assert bmerge("merge", "passthrough", models[0], "--scale", scale, "-o", out).status == 0
    before, after = read_checkpoint(models[0]), read_checkpoint(out)
    for key, array in before.items():
        kept = any(word in key for word in ("to_out", "proj_out", "norm"))
        if array.dtype.kind == "f":
            exact = array if kept else (0.9 * array.astype("f8")).astype("f2")
            np.testing.assert_array_equal(after[key], exact, key)
    shift = ["--first", "*=0,*.out.2.bias=0.02", "--third", "*=0,*.out.2.bias=-0.04"]
    assert bmerge("merge", "adjust", models[0], *shift, "-o", out, "--force").status == 0
    after = read_checkpoint(out)
    key = "model.diffusion_model.out.2.bias"
    exact = before[key].astype("f8") + np.array([0.02, 0, -0.04, 0])
    np.testing.assert_array_equal(after[key], exact.astype("f2"))
    others = [name for name in before if name != key]
    assert all(before[name].tobytes() == after[name].tobytes() for name in others)


def test_patterns_and_blocks_are_parsed():
    weights = parse_weights(TEXT, SD1)
    assert list(weights.keys) == ["*attn?.to_q*", "*output_blocks.[4-6].*", "*.bias"]
    assert weights.of("OUT04") == 0.4
    assert weights.of("OUT04", {"*.bias", "*attn?.to_q*"}) == 0.0
    assert parse_weights({"*": 0.5, "*norm*": 1}, SD1).keys == {"*norm*": 1.0}


def test_recipe_with_patterns_loads_back_equal(models):
    recipe = recipe_of(models, alpha=BlockWeights(0.5, {"M00": 1.0}, {"*a-b*": 0.0, "*.bias": 1.0}))
    assert parse_recipe(dump_recipe(recipe)) == recipe


def test_pattern_that_matches_nothing_is_an_error(models):
    with pytest.raises(RecipeError, match=r"'\*attn3\*' matches no key"):
        plan_of(models, alpha=BlockWeights(0.5, {}, {"*attn1*": 0.1, "*attn3*": 0.1}))


def test_value_of_a_pattern_is_checked(bmerge, models, tmp_path):
    called = bmerge(
        "merge", "extract", *models, models[0], "--alpha", "*=0.5,*norm*=2", "--dry-run"
    )
    assert called.status == 1
    assert "alpha" in called.err


def test_other_blocks_need_a_value_too(bmerge, models):
    called = bmerge("merge", "weighted_sum", *models, "--alpha", "*attn1*=0.5", "--dry-run")
    assert called.status == 1
    assert "*=" in called.err


def test_lora_weight_is_for_blocks(bmerge, models, tmp_path):
    from bmerge.testing.checkpoints import write_checkpoint

    lora = {
        "lora_unet_middle_block_1_proj_in.lora_up.weight": np.ones((16, 1)),
        "lora_unet_middle_block_1_proj_in.lora_down.weight": np.ones((1, 16)),
    }
    path = write_checkpoint(tmp_path / "l.safetensors", lora)
    called = bmerge(
        "merge", "add_difference", models[0], "--lora", f"{path}=*=1,*attn1*=0", "--dry-run"
    )
    assert called.status == 1
    assert "not for patterns of keys" in called.err
