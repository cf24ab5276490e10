from __future__ import annotations

import math
import random
from collections import Counter

import pytest

from bmerge.architectures import builtin, detect
from bmerge.architectures.generic import generic
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
             "double_blocks.3.img_mod.lin.weight": "D03",
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


class Shaped:
    def __init__(self, *shape):
        self.shape = shape


def shares(keys):
    """Return block → share of all numbers."""
    architecture = generic(keys)
    found = Counter()
    for key, info in keys.items():
        found[architecture.block_of(key)] += math.prod(info.shape)
    return {block: size / found.total() for block, size in found.items()}


def two_streams(**small):
    keys = {f"double_blocks.{i}.w": Shaped(10, 10) for i in range(10)}
    keys |= {f"single_blocks.{i}.w": Shaped(10, 10) for i in range(20)}
    return keys | {
        f"{name}.{i}.w": Shaped(size, size) for name, size in small.items() for i in (0, 1)
    }


def test_every_family_of_some_size_is_numbered():
    keys = two_streams(noise_refiner=8, tiny_refiner=5)
    assert generic(keys).blocks[:4] == ("L00", "L01", "L02", "L03")
    blocks = {key: generic(keys).block_of(key) for key in keys}
    assert blocks["double_blocks.9.w"] == "D09"
    assert blocks["noise_refiner.1.w"] == "NR01"  # 128 of 3,178 numbers
    assert blocks["tiny_refiner.1.w"] == "TINY_REFINER"  # 50


def test_families_of_like_names_have_blocks_of_their_own():
    keys = {f"a.down_blocks.{i}.w": Shaped(9) for i in range(7)}
    keys |= {f"a.deep_blocks.{i}.w": Shaped(9) for i in range(6)}
    keys |= {f"a.dark_blocks.{i}.w": Shaped(9) for i in range(6)}
    blocks = {generic(keys).block_of(key) for key in keys}
    assert len(blocks) == len(keys)
    assert "D05" in blocks
    assert "A_DEEP_BLOCKS_05" in blocks


def test_text_encoders_and_vae_are_blocks_of_their_own_and_never_the_layers():
    keys = {f"model.diffusion_model.blocks.{i}.w": Shaped(4, 4) for i in range(8)}
    picture = dict(keys)
    keys |= {f"text_encoders.llm.model.layers.{i}.w": Shaped(99, 9) for i in range(40)}
    keys |= {"vae.decoder.up.0.w": Shaped(9), "vae.decoder.up.1.w": Shaped(9)}
    found = generic(keys)
    assert found.id == generic(picture).id == "generic:blocks.8"
    assert found.block_of("text_encoders.llm.model.layers.39.w") == "TEXT_ENCODERS_LLM"
    assert found.block_of("vae.decoder.up.1.w") == "VAE"
    assert found.block_of("model.diffusion_model.blocks.7.w") == "L07"


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model.", "net.", "model.model."])
def test_prefix_changes_neither_id_nor_blocks(prefix):
    bare = {
        **two_streams(),
        "img_in.w": Shaped(4),
        "final.w": Shaped(4),
        "t_embedder.mlp.0.w": Shaped(4),
    }
    bare["t_embedder.mlp.2.w"] = Shaped(4)
    found = generic({prefix + key: info for key, info in bare.items()})
    assert (found.id, found.blocks) == (generic(bare).id, generic(bare).blocks)
    assert {key: found.block_of(prefix + key) for key in bare} == {
        key: generic(bare).block_of(key) for key in bare
    }


UNET = {
    **{
        f"down_blocks.{i}.{part}.{j}.proj.weight": Shaped(8, 8)
        for i in range(3)
        for part in ("attentions", "resnets")
        for j in range(3)
    },
    **{f"mid_block.attentions.0.layers.{i}.w": Shaped(9, 9) for i in range(4)},
    "mid_block.resnets.0.conv1.weight": Shaped(9, 9),
    "down_blocks.2.norm.weight": Shaped(3),
    "conv_in.weight": Shaped(3),
}


def test_stage_that_holds_much_is_divided_into_its_layers():
    found = shares(UNET)
    assert max(found.values()) < 0.15
    architecture = generic(UNET)
    assert set(found) == set(architecture.blocks)
    assert architecture.block_of("down_blocks.2.attentions.1.proj.weight") == "L02_ATTENTIONS_1"
    assert architecture.block_of("down_blocks.2.norm.weight") == "L02"
    assert architecture.block_of("mid_block.resnets.0.conv1.weight") == "MID_BLOCK_RESNETS_0"
    deep = architecture.block_of("mid_block.attentions.0.layers.3.w")
    assert deep == "MID_BLOCK_ATTENTIONS_0_LAYERS_3"


def test_plain_layers_are_not_divided_however_large():
    keys = {f"layers.{i}.{part}.w": Shaped(4) for i in range(3) for part in ("attn", "mlp")}
    assert generic(keys).blocks == ("L00", "L01", "L02")


def test_layer_is_divided_into_the_parts_that_names_number():
    keys = {
        f"blocks.{i}.{part}.weight": Shaped(4)
        for i in range(3)
        for part in ("up", "res_unit1.conv1", "res_unit1.conv2", "res_unit2.conv1", "norm1")
    }
    assert generic(keys).blocks == tuple(
        f"L{i:02}{part}" for i in range(3) for part in ("_RES_UNIT1", "_RES_UNIT2", "")
    )


def test_model_with_one_layer_of_layers_is_divided_into_these():
    keys = {f"{half}.blocks.0.layers.{i}.w": Shaped(4) for half in "ab" for i in range(4)}
    blocks = generic(keys).blocks
    assert blocks == tuple(f"{half}_BLOCKS_0_LAYERS_{i}" for half in "AB" for i in range(4))


def test_model_without_layers_is_divided_into_its_parts():
    found = generic({f"{part}.{key}": Shaped(4) for part in ("one", "two") for key in "abc"})
    assert found.blocks == ("ONE", "TWO")
    assert generic({"up.w": Shaped(1), "down.w": Shaped(9)}).blocks == ("BASE",)


def test_part_of_the_rest_takes_no_key_of_another_rule():
    keys = {f"model.layers.{i}.w": Shaped(8) for i in range(8)}
    keys |= {f"model.{part}.{i}.w": Shaped(6) for part in ("eye", "ear") for i in range(2)}
    keys |= {f"other{i}.w.b": Shaped(4) for i in range(6)}
    found = generic(keys)
    assert all(found.block_of(f"model.layers.{i}.w") == f"L{i:02}" for i in range(8))
    assert max(shares(keys).values()) < 0.15


def test_blocks_are_the_same_in_any_order_of_keys():
    shuffled = dict(random.Random(2).sample(list(UNET.items()), len(UNET)))
    assert generic(shuffled) == generic(UNET)


def test_stage_of_a_sixth_is_divided_and_one_of_an_eighth_is_not():
    keys = {f"stages.0.blocks.{j}.w": Shaped(8) for j in range(2)}
    keys |= {f"stages.1.blocks.{j}.w": Shaped(6) for j in range(2)}
    keys |= {f"stages.{i}.w": Shaped(10) for i in range(2, 9)}
    blocks = generic(keys).blocks
    assert blocks[:3] == ("L00_BLOCKS_0", "L00_BLOCKS_1", "L01")


def test_layer_with_one_numbered_part_is_plain():
    keys = {f"layers.{i}.{part}": Shaped(9) for i in range(3) for part in ("norm", "to_out.0.w")}
    assert generic(keys).blocks == ("L00", "L01", "L02")


def test_text_encoder_alone_has_its_layers_as_blocks():
    keys = {f"text_encoders.llm.model.layers.{i}.w": Shaped(4) for i in range(8)}
    assert generic(keys).blocks == tuple(f"L{i:02}" for i in range(8))


def test_unknown_model_is_not_taken_for_the_vae_in_its_file():
    keys = {f"new_blocks.{i}.w": Shaped(9) for i in range(8)}
    keys |= {
        f"vae.decoder.{part}.weight": Shaped(9) for part in ("mid.block_1.conv1", "up.3.block.0")
    }
    found = detect(keys, builtin())
    assert found.id == "generic:new_blocks.8"
    assert found.block_of("vae.decoder.up.3.block.0.weight") == "VAE"


@pytest.mark.parametrize("prefix", ["model.net.", "model.model.model.", "net.unet."])
def test_prefix_under_another_is_part_of_names(prefix):
    keys = [prefix + key for key in FLUX]
    architecture = generic(keys)
    assert architecture.block_of(f"{prefix}double_blocks.3.img_mod.lin.weight") == "D03"
    assert architecture.block_of(f"{prefix}single_blocks.37.linear1.weight") == "L37"
