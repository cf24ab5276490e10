"""Layouts as data, against the functions that diffusers itself converts checkpoints with."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from bmerge.formats import TensorInfo, open_checkpoint
from bmerge.formats.layouts import in_layout, layout_of
from bmerge.formats.layouts.pair import pairs
from layouts import (
    BACK,
    CASES,
    LAYER,
    PICTURE,
    WHOLE,
    by_diffusers,
    layouts,
    oracle,
    small_model,
    values,
)

FILE = Path("x.safetensors")


def stored(path, arrays):
    """Return the tensors of a file that holds some arrays, by name."""
    save_file(arrays, path)
    return dict(open_checkpoint(path).tensors)


def assert_equal(tensors, arrays):
    assert tensors.keys() == arrays.keys()
    for name, array in arrays.items():
        assert np.array_equal(values(tensors[name]), array), name


@pytest.mark.parametrize("name", CASES)
def test_layout_of_diffusers_is_what_diffusers_converts_to(tmp_path, name):
    start, _, convert = CASES[name]
    arrays = small_model(name, 1, start=start, layers=0 if name in WHOLE else 2)
    expected = by_diffusers(convert, arrays)
    tensors = stored(tmp_path / "a.safetensors", arrays)
    assert layout_of(tensors) == "original"
    found = in_layout(tensors, "diffusers")
    assert_equal(found, expected)
    back = stored(tmp_path / "b.safetensors", expected)
    original = in_layout(back, "original")
    lost = arrays.keys() - original.keys()  # what diffusers has no place for
    assert lost <= {"norm_final.weight", "logit_scale", *(k for k in arrays if "pos_emb" in k)}
    assert_equal(original, {key: array for key, array in arrays.items() if key not in lost})


@pytest.mark.parametrize("name", BACK)
def test_original_layout_is_what_diffusers_converts_from(tmp_path, name):
    arrays = small_model(name, 1)
    original = in_layout(stored(tmp_path / "a.safetensors", arrays), "original")
    assert len(original) < len(arrays)  # of fused ones
    converted = by_diffusers(BACK[name], {key: values(t) for key, t in original.items()})
    assert converted.keys() == arrays.keys()
    assert all(np.array_equal(converted[key], arrays[key]) for key in arrays)


def test_vae_of_wan_is_what_diffusers_converts_from(tmp_path):
    from diffusers import AutoencoderKLWan

    state = AutoencoderKLWan(base_dim=4, z_dim=4).state_dict()
    arrays = {key: value.numpy() for key, value in state.items()}
    original = in_layout(stored(tmp_path / "a.safetensors", arrays), "original")
    assert "decoder.upsamples.3.resample.1.weight" in original
    known = {key: values(tensor) for key, tensor in original.items()}
    converted = by_diffusers(oracle.convert_wan_vae_to_diffusers, known)
    assert converted.keys() == arrays.keys()
    assert all(np.array_equal(converted[key], arrays[key]) for key in arrays)
    again = in_layout(stored(tmp_path / "b.safetensors", known), "diffusers")
    assert_equal(again, arrays)


def small_vae(**changes):
    from diffusers import AutoencoderKLLTXVideo

    sizes = {"latent_channels": 4, "block_out_channels": (8, 16, 16, 16),
             "decoder_block_out_channels": (8, 16, 16, 16), "layers_per_block": (1,) * 5,
             "decoder_layers_per_block": (2,) * 5}  # fmt: skip
    state = AutoencoderKLLTXVideo(**{**sizes, **changes}).state_dict()
    return {key: value.numpy() for key, value in state.items()}


NOISY = {
    "timestep_conditioning": True, "decoder_inject_noise": (True, True, True, False),
    "decoder_block_out_channels": (8, 16, 32), "decoder_layers_per_block": (1, 2, 1, 1),
    "decoder_spatio_temporal_scaling": (True,) * 3, "upsample_residual": (True,) * 3,
    "upsample_factor": (2,) * 3,
}  # fmt: skip
WIDE = {
    **NOISY, "block_out_channels": (8, 16, 16, 32, 32), "layers_per_block": (1,) * 5,
    "down_block_types": ("LTXVideo095DownBlock3D",) * 4, "spatio_temporal_scaling": (True,) * 4,
    "downsample_type": ("spatial", "temporal", "spatiotemporal", "spatiotemporal"),
}  # fmt: skip


@pytest.mark.parametrize("changes", [{}, NOISY, WIDE], ids=["0.9.0", "0.9.1", "0.9.5"])
def test_vae_of_ltx_is_what_diffusers_converts_from(tmp_path, changes):
    arrays = small_vae(**changes)
    if changes is WIDE:  # by which diffusers knows it
        arrays["encoder.conv_out.conv.weight"] = np.zeros((1, 2048, 1, 1, 1), "f4")
    original = in_layout(stored(tmp_path / "a.safetensors", arrays), "original")
    known = {key: values(tensor) for key, tensor in original.items()}
    assert "decoder.up_blocks.0.res_blocks.0.conv1.conv.weight" in known
    with_prefix = {f"vae.{key}": value for key, value in known.items()}
    converted = by_diffusers(oracle.convert_ltx_vae_checkpoint_to_diffusers, with_prefix)
    assert converted.keys() == arrays.keys()
    assert all(np.array_equal(converted[key], arrays[key]) for key in arrays)
    assert_equal(in_layout(stored(tmp_path / "b.safetensors", known), "diffusers"), arrays)


def test_z_image_without_pad_tokens_is_not_taken_for_lumina(tmp_path):
    arrays = small_model("zimage_aio", 1, start=PICTURE)
    assert not any("pad_token" in name for name in arrays)
    found = in_layout(stored(tmp_path / "a.safetensors", arrays), "diffusers")
    convert = oracle.convert_z_image_transformer_checkpoint_to_diffusers
    assert_equal(found, by_diffusers(convert, arrays))


def test_vae_of_wan22_is_named_as_its_own_code_has_it(tmp_path):
    """diffusers converts it by a script, whose tables these names are; no function has them."""
    from diffusers import AutoencoderKLWan

    sizes = {"base_dim": 4, "decoder_base_dim": 8, "z_dim": 4, "patch_size": 2}
    model = AutoencoderKLWan(**sizes, is_residual=True, in_channels=12, out_channels=12)
    arrays = {key: value.numpy() for key, value in model.state_dict().items()}
    original = in_layout(stored(tmp_path / "a.safetensors", arrays), "original")
    names = {
        "encoder.downsamples.1.downsamples.0.shortcut": "down_blocks.1.resnets.0.conv_shortcut",
        "encoder.downsamples.2.downsamples.2.time_conv": "down_blocks.2.downsampler.time_conv",
        "decoder.upsamples.3.upsamples.2.residual.6": "up_blocks.3.resnets.2.conv2",
        "decoder.upsamples.0.upsamples.3.resample.1": "up_blocks.0.upsampler.resample.1",
    }
    for name, there in names.items():
        key = f"{name.partition('.')[0]}.{there}.weight"
        assert np.array_equal(values(original[f"{name}.weight"]), arrays[key]), name
    assert not [name for name in original if "_blocks" in name or "resnets" in name]
    again = {key: values(tensor) for key, tensor in original.items()}
    assert_equal(in_layout(stored(tmp_path / "b.safetensors", again), "diffusers"), arrays)


def test_pixart_is_what_its_model_in_diffusers_has(tmp_path):
    from diffusers import PixArtTransformer2DModel

    sizes = {"num_attention_heads": 2, "attention_head_dim": 8, "cross_attention_dim": 16}
    model = PixArtTransformer2DModel(**sizes, num_layers=2, sample_size=128, caption_channels=12)
    arrays = {key: value.numpy() for key, value in model.state_dict().items()}
    original = in_layout(stored(tmp_path / "a.safetensors", arrays), "original")
    known = {key for key, _, _ in layouts()["pixart_sigma"] if _kept(key)}
    size = {key for key in original if key.startswith(("csize_embedder.", "ar_embedder."))}
    assert original.keys() - size == known - {"pos_embed", "y_embedder.y_embedding"}
    fused = [arrays[f"transformer_blocks.1.attn2.to_{one}.weight"] for one in "kv"]
    kv = values(original["blocks.1.cross_attn.kv_linear.weight"])
    assert np.array_equal(kv, np.concatenate(fused))
    again = {key: values(tensor) for key, tensor in original.items()}
    assert_equal(in_layout(stored(tmp_path / "b.safetensors", again), "diffusers"), arrays)


def test_models_that_comfyui_has_saved_again_are_the_same(tmp_path):
    flux = small_model("flux_dev_bfl", 1)
    again = {key.replace("_norm.scale", "_norm.weight"): value for key, value in flux.items()}
    one, other = stored(tmp_path / "a.safetensors", flux), stored(tmp_path / "b.safetensors", again)
    assert_equal(in_layout(other, "original"), flux)
    assert_equal(in_layout(one, "comfy"), again)
    comfy = small_model("hunyuan_video", 1)
    found = in_layout(stored(tmp_path / "c.safetensors", comfy), "diffusers")
    assert found.keys() == {key for key, _, _ in layouts()["d_hunyuanvideo"] if _kept(key)}
    save_file({key: values(tensor) for key, tensor in found.items()}, tmp_path / "d.safetensors")
    assert_equal(
        in_layout(dict(open_checkpoint(tmp_path / "d.safetensors").tensors), "comfy"), comfy
    )


def _kept(key):
    number = LAYER.search(key)
    return number is None or int(number[1]) < 2


@pytest.mark.parametrize(
    "name", [name for name in CASES if CASES[name][1] not in {None, "d_clip_g"}]
)
def test_true_shapes_are_those_of_the_public_layouts(name):
    start, other, _ = CASES[name]
    tensors = {
        key.removeprefix(start): TensorInfo(key, "F16", (*shape,), FILE, 0, 2 * math.prod(shape))
        for key, _, shape in layouts()[name]
        if key.startswith(start)
    }
    found = {key: tensor.shape for key, tensor in in_layout(tensors, "diffusers").items()}
    wanted = {key: tuple(shape) for key, _, shape in layouts()[other]}
    other_sizes = {"pos_embed.pos_embed", *(key for key in wanted if "caption_embedder" in key)}
    assert found.keys() == wanted.keys()
    assert {key for key in wanted if wanted[key] != found[key]} <= other_sizes


def test_what_cannot_be_cut_as_its_rule_says_keeps_its_name():
    names = [key for key, _, _ in layouts()["flux_dev_bfl"]]
    rows = {"single_blocks.0.linear1.weight": 13, "final_layer.adaLN_modulation.1.weight": 5}
    tensors = {
        key: TensorInfo(key, "F16", (rows.get(key, 21), 2), FILE, 0, 4 * rows.get(key, 21))
        for key in names
    }
    found = in_layout(tensors, "diffusers")
    assert {key: found[key].shape for key in rows} == {key: (n, 2) for key, n in rows.items()}
    assert found["single_transformer_blocks.1.proj_mlp.weight"].shape == (12, 2)


def test_no_layout_is_taken_for_another():
    """Every public layout is in one pair of layouts at most that is not only of spellings.

    Language models have many of these.
    """
    for name, entries in layouts().items():
        names = {key.removeprefix(PICTURE).removeprefix("net.") for key, _, _ in entries}
        found = [pair for pair in pairs() if pair.side_of(names) is not None]
        other = [p.name for p in found if not (p.name.endswith("_comfy") or "llm" in p.layouts)]
        assert len(other) <= 1, (name, found)
