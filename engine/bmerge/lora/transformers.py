"""The names of SD3's and Flux's layers elsewhere, made from those of their own code.

Their own code has queries, keys and values in one tensor, which diffusers takes apart. XLabs, which
trains Flux, names layers after the processor of a block's attention: in a double block ``1`` stands
for the stream of the image and ``2`` for that of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias

__all__ = ["flux_names", "sd3_names"]

Named: TypeAlias = "tuple[str, tuple[int, int] | None, Literal['', 'halves swapped']]"

_QKV = ("to_q", "to_k", "to_v")
_ADDED = ("add_q_proj", "add_k_proj", "add_v_proj")

_SD3_OUTSIDE = {
    "x_embedder.proj": "pos_embed.proj", "context_embedder": "context_embedder",
    "t_embedder.mlp.0": "time_text_embed.timestep_embedder.linear_1",
    "t_embedder.mlp.2": "time_text_embed.timestep_embedder.linear_2",
    "y_embedder.mlp.0": "time_text_embed.text_embedder.linear_1",
    "y_embedder.mlp.2": "time_text_embed.text_embedder.linear_2",
    "final_layer.linear": "proj_out",
}  # fmt: skip
_SD3_BLOCK = re.compile(r"joint_blocks\.(\d+)\.(x|context)_block\.(.+)", re.DOTALL)
_SD3_INNER = {
    "x": {
        "attn.proj": "attn.to_out.0", "attn2.proj": "attn2.to_out.0", "mlp.fc1": "ff.net.0.proj",
        "mlp.fc2": "ff.net.2", "adaLN_modulation.1": "norm1.linear",
    },
    "context": {
        "attn.proj": "attn.to_add_out", "mlp.fc1": "ff_context.net.0.proj",
        "mlp.fc2": "ff_context.net.2", "adaLN_modulation.1": "norm1_context.linear",
    },
}  # fmt: skip

_FLUX_OUTSIDE = {
    "img_in": "x_embedder", "txt_in": "context_embedder",
    "time_in.in_layer": "time_text_embed.timestep_embedder.linear_1",
    "time_in.out_layer": "time_text_embed.timestep_embedder.linear_2",
    "vector_in.in_layer": "time_text_embed.text_embedder.linear_1",
    "vector_in.out_layer": "time_text_embed.text_embedder.linear_2",
    "guidance_in.in_layer": "time_text_embed.guidance_embedder.linear_1",
    "guidance_in.out_layer": "time_text_embed.guidance_embedder.linear_2",
    "final_layer.linear": "proj_out",
}  # fmt: skip
_FLUX_BLOCK = re.compile(r"(double|single)_blocks\.(\d+)\.(.+)", re.DOTALL)
_FLUX_DOUBLE = {
    "img_attn.proj": "attn.to_out.0", "txt_attn.proj": "attn.to_add_out",
    "img_mlp.0": "ff.net.0.proj", "img_mlp.2": "ff.net.2",
    "txt_mlp.0": "ff_context.net.0.proj", "txt_mlp.2": "ff_context.net.2",
    "img_mod.lin": "norm1.linear", "txt_mod.lin": "norm1_context.linear",
    "img_attn.norm.query_norm": "attn.norm_q", "img_attn.norm.key_norm": "attn.norm_k",
    "txt_attn.norm.query_norm": "attn.norm_added_q", "txt_attn.norm.key_norm": "attn.norm_added_k",
}  # fmt: skip
_XLABS_DOUBLE = {
    "img_attn.qkv": "qkv_lora1", "img_attn.proj": "proj_lora1",
    "txt_attn.qkv": "qkv_lora2", "txt_attn.proj": "proj_lora2",
}  # fmt: skip
_FLUX_SINGLE = {
    "linear2": "proj_out", "modulation.lin": "norm.linear", "norm.query_norm": "attn.norm_q",
    "norm.key_norm": "attn.norm_k",
}  # fmt: skip


def sd3_names(stem: str, shape: Sequence[int]) -> Iterator[Named]:
    """Yield the names in diffusers of a layer of SD3's transformer, with the rows meant.

    Args:
        stem: the layer's path.
        shape: of its tensor.
    """
    if stem in _SD3_OUTSIDE:
        yield _SD3_OUTSIDE[stem], None, ""
    elif stem == "final_layer.adaLN_modulation.1":
        yield "norm_out.linear", None, "halves swapped"
    elif found := _SD3_BLOCK.fullmatch(stem):
        block, side, rest = f"transformer_blocks.{found[1]}", found[2], found[3]
        if rest in _SD3_INNER[side]:
            # The last block only shifts and scales its context, in the other order. Its bias
            # alone does not tell which block this is.
            modulates = (side, rest) == ("context", "adaLN_modulation.1")
            if modulates and len(shape) < 2:
                return
            last = modulates and shape[0] == 2 * shape[1]
            yield f"{block}.{_SD3_INNER[side][rest]}", None, "halves swapped" if last else ""
        elif rest in {"attn.qkv", "attn2.qkv"}:
            names = _QKV if side == "x" else _ADDED
            yield from _thirds(f"{block}.{rest.removesuffix('qkv')}", names, shape[0] // 3)


def flux_names(stem: str, shape: Sequence[int]) -> Iterator[Named]:
    """Yield the names elsewhere of a layer of Flux's transformer, with the rows meant.

    Args:
        stem: the layer's path.
        shape: of its tensor.
    """
    if stem in _FLUX_OUTSIDE:
        yield _FLUX_OUTSIDE[stem], None, ""
    elif stem == "final_layer.adaLN_modulation.1":
        yield "norm_out.linear", None, "halves swapped"
    elif found := _FLUX_BLOCK.fullmatch(stem):
        names = _flux_double if found[1] == "double" else _flux_single
        yield from names(int(found[2]), found[3], shape)


def _flux_double(number: int, rest: str, shape: Sequence[int]) -> Iterator[Named]:
    block = f"transformer_blocks.{number}."
    if rest in _FLUX_DOUBLE:
        yield block + _FLUX_DOUBLE[rest], None, ""
    elif rest in {"img_attn.qkv", "txt_attn.qkv"}:
        names = _QKV if rest.startswith("img") else _ADDED
        yield from _thirds(f"{block}attn.", names, shape[0] // 3)
    if rest in _XLABS_DOUBLE:
        yield f"double_blocks.{number}.{_XLABS_DOUBLE[rest]}", None, ""


def _flux_single(number: int, rest: str, shape: Sequence[int]) -> Iterator[Named]:
    block = f"single_transformer_blocks.{number}."
    if rest in _FLUX_SINGLE:
        yield block + _FLUX_SINGLE[rest], None, ""
    elif rest == "linear1":
        # Queries, keys and values as wide as the stream, then the MLP: in Flux.1, which alone
        # has biases, four times as wide, in Flux.2 six times.
        width = shape[1] if len(shape) > 1 else shape[0] // 7
        yield from _thirds(f"{block}attn.", _QKV, width)
        yield f"{block}proj_mlp", (3 * width, shape[0]), ""
        for name in ("qkv", "linear1_qkv"):  # of XLabs, and of ComfyUI for such LoRAs
            yield f"single_blocks.{number}.{name}", (0, 3 * width), ""
    if rest == "linear2":
        yield f"single_blocks.{number}.proj", None, ""


def _thirds(start: str, names: Sequence[str], width: int) -> Iterator[Named]:
    for index, name in enumerate(names):
        yield start + name, (index * width, (index + 1) * width), ""
