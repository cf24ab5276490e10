"""The names by which LoRA files know the layers of a model.

The modules of diffusers' UNets and of transformers' text encoders are listed here from how those
libraries build them, independently of the rules that turn names into keys.
"""

from __future__ import annotations

import numpy as np
import pytest

from bmerge.formats import open_checkpoint
from bmerge.lora.names import index_names
from bmerge.testing import read_checkpoint, tiny_sd1, tiny_sdxl, write_checkpoint
from loras import low_rank

RESNET = ("norm1", "conv1", "time_emb_proj", "norm2", "conv2")
BLOCK = (
    *(f"attn{n}.{name}" for n in (1, 2) for name in ("to_q", "to_k", "to_v", "to_out.0")),
    "ff.net.0.proj", "ff.net.2", "norm1", "norm2", "norm3",
)  # fmt: skip
OUTSIDE = ("conv_in", "conv_norm_out", "conv_out", "time_embedding.linear_1",
           "time_embedding.linear_2")  # fmt: skip


def _attention(name, depth):
    yield from (f"{name}.{inner}" for inner in ("norm", "proj_in", "proj_out"))
    for i in range(depth):
        yield from (f"{name}.transformer_blocks.{i}.{inner}" for inner in BLOCK)


def _level(side, level, count, depth, inputs, width):
    """Yield the modules of a level whose residual blocks have so many inputs."""
    for i in range(count):
        resnet = f"{side}_blocks.{level}.resnets.{i}"
        yield from (f"{resnet}.{inner}" for inner in RESNET)
        if inputs[i] != width:
            yield f"{resnet}.conv_shortcut"
        if depth:
            yield from _attention(f"{side}_blocks.{level}.attentions.{i}", depth)


def diffusers_unet(widths, depths, middle):
    """Return the modules with weights of a UNet2DConditionModel."""
    names = list(OUTSIDE)
    last = len(widths) - 1
    skips = [widths[0]]
    for level, width in enumerate(widths):
        inputs = (widths[max(level - 1, 0)], width)
        names += _level("down", level, 2, depths[level], inputs, width)
        skips += [width, width]
        if level < last:
            names.append(f"down_blocks.{level}.downsamplers.0.conv")
            skips.append(width)
    for i in (0, 1):
        names += [f"mid_block.resnets.{i}.{inner}" for inner in RESNET]
    names += _attention("mid_block.attentions.0", middle)
    for up, level in enumerate(reversed(range(len(widths)))):
        width = widths[level]
        before = [widths[min(level + 1, last)], width, width]
        inputs = [own + skips.pop() for own in before]
        names += _level("up", up, 3, depths[level], inputs, width)
        if up < last:
            names.append(f"up_blocks.{up}.upsamplers.0.conv")
    return names


def clip(layers):
    """Return the modules with weights of a CLIPTextModel."""
    yield from ("text_model.embeddings.token_embedding", "text_model.embeddings.position_embedding")
    yield "text_model.final_layer_norm"
    for layer in (f"text_model.encoder.layers.{i}." for i in range(layers)):
        yield from (f"{layer}self_attn.{n}_proj" for n in ("q", "k", "v", "out"))
        yield from (layer + name for name in ("layer_norm1", "layer_norm2", "mlp.fc1", "mlp.fc2"))


SD1 = diffusers_unet((320, 640, 1280, 1280), (1, 1, 1, 0), 1)
SDXL = [
    *diffusers_unet((320, 640, 1280), (0, 2, 10), 10),
    "add_embedding.linear_1",
    "add_embedding.linear_2",
]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    files = {
        "sd1": tiny_sd1(folder / "sd1.safetensors", 1),
        "sd1 of old trainers": tiny_sd1(folder / "old.safetensors", 1, old_text_encoder=True),
        "sdxl": tiny_sdxl(folder / "sdxl.safetensors", 1),
    }
    return {name: open_checkpoint(file).tensors for name, file in files.items()}


def _index(tensors):
    return index_names({key: info.shape for key, info in tensors.items()})


def _weights(tensors, *starts):
    return {key for key in tensors if key.startswith(starts) and "position_ids" not in key
            and not key.endswith("bias")}  # fmt: skip


@pytest.mark.parametrize("start", ["lora_unet_", "unet."], ids=["kohya", "diffusers"])
@pytest.mark.parametrize(("model", "names"), [("sd1", SD1), ("sdxl", SDXL)], ids=["sd1", "sdxl"])
def test_modules_of_diffusers_are_the_keys_of_the_unet(start, model, names, models):
    index = _index(models[model])
    flat = (name.replace(".", "_") if start.endswith("_") else name for name in names)
    found = [index.find(start + name) for name in flat]
    assert all(found)
    keys = [layer["weight"].key for layer in found]
    assert len(set(keys)) == len(keys)
    assert set(keys) == _weights(models[model], "model.diffusion_model.")


@pytest.mark.parametrize("start", ["lora_unet_", "model.diffusion_model.", "diffusion_model."])
@pytest.mark.parametrize("model", ["sd1", "sdxl"])
def test_names_of_the_ldm_code_are_known_too(start, model, models):
    index = _index(models[model])
    for key in _weights(models[model], "model.diffusion_model."):
        stem = key.removeprefix("model.diffusion_model.").removesuffix(".weight")
        name = start + (stem.replace(".", "_") if start.endswith("_") else stem)
        layer = index.find(name)
        assert layer is not None, name
        assert layer["weight"].key == key


@pytest.mark.parametrize(
    ("model", "start", "where"),
    [
        ("sd1", "lora_te_", "cond_stage_model.transformer."),
        ("sd1", "text_encoder.", "cond_stage_model.transformer."),
        ("sd1 of old trainers", "lora_te_", "cond_stage_model.transformer."),
        ("sdxl", "lora_te1_", "conditioner.embedders.0.transformer."),
    ],
)
def test_modules_of_clip_are_the_keys_of_the_text_encoder(model, start, where, models):
    index = _index(models[model])
    names = (name.replace(".", "_") if start.endswith("_") else name for name in clip(12))
    keys = [index.find(start + name)["weight"].key for name in names]
    assert set(keys) == _weights(models[model], where)


@pytest.mark.parametrize("start", ["lora_te2_", "text_encoder_2."])
def test_modules_of_clip_are_parts_of_open_clip(start, models):
    index = _index(models["sdxl"])
    rows = {}
    for name in clip(32):
        layer = index.find(start + (name.replace(".", "_") if start.endswith("_") else name))
        assert layer is not None, name
        for place in layer.values():
            rows.setdefault(place.key, []).append(place.rows)
    wanted = {key for key in models["sdxl"] if key.startswith("conditioner.embedders.1.model.")}
    assert wanted - rows.keys() == {
        f"conditioner.embedders.1.model.{name}" for name in ("logit_scale", "text_projection")
    }
    for key, parts in rows.items():
        is_fused = "in_proj" in key
        assert sorted(parts) == [(0, 16), (16, 32), (32, 48)] if is_fused else parts == [None], key
    assert index.find(start + "text_projection")["weight"].turn == "transposed"


@pytest.mark.parametrize(
    ("name", "key"),
    [
        (
            "lora_te_text_model_encoder_layers_3_self_attn_k_proj",
            "transformer.resblocks.3.attn.in_",
        ),
        ("lora_te_text_model_encoder_layers_3_mlp_fc1", "transformer.resblocks.3.mlp.c_fc."),
        ("lora_te_text_model_encoder_layers_3_layer_norm2", "transformer.resblocks.3.ln_2."),
    ],
)
def test_sd2_has_one_open_clip(name, key):
    block = "cond_stage_model.model.transformer.resblocks.3."
    shapes = {
        f"{block}attn.in_proj_weight": (48, 16), f"{block}attn.in_proj_bias": (48,),
        f"{block}mlp.c_fc.weight": (64, 16), f"{block}ln_2.weight": (16,),
    }  # fmt: skip
    place = index_names(shapes).find(name)["weight"]
    assert place.key.startswith("cond_stage_model.model." + key)
    assert place.rows == ((16, 32) if "in_" in key else None)


def test_processors_of_older_diffusers(models):
    index = _index(models["sd1"])
    block = "down_blocks.0.attentions.1.transformer_blocks.0.attn1"
    start = "model.diffusion_model.input_blocks.2.1.transformer_blocks.0.attn1."
    assert index.find(f"unet.{block}.processor.to_q")["weight"].key == start + "to_q.weight"
    assert index.find(f"unet.{block}.processor.to_out")["weight"].key == start + "to_out.0.weight"


FLUX = {
    "double_blocks.0.img_attn.qkv.weight": (24, 8),
    "double_blocks.0.txt_attn.qkv.weight": (24, 8),
    "double_blocks.0.img_attn.proj.weight": (8, 8),
    "double_blocks.0.txt_attn.proj.weight": (8, 8),
    "double_blocks.0.txt_attn.norm.key_norm.scale": (4,),
    "double_blocks.0.img_mod.lin.weight": (48, 8),
    "double_blocks.0.txt_mlp.2.weight": (8, 32),
    "single_blocks.0.linear1.weight": (56, 8),
    "single_blocks.0.linear1.bias": (56,),
    "single_blocks.0.linear2.weight": (8, 40),
    "guidance_in.in_layer.weight": (8, 8),
    "final_layer.adaLN_modulation.1.weight": (16, 8),
}
SD3 = {
    "joint_blocks.0.x_block.attn.qkv.weight": (24, 8),
    "joint_blocks.0.x_block.attn2.qkv.weight": (24, 8),
    "joint_blocks.0.context_block.attn.qkv.weight": (24, 8),
    "joint_blocks.0.context_block.adaLN_modulation.1.weight": (48, 8),
    "joint_blocks.1.context_block.adaLN_modulation.1.weight": (16, 8),
    "joint_blocks.0.x_block.mlp.fc1.weight": (32, 8),
    "x_embedder.proj.weight": (8, 4, 2, 2),
    "final_layer.adaLN_modulation.1.weight": (16, 8),
}
T5 = {"text_encoders.t5xxl.transformer.encoder.block.0.layer.0.SelfAttention.q.weight": (8, 8)}
CLIP = {"text_encoders.clip_l.transformer.text_model.encoder.layers.0.mlp.fc1.weight": (32, 8)}


@pytest.mark.parametrize(
    ("shapes", "name", "key", "rows", "turn"),
    [
        (FLUX, "transformer.transformer_blocks.0.attn.to_v", "double_blocks.0.img_attn.qkv.weight",
         (16, 24), ""),
        (FLUX, "transformer.transformer_blocks.0.attn.add_k_proj",
         "double_blocks.0.txt_attn.qkv.weight", (8, 16), ""),
        (FLUX, "transformer.transformer_blocks.0.attn.norm_added_k",
         "double_blocks.0.txt_attn.norm.key_norm.scale", None, ""),
        (FLUX, "transformer.transformer_blocks.0.norm1.linear",
         "double_blocks.0.img_mod.lin.weight", None, ""),
        (FLUX, "base_model.model.transformer_blocks.0.ff_context.net.2",
         "double_blocks.0.txt_mlp.2.weight", None, ""),
        (FLUX, "transformer.single_transformer_blocks.0.attn.to_k",
         "single_blocks.0.linear1.weight", (8, 16), ""),
        (FLUX, "transformer.single_transformer_blocks.0.proj_mlp",
         "single_blocks.0.linear1.weight", (24, 56), ""),
        (FLUX, "transformer.single_transformer_blocks.0.proj_out",
         "single_blocks.0.linear2.weight", None, ""),
        (FLUX, "lora_unet_single_blocks_0_linear1", "single_blocks.0.linear1.weight", None, ""),
        (FLUX, "diffusion_model.double_blocks.0.img_attn.qkv",
         "double_blocks.0.img_attn.qkv.weight", None, ""),
        (FLUX, "transformer.time_text_embed.guidance_embedder.linear_1",
         "guidance_in.in_layer.weight", None, ""),
        (FLUX, "double_blocks.0.processor.qkv_lora1",
         "double_blocks.0.img_attn.qkv.weight", None, ""),
        (FLUX, "diffusion_model.double_blocks.0.processor.qkv_lora2",
         "double_blocks.0.txt_attn.qkv.weight", None, ""),
        (FLUX, "double_blocks.0.processor.proj_lora1",
         "double_blocks.0.img_attn.proj.weight", None, ""),
        (FLUX, "double_blocks.0.processor.proj_lora2",
         "double_blocks.0.txt_attn.proj.weight", None, ""),
        (FLUX, "single_blocks.0.processor.qkv", "single_blocks.0.linear1.weight", (0, 24), ""),
        (FLUX, "single_blocks.0.processor.proj", "single_blocks.0.linear2.weight", None, ""),
        (FLUX, "transformer.norm_out.linear", "final_layer.adaLN_modulation.1.weight", None,
         "halves swapped"),
        (FLUX, "lora_unet_final_layer_adaLN_modulation_1",
         "final_layer.adaLN_modulation.1.weight", None, ""),
        (SD3, "transformer.transformer_blocks.0.attn.to_q",
         "joint_blocks.0.x_block.attn.qkv.weight", (0, 8), ""),
        (SD3, "transformer.transformer_blocks.0.attn2.to_k",
         "joint_blocks.0.x_block.attn2.qkv.weight", (8, 16), ""),
        (SD3, "transformer.transformer_blocks.0.attn.add_v_proj",
         "joint_blocks.0.context_block.attn.qkv.weight", (16, 24), ""),
        (SD3, "transformer.transformer_blocks.0.norm1_context.linear",
         "joint_blocks.0.context_block.adaLN_modulation.1.weight", None, ""),
        (SD3, "transformer.transformer_blocks.1.norm1_context.linear",
         "joint_blocks.1.context_block.adaLN_modulation.1.weight", None, "halves swapped"),
        (SD3, "transformer.transformer_blocks.0.ff.net.0.proj",
         "joint_blocks.0.x_block.mlp.fc1.weight", None, ""),
        (SD3, "lora_unet_joint_blocks_0_x_block_attn_qkv",
         "joint_blocks.0.x_block.attn.qkv.weight", None, ""),
        (SD3, "transformer.pos_embed.proj", "x_embedder.proj.weight", None, ""),
    ],
)  # fmt: skip
@pytest.mark.parametrize("start", ["", "model.diffusion_model.", "net."])
def test_layers_of_transformers(shapes, name, key, rows, turn, start):
    place = index_names({start + k: shape for k, shape in shapes.items()}).find(name)["weight"]
    assert (place.key, place.rows, place.turn) == (start + key, rows, turn)


@pytest.mark.parametrize(
    "name",
    [
        "lora_te2_encoder_block_0_layer_0_SelfAttention_q",
        "lora_te3_encoder_block_0_layer_0_SelfAttention_q",
        "text_encoder_3.encoder.block.0.layer.0.SelfAttention.q",
        "text_encoder_2.encoder.block.0.layer.0.SelfAttention.q",
    ],
)
def test_t5_is_the_second_or_third_text_encoder(name):
    assert index_names({**T5, **CLIP}).find(name)["weight"].key == next(iter(T5))


@pytest.mark.parametrize("name", ["lora_te4_model_layers_0_mlp_up_proj",
                                  "text_encoder_4.model.layers.0.mlp.up_proj"])  # fmt: skip
def test_language_model_may_be_the_fourth_text_encoder(name):
    key = "text_encoders.llama.transformer.model.layers.0.mlp.up_proj.weight"
    assert index_names({**T5, **CLIP, key: (8, 8)}).find(name)["weight"].key == key


@pytest.mark.parametrize("start", ["net.llm_adapter.", "text_conditioner."])
@pytest.mark.parametrize("name", ["text_conditioner.", "diffusion_model.llm_adapter."])
def test_adapter_of_anima_goes_by_two_names(start, name):
    key = f"{start}blocks.0.self_attn.q_proj.weight"
    index = index_names({key: (8, 8), "net.blocks.0.self_attn.q_proj.weight": (8, 8)})
    assert index.find(f"{name}blocks.0.self_attn.q_proj")["weight"].key == key


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("transformer.single_transformer_blocks.0.attn.to_k", (4, 8)),
        ("lora_transformer_single_transformer_blocks_0_proj_mlp", (12, 36)),
        ("single_blocks.0.processor.qkv", (0, 12)),
        ("diffusion_model.single_blocks.0.linear1_qkv", (0, 12)),
    ],
)
def test_gated_blocks_of_flux2_are_as_wide_as_their_stream(name, rows):
    shapes = {"single_blocks.0.linear1.weight": (36, 4), "single_blocks.0.linear2.weight": (4, 16),
              "double_stream_modulation_img.lin.weight": (24, 4)}  # fmt: skip
    assert index_names(shapes).find(name)["weight"].rows == rows


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("model.diffusion_model.time_embed.0.bias", "diffusion_model.time_embed.0.bias"),
        ("model.diffusion_model.blocks.0.prenorm.scale", "diffusion_model.blocks.0.prenorm.scale"),
        ("blocks.0.modulation", "diffusion_model.blocks.0.modulation"),
        ("model.diffusion_model.label_emb.0.2.weight", "unet.class_embedding.linear_2"),
        ("blocks.3.attn.wq.weight", "unet.base_model.model.blocks.3.attn.wq"),
    ],
)
def test_parameters_by_names_that_comfyui_and_diffusers_have(key, name):
    place = index_names({key: (4, 4), f"{key}s": (4, 4)}).find(name)["weight"]
    assert (place.key, place.rows) == (key, None)


LANGUAGE = ("model.", "model.language_model.", "language_model.model.", "")


@pytest.mark.parametrize("start", LANGUAGE)
@pytest.mark.parametrize(
    ("part", "lora"),
    [("", "base_model.model."), ("text_encoder.", "text_encoder."),
     ("text_encoders.qwen25_7b.transformer.", "lora_te1_")],
    ids=["alone", "folder", "file"],
)  # fmt: skip
def test_layers_of_a_language_model_are_found_by_all_forms_of_its_names(start, part, lora):
    layers = [f"layers.{i}.self_attn.q_proj" for i in (0, 1)]
    index = index_names({f"{part}{start}{layer}.weight": (4, 4) for layer in layers})
    for other in LANGUAGE:
        found = index.find(f"{lora}{other}{layers[1]}")
        assert found["weight"].key == f"{part}{start}{layers[1]}.weight"


def test_eye_of_a_language_model_is_found_with_and_without_model():
    key = "visual.blocks.3.attn.qkv.weight"
    index = index_names({key: (4, 4), "model.layers.3.self_attn.q_proj.weight": (4, 4)})
    assert index.find("base_model.model.model.visual.blocks.3.attn.qkv")["weight"].key == key


OPEN_CLIP = "conditioner.embedders.0.model.transformer.resblocks.20.mlp.c_fc.weight"
ONLY_T5 = "text_encoders.t5xxl.transformer.encoder.block.3.layer.0.SelfAttention.q.weight"
QWEN = "text_encoders.qwen3_4b.transformer.model.layers.1.self_attn.k_proj.weight"


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (OPEN_CLIP, "lora_te_text_model_encoder_layers_20_mlp_fc1"),
        (OPEN_CLIP, "text_encoder.text_model.encoder.layers.20.mlp.fc1"),
        (ONLY_T5, "lora_te1_encoder_block_3_layer_0_SelfAttention_q"),
        (ONLY_T5, "text_encoders.transformer.encoder.block.3.layer.0.SelfAttention.q"),
        (QWEN, "text_encoders.transformer.model.layers.1.self_attn.k_proj"),
    ],
)
def test_only_text_encoder_is_the_first(key, name):
    unet = {"model.diffusion_model.out.2.weight": (4, 4)}
    assert index_names({key: (4, 4), **unet}).find(name)["weight"].key == key
    other = {"cond_stage_model.transformer.text_model.final_layer_norm.weight": (4,)}
    found = index_names({key: (4, 4), **unet, **other}).find(name)
    assert (found is None) == (not name.startswith("text_encoders."))


def test_bias_and_weight_of_a_layer_are_found_together():
    layer = index_names(FLUX).find("transformer.single_transformer_blocks.0.attn.to_k")
    assert layer["bias"].key == "single_blocks.0.linear1.bias"
    assert layer["bias"].rows == (8, 16)


@pytest.mark.parametrize("block", [1 << 21, 10], ids=["whole", "by rows"])
def test_parts_of_a_tensor_are_changed_where_they_lie(block, bmerge, tmp_path, monkeypatch):
    monkeypatch.setattr("bmerge.lora.patch._BLOCK", block)
    rng = np.random.default_rng(0)
    prefix = "conditioner.embedders.1.model."
    fused = f"{prefix}transformer.resblocks.0.attn.in_proj_weight"
    base = {
        "model.diffusion_model.label_emb.0.0.weight": rng.normal(size=(4, 4)),
        "model.diffusion_model.final_layer.adaLN_modulation.1.weight": rng.normal(size=(4, 6)),
        fused: rng.normal(size=(12, 4)),
        f"{prefix}text_projection": rng.normal(size=(4, 6)),
    }
    model = write_checkpoint(tmp_path / "model.safetensors", base)
    te2 = "lora_te2_text_model_encoder_layers_0_self_attn_"
    modules = {
        te2 + "k_proj": (4, 4), te2 + "v_proj": (4, 4), "lora_te2_text_projection": (6, 4),
        "lora_transformer_norm_out_linear": (4, 6),
    }  # fmt: skip
    tensors, changes = {}, {}
    for name, shape in modules.items():
        roles, changes[name] = low_rank(rng, shape)
        tensors |= {f"{name}.{role}": array for role, array in roles.items()}
    lora = write_checkpoint(tmp_path / "x.safetensors", tensors)
    out = tmp_path / "out.safetensors"
    called = bmerge("merge", "add_difference", model, "--lora", lora, "-o", out)
    assert called.status == 0, called.err
    exact = {key: array.astype("f4").astype("f8") for key, array in base.items()}
    exact[fused][4:8] += changes[te2 + "k_proj"]
    exact[fused][8:12] += changes[te2 + "v_proj"]
    exact[f"{prefix}text_projection"] += changes["lora_te2_text_projection"].T
    shift = changes["lora_transformer_norm_out_linear"]
    exact["model.diffusion_model.final_layer.adaLN_modulation.1.weight"] += shift[[2, 3, 0, 1]]
    for key, array in read_checkpoint(out).items():
        np.testing.assert_allclose(array, exact[key], rtol=1e-5, atol=1e-5)


def test_xlabs_lora_changes_both_streams_and_the_first_rows_of_single_blocks(bmerge, tmp_path):
    rng = np.random.default_rng(1)
    base = {key: rng.normal(size=shape).astype("f4") for key, shape in FLUX.items()}
    model = write_checkpoint(tmp_path / "flux.safetensors", base)
    places = {
        "double_blocks.0.processor.qkv_lora1": ("double_blocks.0.img_attn.qkv.weight", 24),
        "double_blocks.0.processor.qkv_lora2": ("double_blocks.0.txt_attn.qkv.weight", 24),
        "double_blocks.0.processor.proj_lora1": ("double_blocks.0.img_attn.proj.weight", 8),
        "double_blocks.0.processor.proj_lora2": ("double_blocks.0.txt_attn.proj.weight", 8),
        "single_blocks.0.processor.qkv_lora": ("single_blocks.0.linear1.weight", 24),
        "single_blocks.0.processor.proj_lora": ("single_blocks.0.linear2.weight", 8),
    }
    tensors, exact = {}, {key: array.astype("f8") for key, array in base.items()}
    for name, (key, rows) in places.items():
        roles, change = low_rank(rng, (rows, FLUX[key][1]), names=("up.weight", "down.weight"))
        tensors |= {f"{name}.{role}": array for role, array in roles.items()}
        exact[key][:rows] += change
    lora = write_checkpoint(tmp_path / "x.safetensors", tensors)
    out = tmp_path / "out.safetensors"
    called = bmerge("merge", "add_difference", model, "--lora", lora, "-o", out)
    assert called.status == 0, called.err
    assert "changes 6 tensors of 6 layers" in called.err
    for key, array in read_checkpoint(out).items():
        assert np.abs(array - exact[key]).max() < 1e-5, key
