"""Genuine pipelines a hundred times smaller: true keys, every extent of the real models divided.

The layouts are bmerge.testing's, which are written from how the original code builds the models,
so what reads these files is held against something that it does not know of.
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np

import bmerge_plugins.pipelines
from bmerge.testing import layouts
from bmerge.testing.checkpoints import sd1_layout, sdxl_layout, write_checkpoint

CONFIGS = Path(bmerge_plugins.pipelines.__file__).parent / "configs"
EXTENTS = {
    128: 16, 256: 32, 512: 64, 768: 32, 1024: 32, 2816: 176, 2048: 160, 3072: 128, 4096: 128,
}  # fmt: skip
LEFT_OUT = (".layers.", ".resblocks.", ".transformer_blocks.")
DEPTH = 2


def sd2_layout():
    """Return the layout of Stable Diffusion 2: its UNet, with an OpenCLIP text encoder."""
    clip = {1280: 1024, 3840: 3072, 5120: 4096}
    text = [
        (key, tuple(clip.get(extent, extent) for extent in shape))
        for key, shape in layouts._clip_g("cond_stage_model.model.")
        if layer(key) < 24
    ]
    unet = layouts._UNet((1, 2, 4, 4), (1, 1, 1, 0), context=1024, linear_projections=True)
    named = [
        *layouts._unet("model.diffusion_model.", unet),
        *layouts._vae("first_stage_model."),
        *text,
    ]
    return [(key, "F32", shape) for key, shape in named]


def layer(key):
    """Return the number of the text encoder's layer that a key is in."""
    return int(key.split(".resblocks.")[1].split(".")[0]) if ".resblocks." in key else 0


def kept(key):
    """Whether a key is of the first layers of those that there are many of."""
    for name in LEFT_OUT:
        if name in key:
            return int(key.split(name)[1].split(".")[0]) < DEPTH
    return True


def smaller(extent):
    return extent // 10 if extent % 320 == 0 else EXTENTS.get(extent, extent)


def tiny(layout):
    return [(k, d, tuple(map(smaller, shape))) for k, d, shape in layout if kept(k)]


def write_tiny(path, layout, seed, dtype="F32"):
    """Write values of which pictures can be made: no layer loses or blows up its signal."""
    tensors = {}
    for index, (key, tag, shape) in enumerate(layout):
        generator = np.random.default_rng([seed, index])
        if tag == "I64":
            tensors[key] = np.arange(math.prod(shape)).reshape(shape)
            continue
        values = generator.standard_normal(shape)
        if len(shape) > 1:
            values *= (2 if "embedding" in key else 1) / math.sqrt(math.prod(shape[1:]))
        elif key.endswith("weight"):
            values = 1 + 0.2 * values
        else:
            values = 0.1 * values
        tensors[key] = values.astype("f4")
    return write_checkpoint(path, tensors, dtype=dtype)


def tiny_sd1(path, seed, dtype="F32", **options):
    return write_tiny(path, tiny(sd1_layout("F32", **options)), seed, dtype)


def tiny_sd2(path, seed, dtype="F32"):
    layout = [
        (key, tag, (96, *shape[1:]) if "in_proj" in key else shape)  # SD1 has 3072 elsewhere
        for key, tag, shape in tiny(sd2_layout())
    ]
    return write_tiny(path, layout, seed, dtype)


def tiny_sdxl(path, seed, dtype="F32"):
    return write_tiny(path, tiny(sdxl_layout("F32")), seed, dtype)


def write_config(folder, family, **changes):
    """Write bmerge's own configuration of a family with the sizes of the tiny one."""
    shutil.copytree(CONFIGS / family, folder)
    for file in folder.glob("*/config.json"):
        config = json.loads(file.read_text())
        small = {name: _shrunk(name, value) for name, value in config.items()}
        small |= SPECIAL.get((family, file.parent.name), {})
        file.write_text(json.dumps(small | changes.get(file.parent.name, {})))
    return folder


def write_vocabulary(folder):
    """Give the tokenizers their files, which diffusers' own loader needs."""
    from bmerge_plugins.pipelines.tokenizer import _vocabulary

    vocabulary, merges = _vocabulary()
    for place in folder.glob("tokenizer*"):
        (place / "vocab.json").write_text(json.dumps(vocabulary))
        lines = ["#version: 0.2", *map(" ".join, merges)]
        (place / "merges.txt").write_text("\n".join(lines))
    return folder


SPECIAL = {
    ("sd1", "unet"): {"norm_num_groups": 8, "attention_head_dim": 4, "sample_size": 8},
    ("sd1", "vae"): {"norm_num_groups": 8},
    ("sd1", "text_encoder"): {"num_hidden_layers": DEPTH, "num_attention_heads": 4},
    ("sd2", "unet"): {"norm_num_groups": 8, "attention_head_dim": [2, 4, 8, 8], "sample_size": 8},
    ("sd2", "vae"): {"norm_num_groups": 8},
    ("sd2", "text_encoder"): {"num_hidden_layers": DEPTH, "num_attention_heads": 4},
    ("sdxl", "unet"): {
        "norm_num_groups": 8, "attention_head_dim": [2, 4, 8], "sample_size": 8,
        "transformer_layers_per_block": [1, 2, 2], "addition_time_embed_dim": 8,
    },
    ("sdxl", "vae"): {"norm_num_groups": 8},
    ("sdxl", "text_encoder"): {"num_hidden_layers": DEPTH, "num_attention_heads": 4},
    ("sdxl", "text_encoder_2"): {"num_hidden_layers": DEPTH, "num_attention_heads": 4},
}  # fmt: skip
SIZES = {
    "block_out_channels", "cross_attention_dim", "hidden_size", "intermediate_size",
    "projection_dim", "projection_class_embeddings_input_dim",
}  # fmt: skip


def _shrunk(name, value):
    if name not in SIZES:
        return value
    return [smaller(one) for one in value] if isinstance(value, list) else smaller(value)
