"""Encoders of transformers by what they are called, with a block for each of their layers."""

from __future__ import annotations

import pytest
import torch
import transformers

from bmerge.architectures import builtin, detect
from comfyui import table_of

NAMES = {
    "Qwen3_5ForConditionalGeneration": ("llama", 32, 0),
    "Qwen3VLForConditionalGeneration": ("llama", 32, 0),
    "SiglipVisionModel": ("clip-vision", 12, 0), "Siglip2VisionModel": ("clip-vision", 12, 0),
    "CLIPVisionModelWithProjection": ("clip-vision", 12, 0),
    "CLIPModel": ("clip", 12, 12), "SiglipModel": ("clip", 12, 12),
    "CLIPTextModelWithProjection": ("clip", 12, 0), "UMT5EncoderModel": ("t5", 8, 0),
}  # fmt: skip
"""Class → what it is called, layers of text or of what it is, layers that look at pictures."""


@pytest.mark.parametrize("name", NAMES)
def test_encoder_has_its_name_and_a_block_for_each_layer(name):
    cls = getattr(transformers, name)
    with torch.device("meta"):
        state = cls(cls.config_class()).state_dict()
    found = detect(table_of({key: tuple(value.shape) for key, value in state.items()}), builtin())
    used = {found.block_of(key) for key in state}
    layers = [sum(block[0] == letter and block[1:].isdigit() for block in used) for letter in "LV"]
    assert (found.id, *layers) == NAMES[name]
