"""Stable Diffusion 3 and Flux with true keys and tiny sizes, written from the original code.

diffusers' own loader reads the first of them. Its loader of Flux knows one size only, so what
belongs where in Flux is written out here once more.
"""

from __future__ import annotations

import json

import numpy as np

from bmerge.testing import layouts
from tiny_pipelines import CONFIGS, kept, smaller

UNET = "model.diffusion_model."
WIDTH, HEAD, DEPTH, LATENT, CLIP_L, CLIP_G = 32, 8, 2, 4, 32, 64


def pair(name, *shape):
    yield name + ".weight", shape
    yield name + ".bias", shape[:1]


def _sd3_transformer():
    w, pooled = WIDTH, CLIP_L + CLIP_G
    yield "pos_embed", (1, 16 * 16, w)
    yield from pair("x_embedder.proj", w, LATENT, 2, 2)
    yield from [*pair("t_embedder.mlp.0", w, 256), *pair("t_embedder.mlp.2", w, w)]
    yield from [*pair("y_embedder.mlp.0", w, pooled), *pair("y_embedder.mlp.2", w, w)]
    yield from pair("context_embedder", w, pooled)
    for number in range(DEPTH):
        for side in ("x_block", "context_block"):
            block = f"joint_blocks.{number}.{side}."
            last = side == "context_block" and number == DEPTH - 1
            yield from pair(block + "attn.qkv", 3 * w, w)
            yield from ((f"{block}attn.ln_{one}.weight", (HEAD,)) for one in "qk")
            yield from pair(block + "adaLN_modulation.1", (2 if last else 6) * w, w)
            if not last:
                yield from pair(block + "attn.proj", w, w)
                yield from pair(block + "mlp.fc1", 4 * w, w)
                yield from pair(block + "mlp.fc2", w, 4 * w)
    yield from pair("final_layer.linear", 4 * LATENT, w)
    yield from pair("final_layer.adaLN_modulation.1", 2 * w, w)


def _clip(prefix, width):
    shapes = {768: width, 3072: 4 * width}
    for key, dtype, shape in layouts._clip_l(prefix + "text_model.", "F32"):
        if kept(key):
            yield key, dtype, tuple(shapes.get(extent, extent) for extent in shape)


def sd3_layout():
    return [
        *((UNET + key, "F32", shape) for key, shape in _sd3_transformer()),
        *(
            (key, "F32", tuple(map(smaller, shape)))
            for key, shape in layouts._vae("first_stage_model.")
            if "quant_conv" not in key
        ),
        *_clip("text_encoders.clip_l.transformer.", CLIP_L),
        *_clip("text_encoders.clip_g.transformer.", CLIP_G),
        ("text_encoders.clip_g.transformer.text_projection.weight", "F32", (CLIP_G, CLIP_G)),
    ]


def write_sd3_config(folder):
    clip = json.loads((CONFIGS / "sd1" / "text_encoder" / "config.json").read_text())
    vae = json.loads((CONFIGS / "sd1" / "vae" / "config.json").read_text())
    encoder = ["transformers", "CLIPTextModelWithProjection"]
    files = {
        "model_index.json": {
            "_class_name": "StableDiffusion3Pipeline",
            "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
            "transformer": ["diffusers", "SD3Transformer2DModel"],
            "vae": ["diffusers", "AutoencoderKL"],
            "text_encoder": encoder, "text_encoder_2": encoder, "text_encoder_3": [None, None],
            "tokenizer": ["transformers", "CLIPTokenizer"],
            "tokenizer_2": ["transformers", "CLIPTokenizer"], "tokenizer_3": [None, None],
            "image_encoder": [None, None], "feature_extractor": [None, None],
        },
        "transformer/config.json": {
            "_class_name": "SD3Transformer2DModel", "sample_size": 8, "patch_size": 2,
            "in_channels": LATENT, "out_channels": LATENT, "num_layers": DEPTH,
            "attention_head_dim": HEAD, "num_attention_heads": WIDTH // HEAD,
            "joint_attention_dim": CLIP_L + CLIP_G, "caption_projection_dim": WIDTH,
            "pooled_projection_dim": CLIP_L + CLIP_G, "pos_embed_max_size": 16,
            "qk_norm": "rms_norm",
        },
        "vae/config.json": vae | {
            "block_out_channels": [16, 32, 64, 64], "norm_num_groups": 8, "shift_factor": 0.06,
            "use_quant_conv": False, "use_post_quant_conv": False,
        },
        "scheduler/scheduler_config.json": {
            "_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0,
        },
    }  # fmt: skip
    for number, width in (("", CLIP_L), ("_2", CLIP_G)):
        files[f"text_encoder{number}/config.json"] = clip | {
            "hidden_size": width, "intermediate_size": 4 * width, "projection_dim": width,
            "num_hidden_layers": 2, "num_attention_heads": 4, "architectures": encoder[1:],
        }  # fmt: skip
        files[f"tokenizer{number}/tokenizer_config.json"] = {"model_max_length": 77}
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content))
    return folder


FLUX = {
    "in_channels": 8, "num_layers": 1, "num_single_layers": 1, "attention_head_dim": 8,
    "num_attention_heads": 4, "joint_attention_dim": 24, "pooled_projection_dim": 16,
    "guidance_embeds": True, "axes_dims_rope": (2, 2, 4),
}  # fmt: skip


def flux_tensors(seed):
    """Return the tensors of a Flux transformer as the original code names them."""
    w = WIDTH
    double, single = "double_blocks.0.", "single_blocks.0."
    named = [
        *pair("img_in", w, 8), *pair("txt_in", w, 24),
        *pair("time_in.in_layer", w, 256), *pair("time_in.out_layer", w, w),
        *pair("vector_in.in_layer", w, 16), *pair("vector_in.out_layer", w, w),
        *pair("guidance_in.in_layer", w, 256), *pair("guidance_in.out_layer", w, w),
        *pair(single + "linear1", 7 * w, w), *pair(single + "linear2", w, 5 * w),
        *pair(single + "modulation.lin", 3 * w, w),
        *((f"{single}norm.{one}_norm.scale", (HEAD,)) for one in ("query", "key")),
        *pair("final_layer.linear", 8, w), *pair("final_layer.adaLN_modulation.1", 2 * w, w),
    ]  # fmt: skip
    for side in ("img", "txt"):
        named += [*pair(f"{double}{side}_mod.lin", 6 * w, w)]
        named += [*pair(f"{double}{side}_attn.qkv", 3 * w, w)]
        named += [*pair(f"{double}{side}_attn.proj", w, w)]
        named += [*pair(f"{double}{side}_mlp.0", 4 * w, w)]
        named += [*pair(f"{double}{side}_mlp.2", w, 4 * w)]
        named += [(f"{double}{side}_attn.norm.{o}_norm.scale", (HEAD,)) for o in ("query", "key")]
    made = np.random.default_rng(seed)
    return {key: made.standard_normal(shape).astype("f4") for key, shape in named}


def flux_parameters(tensors):
    """Return what diffusers' parameters must be for those tensors."""
    found = {}

    def put(name, key):
        part([(name, None)], key)

    def part(names, key):
        for kind in ("weight", "bias"):
            whole = tensors.pop(f"{key}.{kind}")
            for name, rows in names:
                found[f"{name}.{kind}"], whole = whole[:rows], whole[rows:]

    w = WIDTH
    embed = "time_text_embed."
    for kind, key in (("timestep", "time"), ("text", "vector"), ("guidance", "guidance")):
        put(f"{embed}{kind}_embedder.linear_1", f"{key}_in.in_layer")
        put(f"{embed}{kind}_embedder.linear_2", f"{key}_in.out_layer")
    put("x_embedder", "img_in")
    put("context_embedder", "txt_in")
    block, there = "transformer_blocks.0.", "double_blocks.0."
    for side, tail, names, norm in (
        ("img", "", ("to_q", "to_k", "to_v"), "norm_"),
        ("txt", "_context", ("add_q_proj", "add_k_proj", "add_v_proj"), "norm_added_"),
    ):
        put(f"{block}norm1{tail}.linear", f"{there}{side}_mod.lin")
        part([(f"{block}attn.{name}", w) for name in names], f"{there}{side}_attn.qkv")
        put(f"{block}ff{tail}.net.0.proj", f"{there}{side}_mlp.0")
        put(f"{block}ff{tail}.net.2", f"{there}{side}_mlp.2")
        for one, word in (("q", "query"), ("k", "key")):
            scale = tensors.pop(f"{there}{side}_attn.norm.{word}_norm.scale")
            found[f"{block}attn.{norm}{one}.weight"] = scale
    put(block + "attn.to_out.0", there + "img_attn.proj")
    put(block + "attn.to_add_out", there + "txt_attn.proj")
    block, there = "single_transformer_blocks.0.", "single_blocks.0."
    put(block + "norm.linear", there + "modulation.lin")
    names = [*((f"{block}attn.to_{one}", w) for one in "qkv"), (block + "proj_mlp", 4 * w)]
    part(names, there + "linear1")
    put(block + "proj_out", there + "linear2")
    for one, word in (("q", "query"), ("k", "key")):
        found[f"{block}attn.norm_{one}.weight"] = tensors.pop(f"{there}norm.{word}_norm.scale")
    put("proj_out", "final_layer.linear")
    for kind in ("weight", "bias"):
        shift, scale = np.split(tensors.pop(f"final_layer.adaLN_modulation.1.{kind}"), 2)
        found[f"norm_out.linear.{kind}"] = np.concatenate([scale, shift])
    assert not tensors
    return found
