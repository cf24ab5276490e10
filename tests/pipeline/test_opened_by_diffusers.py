"""Diffusion models in diffusers, of families whose pipelines need more than tests have.

Cosmos-Predict2's pipeline takes a guard of NVIDIA's, Kolors' a tokenizer of sentencepiece.
"""

from __future__ import annotations

import diffusers
import pytest
import torch
from safetensors.torch import load_file

from bmerge import convert, merge

COSMOS = {
    "in_channels": 4, "out_channels": 4, "num_attention_heads": 2, "attention_head_dim": 16,
    "num_layers": 2, "mlp_ratio": 2.0, "text_embed_dim": 16, "adaln_lora_dim": 8,
    "max_size": (4, 16, 16), "extra_pos_embed_type": None, "concat_padding_mask": True,
}  # fmt: skip
KOLORS = {
    "block_out_channels": (8, 16, 16), "layers_per_block": 2, "norm_num_groups": 4,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 1, 2), "attention_head_dim": (1, 2, 2),
    "cross_attention_dim": 16, "addition_embed_type": "text_time", "addition_time_embed_dim": 4,
    "projection_class_embeddings_input_dim": 40, "encoder_hid_dim": 24,
    "encoder_hid_dim_type": "text_proj", "use_linear_projection": True, "sample_size": 8,
}  # fmt: skip


def saved(kind, config, folder, seed):
    torch.manual_seed(seed)
    kind(**config).save_pretrained(folder)
    return folder


def of_cosmos(model):
    draw = torch.Generator().manual_seed(0)
    return model(
        torch.randn(1, 4, 1, 8, 8, generator=draw), torch.tensor([0.5]),
        torch.randn(1, 6, 16, generator=draw), padding_mask=torch.zeros(1, 1, 8, 8),
        return_dict=False,
    )[0]  # fmt: skip


def of_kolors(model):
    draw = torch.Generator().manual_seed(0)
    beside = {"text_embeds": torch.randn(1, 16, generator=draw), "time_ids": torch.ones(1, 6)}
    return model(
        torch.randn(1, 4, 8, 8, generator=draw), 7, torch.randn(1, 6, 24, generator=draw),
        added_cond_kwargs=beside, return_dict=False,
    )[0]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "config", "run"),
    [(diffusers.CosmosTransformer3DModel, COSMOS, of_cosmos),
     (diffusers.UNet2DConditionModel, KOLORS, of_kolors)],
    ids=["cosmos-predict2", "kolors"],
)  # fmt: skip
def test_merge_of_files_in_either_layout_computes_the_same(tmp_path, kind, config, run):
    a, b = (saved(kind, config, tmp_path / name, seed) for seed, name in enumerate("ab"))
    files = [
        convert(each, output=f"{each}.safetensors", layout="original").output for each in (a, b)
    ]
    assert load_file(files[0]).keys() != load_file(next(a.glob("*.safetensors"))).keys()
    merged = merge("weighted_sum", *files, output=tmp_path / "m.safetensors", alpha=0.3).output
    mixed = merge("weighted_sum", a, files[1], output=tmp_path / "n.safetensors", alpha=0.3).output
    back = convert(merged, output=tmp_path / "d.safetensors", layout="diffusers").output
    first, second = load_file(back), load_file(mixed)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)
    model = kind.from_pretrained(a)
    model.load_state_dict(first)
    with torch.no_grad():
        expected = run(model)
        if kind is diffusers.CosmosTransformer3DModel:
            opened = kind.from_single_file(str(merged), config=str(a), local_files_only=True)
            found = opened.state_dict()
            assert found.keys() == first.keys()
            assert all(torch.equal(found[key], first[key]) for key in first)
        weights = [load_file(next(each.glob("*.safetensors"))) for each in (a, b)]
        model.load_state_dict({k: 0.7 * weights[0][k] + 0.3 * weights[1][k] for k in first})
        assert torch.allclose(run(model), expected, atol=1e-4)
    assert expected.std() > 0
