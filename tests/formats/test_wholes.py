"""What a model's parts are called in one file, by its diffusion model; and parts put to it."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from bmerge import convert, merge
from bmerge.formats import open_checkpoint
from bmerge.formats.layouts import in_layout
from bmerge.formats.wholes import whole_of
from comfyui import shapes_of, table_of
from layouts import values

ENCODERS = {
    "hv_i2v": ["llama", "clip_l"], "hv15": ["qwen25_7b", "byt5_small"],
    "hy_image21_refiner": ["qwen25_7b", "byt5_small"], "flux_dev": ["clip_l", "t5xxl"],
    "flux2_klein9b": ["qwen3_8b"], "longcat": ["qwen25_7b"], "radiance": ["t5xxl"],
    "anima": ["qwen3_06b"], "cosmos_p2_14b": ["t5xxl"], "cosmos1_7b": ["t5xxl"],
    "k5_image": ["qwen25_7b", "clip_l"], "ernie": ["ministral3_3b"], "omnigen2": ["qwen25_3b"],
    "boogu": ["qwen3vl_8b"], "mage_flow": ["qwen3vl_4b"], "qwen_layered": ["qwen25_7b"],
    "ideogram4": ["qwen3vl_8b"], "cog_2b": ["t5xxl"], "joyimage": ["qwen3vl"],
    "ovis": ["qwen3_2b"],
}  # fmt: skip
"""Model → its text encoders as ComfyUI looks for them, behind ``text_encoders.``."""


@pytest.mark.parametrize("name", ENCODERS)
def test_text_encoders_have_the_names_that_comfyui_looks_for(name):
    table = table_of(shapes_of(name))
    starts = whole_of({"": table}, table).starts.items()
    found = [start for component, start in starts if component.startswith("text")]
    assert found == [f"text_encoders.{encoder}.transformer." for encoder in ENCODERS[name]]


def test_relative_of_flux_is_not_taken_for_it():
    table = table_of(shapes_of("hy3d"))
    assert whole_of({"": table}, table) is None


def test_sd2_without_text_encoder_is_told_from_sd1_by_what_it_hears():
    key = "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
    shapes = {k: s for k, s in shapes_of("sd21_unclip_h").items() if "label_emb" not in k}
    for width, start in ((768, "cond_stage_model.transformer."), (1024, "cond_stage_model.model.")):
        table = table_of({**shapes, key: (320, width)})
        assert whole_of({"": table}, table).starts["text_encoder"] == start


def small(name, prefix=""):
    random = np.random.default_rng(0)
    return {
        prefix + key: random.standard_normal([min(extent, 4) for extent in shape], "f4")
        for key, shape in shapes_of(name).items()
    }


@pytest.mark.parametrize("layout", ["comfy", "diffusers"])
def test_vae_takes_the_place_of_one_where_there_is_no_text_encoder(tmp_path, layout):
    model = small("hv_i2v", "model.diffusion_model.") | small("vae_hunyuan_video", "vae.")
    vae = {key: array + 1 for key, array in small("vae_hunyuan_video").items()}
    save_file(model, tmp_path / "a.safetensors")
    save_file(vae, tmp_path / "vae.safetensors")
    tensors = open_checkpoint(tmp_path / "vae.safetensors").tensors
    other = {key: values(tensor).copy() for key, tensor in in_layout(tensors, layout).items()}
    save_file(other, tmp_path / "other.safetensors")
    out = tmp_path / "out.safetensors"
    convert(tmp_path / "a.safetensors", output=out, vae=tmp_path / "other.safetensors")
    found = load_file(out)
    expected = model | {f"vae.{key}": array for key, array in vae.items()}
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[key], expected[key]) for key in found)


def test_bert_of_hunyuan_dit_is_the_same_in_both_layouts(tmp_path):
    bert = {
        "embeddings.word_embeddings.weight": (9, 4),
        "encoder.layer.0.attention.self.query.weight": (4, 4), "pooler.dense.weight": (4, 4),
    }  # fmt: skip
    random = np.random.default_rng(1)
    start = "text_encoders.hydit_clip.transformer.bert."
    shapes = {
        f"model.diffusion_model.{key}": [n if n < 352 else n // 352 for n in shape]
        for key, shape in shapes_of("hydit").items()
    } | {start + key: shape for key, shape in bert.items()}
    model = {key: random.standard_normal(shape, "f4") for key, shape in shapes.items()}
    comfy, theirs, back, out = (tmp_path / f"{name}.safetensors" for name in "abcd")
    save_file(model, comfy)
    convert(comfy, output=theirs, layout="diffusers")
    found = load_file(theirs)
    assert {key for key in found if key.startswith("text")} == {f"text_encoder.{k}" for k in bert}
    convert(theirs, output=back, layout="comfy")
    again = load_file(back)
    assert again.keys() == model.keys()
    assert all(np.array_equal(again[key], model[key]) for key in model)
    save_file({key: array + 1 for key, array in found.items()}, theirs)
    merge("weighted_sum", comfy, theirs, output=out, alpha=1.0)
    merged = load_file(out)
    assert merged.keys() == model.keys()
    assert all(np.array_equal(merged[start + key], model[start + key] + 1) for key in bert)
