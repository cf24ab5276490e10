from __future__ import annotations

import random

import pytest

from bmerge.architectures import generic
from bmerge.errors import ArchitectureError

LLAMA = [
    "model.embed_tokens.weight",
    *(f"model.layers.{i}.{p}.weight" for i in range(32) for p in ("self_attn.q_proj", "mlp.up")),
    "model.norm.weight",
    "lm_head.weight",
]
VIT = [
    "cls_token", "pos_embed", "patch_embed.proj.weight",
    *(f"blocks.{i}.attn.qkv.weight" for i in range(12)),
    "norm.weight", "head.weight",
]  # fmt: skip
FLUX = [
    "img_in.weight", "txt_in.weight", "time_in.in_layer.weight",
    *(f"double_blocks.{i}.img_mod.lin.weight" for i in range(19)),
    *(f"single_blocks.{i}.linear1.weight" for i in range(38)),
    "final_layer.linear.weight",
]  # fmt: skip
WITH_EXPERTS = [f"model.layers.{i}.experts.{j}.w" for i in range(4) for j in range(64)]


@pytest.mark.parametrize(
    ("keys", "layers", "expected"),
    [
        (
            LLAMA, 32,
            {"model.embed_tokens.weight": "IN", "model.layers.7.mlp.up.weight": "L07",
             "model.norm.weight": "OUT", "lm_head.weight": "LM_HEAD"},
        ),
        (
            VIT, 12,
            {"cls_token": "IN", "pos_embed": "IN", "patch_embed.proj.weight": "IN",
             "blocks.11.attn.qkv.weight": "L11", "norm.weight": "OUT", "head.weight": "OUT"},
        ),
        (
            FLUX, 38,
            {"img_in.weight": "IN", "time_in.in_layer.weight": "IN",
             "single_blocks.37.linear1.weight": "L37",
             "double_blocks.3.img_mod.lin.weight": "DOUBLE_BLOCKS",
             "final_layer.linear.weight": "OUT"},
        ),
        (WITH_EXPERTS, 4, {"model.layers.3.experts.63.w": "L03"}),
    ],
    ids=["llama", "vit", "flux", "experts"],
)  # fmt: skip
def test_repeated_layers_become_blocks(keys, layers, expected):
    architecture = generic(keys)
    assert {key: architecture.block_of(key) for key in expected} == expected
    assert (
        sum(block.startswith("L") and block[1:].isdigit() for block in architecture.blocks)
        == layers
    )


@pytest.mark.parametrize("keys", [LLAMA, VIT, FLUX], ids=["llama", "vit", "flux"])
def test_every_block_has_a_key_and_the_order_of_keys_does_not_matter(keys):
    architecture = generic(keys)
    assert {architecture.block_of(key) for key in keys} == set(architecture.blocks)
    shuffled = random.Random(1).sample(keys, len(keys))
    assert generic(shuffled) == architecture


def test_other_components_are_blocks_of_their_own():
    architecture = generic(
        [*LLAMA, "vision_tower.embeddings.weight", "vision_tower.layers.0.w", "projector.1.weight"]
    )
    assert architecture.block_of("vision_tower.layers.0.w") == "VISION_TOWER"
    assert architecture.block_of("projector.1.weight") == "PROJECTOR"
    assert architecture.blocks[0] == "IN"
    assert architecture.blocks[-3:] == ("LM_HEAD", "PROJECTOR", "VISION_TOWER")


def test_model_without_layers_is_one_block():
    architecture = generic(["weight", "bias"])
    assert architecture.blocks == ("BASE",)
    assert architecture.block_of("weight") == "BASE"


def test_keys_with_notation_characters_have_a_block():
    architecture = generic([*LLAMA, "odd[0].{i}.weight"])
    assert architecture.block_of("odd[0].{i}.weight") in architecture.blocks


def test_no_keys_have_no_architecture():
    with pytest.raises(ArchitectureError, match="without tensors"):
        generic([])
