"""What stands before the keys of a model's parts."""

import pytest

from bmerge.formats.prefixes import is_part_file, parted, prefix_of
from comfyui import table_of

STARTS = [
    "model.diffusion_model.", "net.", "unet.", "transformer.", "control_model.",
    "first_stage_model.", "vae.", "cond_stage_model.transformer.", "cond_stage_model.model.",
    "conditioner.embedders.1.model.", "text_encoders.t5xxl.transformer.", "text_encoder.",
    "text_encoder_2.",
]  # fmt: skip


@pytest.mark.parametrize("start", STARTS)
def test_the_start_of_a_part_is_found(start):
    assert prefix_of(f"{start}layers.0.weight") == start


def test_an_encoder_within_a_diffusion_model_is_of_it():
    keys = ("transformer.decoder.layers.0.weight", "transformer.encoder.layers.0.weight")
    parts = parted(table_of(dict.fromkeys(keys, (2,))))
    assert {start: [*part] for start, part in parts.items()} == {
        "transformer.": ["decoder.layers.0.weight", "encoder.layers.0.weight"]
    }


def test_a_language_model_has_no_diffusion_model():
    keys = ("transformer.embedding.word_embeddings.weight", "transformer.encoder.layers.0.weight")
    assert [*parted(table_of(dict.fromkeys(keys, (2,))))] == [""]


@pytest.mark.parametrize(
    ("keys", "is_part"),
    [
        (["decoder.conv_in.weight", "latents_mean"], True),
        (["text_model.embeddings.weight"], True),
        (["decoder.conv_in.weight", "unet.conv_in.weight"], False),
        (["control_model.input_hint_block.0.weight"], False),
        (["blocks.0.weight"], False),
    ],
)
def test_a_vae_or_text_encoder_alone_is_told(keys, is_part):
    assert is_part_file(keys) is is_part
