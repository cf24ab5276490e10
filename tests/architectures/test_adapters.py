"""What is put to a model: adapters, motion modules, ControlNets of few; and autoencoders alone."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from diffusers.loaders import single_file_utils as oracle
from safetensors.numpy import load_file, save_file

from blocks import called, sizes_of_blocks
from bmerge.architectures import builtin, detect
from bmerge.architectures.components import components_of
from bmerge.formats.layouts import in_layout, layout_of, other_layouts
from classes import shapes_of_class
from comfyui import shapes_of, table_of
from layouts import by_diffusers

XL = {"channels": [320, 640, 1280, 1280], "downscale_factor": 16, "in_channels": 3}
HUNYUAN = {"in_channels": 4, "patch_size": 2, "sample_size": 32, "transformer_num_layers": 40}
CLASSES = {
    "t2i-adapter": ("T2IAdapter", {}),
    "t2i-adapter SDXL in colours": ("T2IAdapter", {"adapter_type": "full_adapter_xl", **XL}),
    "t2i-adapter-light": ("T2IAdapter", {"adapter_type": "light_adapter", "num_res_blocks": 4}),
    "motion with a middle": ("MotionAdapter", {}),
    "motion": ("MotionAdapter", {"use_motion_mid_block": False}),
    "motion SDXL": ("MotionAdapter", {
        "block_out_channels": (320, 640, 1280), "use_motion_mid_block": False,
    }),
    "controlnet SparseCtrl": ("SparseControlNetModel", {}),
    "sana-controlnet": ("SanaControlNetModel", {}),
    "cosmos-controlnet": ("CosmosControlNetModel", {}),
    "hunyuan-dit-controlnet": ("HunyuanDiT2DControlNetModel", HUNYUAN),
    "mochi-vae": ("AutoencoderKLMochi", {}),
    "cosmos-vae": ("AutoencoderKLCosmos", {}),
}  # fmt: skip
FULL = ("t2i-adapter", "t2i-adapter SDXL in colours", "t2i-adapter-light", "motion with a middle",
        "controlnet SparseCtrl", "mochi-vae", "cosmos-vae", "cosmos-controlnet")  # fmt: skip
EMPTY = {
    "motion": {"M00"},
    "motion SDXL": {"M00", "IN10", "IN11", "OUT09", "OUT10", "OUT11"},
}
"""Blocks of which a class has no tensor."""


@pytest.mark.parametrize("name", CLASSES)
def test_class_of_diffusers_has_a_name_and_each_of_its_blocks_something(name):
    shapes = shapes_of_class(*CLASSES[name])
    found = detect(table_of(shapes), builtin())
    assert called(found) == name
    used = {found.block_of(key) for key in shapes}
    assert {block for block in found.blocks if block not in used} == (
        set() if name in FULL else EMPTY.get(name, {"OUT", "VAE"})
    )


def t2i_name(name):
    """Return the name of a tensor of a T2I-Adapter in the code of its authors."""
    found = re.fullmatch(r"adapter\.body\.(\d)\.(?:resnets\.(\d)\.)?(.+)", name)
    if found is None:
        return name.removeprefix("adapter.")
    return f"body.{2 * int(found[1]) + int(found[2] or 0)}.{found[3]}"


def t2i_light_name(name):
    return name.removeprefix("adapter.").replace("resnets", "body")


def motion_name(name):
    """Return the name of a tensor of a motion module in the code of its authors."""
    name = re.sub(r"(motion_modules\.\d+\.)", r"\1temporal_transformer.", name)
    name = name.replace("pos_embed.", "attention_blocks.0.pos_encoder.")
    for new, old in {"norm1": "norms.0", "norm2": "norms.1", "norm3": "ff_norm"}.items():
        name = name.replace(f"transformer_blocks.0.{new}.", f"transformer_blocks.0.{old}.")
    return name.replace("attn1.", "attention_blocks.0.").replace("attn2.", "attention_blocks.1.")


NAMES = {"t2i-adapter": t2i_name, "t2i-adapter-light": t2i_light_name, "motion": motion_name}


def small(shapes):
    random = np.random.default_rng(1)
    extents = {key: [max(4, n // 64) if n > 16 else n for n in s] for key, s in shapes.items()}
    return {key: random.standard_normal(shape, "f4") for key, shape in extents.items()}


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_adapters_merge_across_layouts(bmerge, tmp_path, name, swapped):
    theirs = small(shapes_of_class(*CLASSES[name]))
    own = {NAMES[name](key): array for key, array in theirs.items()}
    first, other = (own, theirs) if swapped else (theirs, own)
    for file, arrays in (("a", first), ("b", other)):
        save_file(arrays, tmp_path / f"{file}.safetensors")
    out = tmp_path / "o.safetensors"
    run = bmerge("merge", "weighted_sum", tmp_path / "a.safetensors", tmp_path / "b.safetensors",
                 "--alpha", "0.5", "-o", out)  # fmt: skip
    assert run.status == 0, run.err
    assert "left out" not in run.err
    found = load_file(out)
    assert found.keys() == first.keys()
    for key in first:
        np.testing.assert_allclose(found[key], first[key], rtol=1e-6, err_msg=key)
    tables = [table_of({k: v.shape for k, v in each.items()}) for each in (theirs, own)]
    known = [detect(table, builtin()) for table in tables]
    assert called(known[0]) == called(known[1])
    assert all(known[0].block_of(key) == known[1].block_of(NAMES[name](key)) for key in theirs)


def test_motion_modules_are_what_diffusers_converts_them_to():
    theirs = small(shapes_of_class(*CLASSES["motion"]))
    own = {motion_name(key): array for key, array in theirs.items()}
    converted = by_diffusers(oracle.convert_animatediff_checkpoint_to_diffusers, own)
    assert converted.keys() == {key for key in theirs if "pos_embed" not in key}
    assert all(np.array_equal(converted[key], theirs[key]) for key in converted)
    second = {key.replace("s.0.pos", "s.1.pos"): v for key, v in own.items() if "pos_enc" in key}
    table = table_of({key: array.shape for key, array in (own | second).items()})
    assert in_layout(table, "diffusers").keys() == theirs.keys()


@pytest.mark.parametrize("name", ["mochi", "cosmos"])
def test_autoencoder_of_comfyui_is_that_of_diffusers_in_another_layout(name):
    own = shapes_of(f"vae_{name}")
    theirs = shapes_of_class(*CLASSES[f"{name}-vae"])
    assert layout_of(table_of(own)) == "original"
    found = in_layout(table_of(own), "diffusers")
    assert {key: tensor.shape for key, tensor in found.items()} == theirs
    back = in_layout(table_of(theirs), "original")
    beside = {"latent_mean", "latent_std"}
    assert {k: t.shape for k, t in back.items()} == {k: own[k] for k in own if k not in beside}
    tables = table_of(own), table_of(theirs)
    sizes = []
    for table in tables:
        architecture = detect(table, builtin())
        assert architecture.id == f"{name}-vae"
        blocks = dict.fromkeys(architecture.blocks, 0)
        for key, tensor in table.items():
            blocks[architecture.block_of(key)] += 0 if key in beside else tensor.nbytes
        sizes.append(blocks)
    assert sizes[0] == sizes[1]
    assert max(sizes[0].values()) < 0.15 * sum(sizes[0].values())


MOCHI = {
    "encoder.layers.5.layers.3.stack.2.weight": "encoder.down_blocks.1.resnets.2.conv1.conv.weight",
    "encoder.layers.8.stack.3.bias": "encoder.block_out.resnets.1.norm2.norm_layer.bias",
    "encoder.layers.7.attn_block.norm.weight": "encoder.block_out.norms.0.norm_layer.weight",
    "decoder.blocks.0.3.stack.5.weight": "decoder.block_in.resnets.2.conv2.conv.weight",
    "decoder.blocks.2.blocks.1.stack.0.bias": "decoder.up_blocks.1.resnets.1.norm1.norm_layer.bias",
    "decoder.blocks.4.2.stack.2.weight": "decoder.block_out.resnets.2.conv1.conv.weight",
}
COSMOS = {
    "encoder.mid.block_1.conv2.1.conv3d.bias": "encoder.mid_block.resnets.0.conv2.conv_t.bias",
    "decoder.up.2.block.1.conv1.0.conv3d.bias": "decoder.up_blocks.0.resnets.1.conv1.conv_s.bias",
    "decoder.up.1.upsample.conv3.conv3d.weight": "decoder.up_blocks.1.upsamplers.0.conv3.weight",
    "decoder.mid.attn_1.1.v.conv3d.weight": "decoder.mid_block.temp_attentions.0.to_v.weight",
    "encoder.mid.block_2.norm1.norm.weight": "encoder.mid_block.resnets.1.norm1.norm.weight",
}


@pytest.mark.parametrize(("name", "pairs"), [("mochi", MOCHI), ("cosmos", COSMOS)])
def test_tensor_of_an_autoencoder_is_the_one_that_converters_name(name, pairs):
    table = table_of(shapes_of(f"vae_{name}"))
    found = in_layout(table, "diffusers")
    assert {old: found[new].offset for old, new in pairs.items()} == {
        old: table[old].offset for old in pairs
    }


@pytest.mark.parametrize(
    ("name", "largest"),
    [("ltx", 0.15), ("ltx_091", 0.15), ("ltx_095", 0.19), ("oobleck", 0.23), ("taesd", 0.15)],
)
def test_autoencoder_has_a_name_and_the_same_blocks_in_both_layouts(name, largest):
    own = table_of(shapes_of(f"vae_{name}"))
    found = detect(own, builtin())
    id_ = {"oobleck": "oobleck", "taesd": "tiny-vae"}.get(name, f"{name.partition('_')[0]}-vae")
    assert found.id == "-".join([id_, *name.split("_")[1:]])
    sizes = dict.fromkeys(found.blocks, 0)
    for key, tensor in own.items():
        sizes[found.block_of(key)] += tensor.nbytes
    assert max(sizes.values()) <= largest * sum(sizes.values())
    if name.startswith("ltx"):
        theirs = in_layout(own, "diffusers")
        other = detect(theirs, builtin())
        assert (other.id, other.blocks) == (found.id, found.blocks)
        blocks = {tensor.offset: found.block_of(key) for key, tensor in own.items()}
        assert {t.offset: other.block_of(key) for key, t in theirs.items()} == blocks


def test_autoencoder_of_stable_audio_has_the_same_blocks_in_both_layouts():
    sizes = []
    for shapes in (shapes_of("vae_oobleck"), shapes_of_class("AutoencoderOobleck", {})):
        found = detect(table_of(shapes), builtin())
        assert found.id == "oobleck"
        sizes.append(dict.fromkeys(found.blocks, 0))
        for key, shape in shapes.items():
            sizes[-1][found.block_of(key)] += math.prod(shape)
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize("video", [True, False])
def test_autoencoder_of_ltx2_is_named(video):
    kind = "AutoencoderKLLTX2Video" if video else "AutoencoderKLLTX2Audio"
    found = detect(table_of(shapes_of_class(kind, {})), builtin())
    assert found.id == ("ltx-vae-095" if video else "ltx-audio-vae")


@pytest.mark.parametrize("name", ["mochi", "cosmos", "ltx", "oobleck", "taehv"])
def test_nothing_of_an_autoencoder_is_taken_for_a_text_encoder(name):
    table = table_of(shapes_of(f"vae_{name}"))
    for keys in (table, in_layout(table, "diffusers") or {}):
        assert set(components_of(keys).values()) <= {"VAE"}


@pytest.mark.parametrize("theirs", [True, False])
def test_autoencoder_of_mochi_is_put_to_its_model(bmerge, tmp_path, theirs):
    given = small(shapes_of_class(*CLASSES["mochi-vae"]) if theirs else shapes_of("vae_mochi"))
    save_file(given, tmp_path / "vae.safetensors")
    model = {key: np.ones([min(n, 4) for n in s], "f4") for key, s in shapes_of("mochi").items()}
    save_file(model, tmp_path / "model.safetensors")
    out = tmp_path / "o.safetensors"
    run = bmerge("convert", tmp_path / "model.safetensors", "--vae", tmp_path / "vae.safetensors",
                 "-o", out)  # fmt: skip
    assert run.status == 0, run.err
    found = load_file(out)
    names = {f"vae.{key}" for key in shapes_of("vae_mochi")}
    assert found.keys() == names | {f"model.diffusion_model.{key}" for key in model}
    first = "encoder.proj_in.weight" if theirs else "encoder.layers.0.weight"
    assert np.array_equal(found["vae.encoder.layers.0.weight"], given[first])


def test_half_of_mochis_autoencoder_has_the_blocks_of_the_whole():
    whole = table_of(shapes_of("vae_mochi"))
    all_of_it = detect(whole, builtin())
    for half in ("encoder.", "decoder."):
        bare = table_of({k[8:]: t.shape for k, t in whole.items() if k.startswith(half)})
        found = detect(bare, builtin())
        assert found.id == "mochi-vae"
        assert all(found.block_of(key) == all_of_it.block_of(half + key) for key in bare)


@pytest.mark.parametrize("name", ["IP", "Plus", "FaceID"])
def test_ip_adapter_has_a_block_for_each_layer_of_attention(name):
    shapes = {
        f"ip_adapter.{2 * i + 1}.to_{r}_ip.weight": (320, 768) for i in range(16) for r in "kv"
    }
    if name == "FaceID":
        shapes |= {f"ip_adapter.{i}.to_{r}_lora.{half}.weight": (4, 4)
                   for i in range(32) for r in "qkv" for half in ("up", "down")}  # fmt: skip
    if name == "Plus":
        shapes |= {"image_proj.latents": (1, 16, 768), "image_proj.layers.3.1.1.weight": (4, 4)}
    else:
        shapes |= {"image_proj.proj.weight": (3072, 1024)}
    found = detect(table_of(shapes), builtin())
    assert called(found) == ("ip-adapter" if name == "IP" else f"ip-adapter {name}")
    assert found.block_of("ip_adapter.31.to_v_ip.weight") == "L031"
    assert found.block_of("image_proj.proj.weight") == "IN"
    assert name != "Plus" or found.block_of("image_proj.layers.3.1.1.weight") == "R03"


SOUND = {
    "in_channels": 8, "out_channels": 8, "block_out_channels": (128, 256, 384, 640),
    "class_embed_type": "simple_projection", "projection_class_embeddings_input_dim": 512,
    "class_embeddings_concat": True,
}  # fmt: skip
"""What MusicLDM has other than Stable Diffusion 1."""
WORDS = {"cross_attention_dim": ((None, 768, 1024, None),) * 4}
"""What AudioLDM 2 has: layers of attention for each of its text encoders."""


@pytest.mark.parametrize(
    ("kind", "settings"),
    [("UNetMotionModel", {}), ("UNet3DConditionModel", {}), ("DreamLiteUNetModel", {}),
     ("AutoencoderKLAllegro", {}), ("AsymmetricAutoencoderKL", {}), ("SD3ControlNetModel", {}),
     ("AutoencoderKLKVAE", {}), ("AllegroTransformer3DModel", {"num_layers": 1}),
     ("BriaTransformer2DModel", {"num_layers": 1, "num_single_layers": 1}),
     ("UNet2DConditionModel", SOUND), ("AudioLDM2UNet2DConditionModel", WORDS),
     ("LatteTransformer3DModel", {"norm_type": "ada_norm_single", "caption_channels": 8,
                                  "patch_size": 2, "in_channels": 4, "num_layers": 1,
                                  "cross_attention_dim": 1152, "num_embeds_ada_norm": 8,
                                  "norm_elementwise_affine": False})],
)  # fmt: skip
def test_relative_of_a_model_is_not_converted_as_if_it_were_that(kind, settings):
    assert in_layout(table_of(shapes_of_class(kind, settings)), "original") is None


def test_autoencoder_of_seedvr_keeps_the_names_that_comfyui_knows():
    assert layout_of(table_of(shapes_of("vae_seedvr"))) is None


def test_models_of_sound_are_not_taken_for_those_of_pictures():
    table = table_of(shapes_of_class("UNet2DConditionModel", SOUND))
    assert called(detect(table, builtin())) == "audioldm"
    more = table_of(shapes_of_class("AudioLDM2UNet2DConditionModel", WORDS))
    assert called(detect(more, builtin())).startswith("generic")


KINDS = {"AutoencoderKLHunyuanVideo15": "vae", "AutoencoderKLCogVideoX": "cogvideox-vae"}


@pytest.mark.parametrize("kind", KINDS)
def test_autoencoder_is_of_one_kind(kind):
    table = table_of(shapes_of_class(kind, {}))
    assert called(detect(table, builtin())) == KINDS[kind]
    assert len([*other_layouts(table)]) == 1


@pytest.mark.parametrize(
    ("name", "id_"), [("vae_taehv", "tiny-video-vae"), ("vae_ltx_095", "ltx-vae-095")]
)
def test_blocks_of_an_autoencoder_of_videos_are_of_bounded_size(name, id_):
    table = table_of(shapes_of(name))
    found = detect(table, builtin())
    assert found.id == id_
    sizes = sizes_of_blocks(found, table)
    assert max(sizes.values()) < 0.15 * sizes.total()
