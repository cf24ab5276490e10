"""Encoders of transformers by what they are called, with a block for each of their layers."""

from __future__ import annotations

import math
from collections import Counter

import diffusers
import pytest
import torch
import transformers

from bmerge.architectures import builtin, detect
from bmerge.formats.layouts import other_layouts
from comfyui import table_of

NAMES = {
    "Qwen3_5ForConditionalGeneration": ("llama", 32, 0),
    "Qwen3VLForConditionalGeneration": ("llama", 32, 0),
    "SiglipVisionModel": ("clip-vision", 12, 0), "Siglip2VisionModel": ("clip-vision", 12, 0),
    "CLIPVisionModelWithProjection": ("clip-vision", 12, 0),
    "CLIPModel": ("clip", 12, 12), "SiglipModel": ("clip", 12, 12),
    "CLIPTextModelWithProjection": ("clip", 12, 0), "UMT5EncoderModel": ("t5", 8, 0),
    "JanusModel": ("llama", 32, 0),
}  # fmt: skip
"""Class → what it is called, layers of text or of what it is, layers that look at pictures."""


def shapes_of_class(name):
    cls = getattr(transformers, name, None) or getattr(diffusers, name)
    with torch.device("meta"):
        model = cls(cls.config_class()) if hasattr(transformers, name) else cls()
    return {key: tuple(value.shape) for key, value in model.state_dict().items()}


@pytest.mark.parametrize("name", NAMES)
def test_encoder_has_its_name_and_a_block_for_each_layer(name):
    shapes = shapes_of_class(name)
    found = detect(table_of(shapes), builtin())
    used = {found.block_of(key) for key in shapes}
    layers = [sum(block[0] == letter and block[1:].isdigit() for block in used) for letter in "LV"]
    assert (found.id, *layers) == NAMES[name]


GEMMA = {
    "model.embed_tokens.weight": (64, 8), "model.norm.weight": (8,),
    **{
        f"model.layers.{i}.{name}.weight": (8, 8)
        for i in range(8)
        for name in ("input_layernorm", "self_attn.q_proj", "post_attention_layernorm")
    },
    "multi_modal_projector.mm_soft_emb_norm.weight": (4,),
    "vision_model.embeddings.patch_embedding.weight": (4, 3, 2, 2),
    **{f"vision_model.encoder.layers.{i}.self_attn.q_proj.weight": (4, 4) for i in range(4)},
}  # fmt: skip
"""Gemma 3 with its eye, by the names that ComfyUI's file of it has."""
FORMS = {
    "published": ("language_model.model.", "vision_tower.vision_model.", ""),
    "newer": ("model.language_model.", "model.vision_tower.", "model."),
    "older": ("model.language_model.", "model.vision_tower.vision_model.", "model."),
}


@pytest.mark.parametrize("form", FORMS)
def test_gemma_with_its_eye_is_found_by_the_names_of_transformers(form):
    text, eye, beside = FORMS[form]
    theirs = {}
    for key, shape in GEMMA.items():
        start, _, rest = key.partition(".")
        words = {"model": text, "vision_model": eye}.get(start, f"{beside}{start}.")
        theirs[words + rest] = shape
    assert {detect(table_of(each), builtin()).id for each in (GEMMA, theirs)} == {"llama"}
    for one, other in ((GEMMA, theirs), (theirs, GEMMA)):
        assert other.keys() in [found.keys() for _, found in other_layouts(table_of(one))]


RELATIVES = {
    "PaddleOCRVLModel": ("llama", {"IN": 0.14}), "T5ForConditionalGeneration": ("t5", {}),
    "Qwen3ASRModel": ("llama", {"IN": 0.17}),
    "AutoencoderDC": ("dc-vae", {}), "AutoencoderKLKVAE": ("vae", {}),
    "AutoencoderKLAllegro": ("vae", {}), "AutoencoderVidTok": ("vae", {}),
    "AutoencoderSAME": ("generic", {}),
    "MiniMaxMusic3Vocoder": ("generic:blocks.4", {"IN": 0.21, "L00": 0.35}),
    "AutoencoderKLHunyuanVideo15": ("vae", {"D02": 0.23}),
}  # fmt: skip
"""Class → what it is called, and blocks that one tensor makes large."""


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
@pytest.mark.parametrize("name", RELATIVES)
def test_relative_with_larger_parts_has_no_large_block(name):
    shapes = shapes_of_class(name)
    found = detect(table_of(shapes), builtin())
    sizes = Counter()
    for key, shape in shapes.items():
        sizes[found.block_of(key)] += math.prod(shape)
    assert set(sizes) <= set(found.blocks)
    expected, large = RELATIVES[name]
    shares = {block: size / sizes.total() for block, size in sizes.items()}
    assert {b: s for b, s in shares.items() if s > large.get(b, 0.15)} == {}
    assert found.id == expected
