"""Small models of true structure in the layouts that they lie about in, from the public key lists.

Rows are kept where the converters of diffusers have sizes of their own written into them.
"""

from __future__ import annotations

import gzip
import json
import re
from functools import cache
from pathlib import Path

import numpy as np
import torch
from diffusers.loaders import single_file_utils as oracle

from bmerge.formats import ComposedTensor

DATA = Path(__file__).parent / "data" / "layouts.json.gz"
TALL = ("flux_dev_bfl", "chroma", "hunyuan_video", "lumina2", "d_hunyuanvideo")
LAYER = re.compile(
    r"(?:^|\.)(?<!guidance_layer\.)(?:double_blocks|single_blocks|joint_blocks|layers|transformer_blocks|blocks|resblocks"
    r"|double_layers|refiner_blocks|single_transformer_blocks|single_layers)\.(\d+)\."
)


@cache
def layouts():
    return json.loads(gzip.decompress(DATA.read_bytes()))


def small_model(name, seed, *, start="", layers=2):
    """Return key → float32 array of a part of a layout, of each list of layers the first ones.

    Args:
        name: of the layout.
        seed: of the values.
        start: what stands before the keys of the part, which is left out.
        layers: how many of each list are kept; 0: all.
    """
    random = np.random.default_rng(seed)
    tensors = {}
    for key, _, shape in layouts()[name]:
        layer = LAYER.search(key)
        if not key.startswith(start) or (layers and layer and int(layer[1]) >= layers):
            continue
        first = shape[:1] if name in TALL else [smaller(extent) for extent in shape[:1]]
        extents = [*first, *(smaller(extent) for extent in shape[1:])]
        tensors[key.removeprefix(start)] = random.standard_normal(extents, "f4")
    return tensors


def smaller(extent):
    """Return a small extent that parts of a fused tensor still divide."""
    return max(4, extent // 64) if extent > 16 else extent


PICTURE = "model.diffusion_model."
UNET = {"layers_per_block": 2, "addition_embed_type": "text_time"}
VAE = {"down_block_types": [0] * 4, "up_block_types": [0] * 4}
CASES = {
    "sd1": (PICTURE, "d_sd15_unet", lambda d: oracle.convert_ldm_unet_checkpoint(
        {PICTURE + key: value for key, value in d.items()}, {"layers_per_block": 2})),
    "sdxl": (PICTURE, "d_sdxl_unet", lambda d: oracle.convert_ldm_unet_checkpoint(
        {PICTURE + key: value for key, value in d.items()}, UNET)),
    "sd2": ("first_stage_model.", "d_vae", lambda d: oracle.convert_ldm_vae_checkpoint(d, VAE)),
    "sdxl_inpaint": ("conditioner.embedders.1.model.", "d_clip_g",
                     lambda d: oracle.convert_open_clip_checkpoint(None, d, prefix="")),
    "sd3_medium": (PICTURE, "d_sd3", oracle.convert_sd3_transformer_checkpoint_to_diffusers),
    "sd35_medium": (PICTURE, None, oracle.convert_sd3_transformer_checkpoint_to_diffusers),
    "flux_dev_bfl": ("", "d_flux", oracle.convert_flux_transformer_checkpoint_to_diffusers),
    "chroma": ("", "d_chroma", oracle.convert_chroma_transformer_checkpoint_to_diffusers),
    "flux2_dev": ("", "d_flux2", oracle.convert_flux2_transformer_checkpoint_to_diffusers),
    "auraflow": (PICTURE, None, oracle.convert_auraflow_transformer_checkpoint_to_diffusers),
    "lumina2": (PICTURE, "d_lumina2", oracle.convert_lumina2_to_diffusers),
    "wan21_i2v_14b": ("", None, oracle.convert_wan_transformer_to_diffusers),
    "ltxv_2b": (PICTURE, "d_ltx", oracle.convert_ltx_transformer_checkpoint_to_diffusers),
    "cosmos_predict2_2b": ("net.", None, oracle.convert_cosmos_transformer_checkpoint_to_diffusers),
}  # fmt: skip

WHOLE = ("sd1", "sdxl", "sd2", "sd3_medium", "sd35_medium")
"""Those of which all layers are converted: what is in the last is another thing, or counted."""
BACK = {
    "d_hunyuanvideo": oracle.convert_hunyuan_video_transformer_to_diffusers,
    "d_zimage": oracle.convert_z_image_transformer_checkpoint_to_diffusers,
}


def by_diffusers(convert, arrays):
    converted = convert({name: torch.from_numpy(array.copy()) for name, array in arrays.items()})
    return {name: value.contiguous().numpy() for name, value in converted.items()}


def values(tensor):
    """Return what a tensor stands for, read range by range."""
    if not isinstance(tensor, ComposedTensor):
        with tensor.file.open("rb") as file:
            file.seek(tensor.offset)
            data = np.frombuffer(file.read(tensor.nbytes), "<f4")
        return data.reshape(tensor.shape)
    parts = [
        values(piece.tensor).reshape(-1)[piece.first : piece.first + piece.count]
        for piece in tensor.pieces
    ]
    return np.concatenate(parts).reshape(tensor.shape)
