"""Number formats: one for each part of a model, other tools' names, tags that are only copied."""

from __future__ import annotations

import json

import pytest

from bmerge.dtype_rules import canonical_rule
from bmerge.errors import RecipeError
from bmerge.executors import NativeExecutor
from bmerge.formats import open_checkpoint
from bmerge.pipeline import merge_to_file
from bmerge.testing.checkpoints import tiny_sd1
from merges import plan_of
from quantised import write_layout

START = {"UNet": "model.diffusion_model.", "VAE": "first_stage_model.", "CLIP": "cond_stage_model."}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    file = tmp_path_factory.mktemp("dtypes") / "a.safetensors"
    tiny_sd1(file, 1)
    return file


def dtypes(plan):
    """Return part → the dtypes of its floats in the output."""
    return {
        name: {out.dtype for out in plan.outputs if out.key.startswith(start)} - {"I64"}
        for name, start in START.items()
    }


@pytest.mark.parametrize(
    ("rule", "unet", "vae", "clip"),
    [
        ("unet=fp8_e4m3fn,vae=fp32,*=keep", "F8_E4M3", "F32", "F16"),
        ("vae = bfloat16, * = torch.float32", "F32", "BF16", "F32"),
        ("text_encoder=fp32", "F16", "F16", "F32"),
        ("model=keep,*=bf16", "F16", "BF16", "BF16"),
        ("fp8_e5m2", "F8_E5M2", "F8_E5M2", "F8_E5M2"),
    ],
)
def test_each_part_has_the_dtype_that_is_named_for_it(model, rule, unet, vae, clip):
    plan = plan_of([model, model], 0.5, dtype=canonical_rule(rule))
    assert dtypes(plan) == {"UNet": {unet}, "VAE": {vae}, "CLIP": {clip}}


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("unet=fp17", "fp17"), ("unet=", "is not part=format"), ("=fp16", "is not part=format"),
        ("vae=fp16,vae=fp32", "names 'vae' twice"), ("a b=fp16", "is not part=format"),
    ],
)  # fmt: skip
def test_what_is_no_rule_is_refused(rule, message):
    with pytest.raises(RecipeError, match=message):
        canonical_rule(rule)


def test_a_part_that_is_not_there_is_an_error_unless_any_model_may_have_it(model):
    with pytest.raises(RecipeError, match="'t5xxl', which the model does not have"):
        plan_of([model, model], 0.5, dtype=canonical_rule("t5xxl=fp16"))
    plan = plan_of([model, model], 0.5, dtype=canonical_rule("image_encoder=fp32"))
    assert dtypes(plan)["UNet"] == {"F16"}


def test_options_recipes_and_metadata_take_a_rule(bmerge, model, tmp_path):
    output = tmp_path / "m.safetensors"
    rule = "vae=float8_e4m3fn,*=keep"
    bmerge("merge", "weighted_sum", model, model, "--alpha", 0.5, "--dtype", rule, "-o", output)
    checkpoint = open_checkpoint(output)
    found = {info.dtype for key, info in checkpoint.tensors.items() if key.startswith(START["VAE"])}
    assert found == {"F8_E4M3"}
    recipe = json.loads(checkpoint.metadata["bmerge.recipe"])
    assert recipe["dtype"] == "vae=F8_E4M3,*=keep"
    again = bmerge("recipe", "import", output).out
    assert 'dtype: "vae=F8_E4M3,*=keep"' in again


def test_tags_that_nothing_computes_with_are_looked_at_and_copied(bmerge, tmp_path):
    tags = {"F4": 8, "F6_E2M3": 12, "F6_E3M2": 12, "F8_E8M0": 16, "F8_E4M3FNUZ": 16,
            "F8_E5M2FNUZ": 16, "C64": 128}  # fmt: skip
    layout = [(f"other.{tag.lower()}", tag, (16,)) for tag in tags]
    contents = {f"other.{tag.lower()}": bytes(range(size)) for tag, size in tags.items()}
    layout.append(("layers.0.proj.weight", "F16", (4, 4)))
    file = write_layout(tmp_path / "a.safetensors", layout, contents=contents)
    data = json.loads(bmerge("inspect", file, "--json").out)
    assert data["dtypes"] == {**dict.fromkeys(tags, 1), "F16": 1}
    output = tmp_path / "m.safetensors"
    merge_to_file(plan_of([file, file], 0.5), output, executor=NativeExecutor())
    for key, info in open_checkpoint(output).tensors.items():
        stored = output.read_bytes()[info.offset : info.offset + info.nbytes]
        assert stored == contents.get(key, stored), key
        assert info.nbytes == tags.get(info.dtype, 32)
