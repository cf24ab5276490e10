"""The true keys, dtypes and shapes of Stable Diffusion checkpoints, from how the models are built.

Written from the models' hyperparameters and not from bmerge's block maps, so that each can be
tested against the other. A layout is a list of (key, safetensors tag, shape) in file order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

from bmerge.records import dataclass

__all__ = ["Entry", "Layout", "sd1_layout", "sdxl_layout", "shrink"]

Entry: TypeAlias = tuple[str, str, tuple[int, ...]]
Layout: TypeAlias = list[Entry]
Named: TypeAlias = Iterator[tuple[str, tuple[int, ...]]]

_SCHEDULE = (
    "betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod",
    "sqrt_one_minus_alphas_cumprod", "log_one_minus_alphas_cumprod", "sqrt_recip_alphas_cumprod",
    "sqrt_recipm1_alphas_cumprod", "posterior_variance", "posterior_log_variance_clipped",
    "posterior_mean_coef1", "posterior_mean_coef2",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _UNet:
    """Hyperparameters of the LDM and SGM UNets."""

    multipliers: tuple[int, ...]
    depths: tuple[int, ...]  # transformer blocks per level
    context: int
    linear_projections: bool = False
    label_channels: int | None = None
    in_channels: int = 4
    width: int = 320


_SD1 = _UNet((1, 2, 4, 4), (1, 1, 1, 0), context=768)
_SDXL = _UNet((1, 2, 4), (0, 2, 10), context=2048, linear_projections=True, label_channels=2816)


def sd1_layout(
    dtype: str = "F16",
    *,
    in_channels: int = 4,
    ema: bool = False,
    schedule: bool = False,
    old_text_encoder: bool = False,
) -> Layout:
    """Return the layout of a Stable Diffusion 1 checkpoint: 1,131 tensors.

    Args:
        dtype: of all weights.
        in_channels: 4, or 9 for inpainting and 8 for pix2pix models.
        ema: add the 688 tensors of the moving averages.
        schedule: add the 12 tensors of the noise schedule.
        old_text_encoder: name the text encoder's keys as old trainers did.
    """
    clip = "cond_stage_model.transformer." + ("" if old_text_encoder else "text_model.")
    unet = list(_unet("model.diffusion_model.", replace(_SD1, in_channels=in_channels)))
    layout = _weights(unet, dtype)
    layout += _weights(_vae("first_stage_model."), dtype)
    layout += _clip_l(clip, dtype)
    if schedule:
        layout += [(name, "F32", (1000,)) for name in _SCHEDULE]
    if ema:
        layout += [("model_ema.decay", "F32", ()), ("model_ema.num_updates", "I32", ())]
        # The EMA code strips the dots of every name.
        names = ("model_ema." + key.removeprefix("model.").replace(".", "") for key, _ in unet)
        layout += [(name, dtype, shape) for name, (_, shape) in zip(names, unet, strict=True)]
    return layout


def sdxl_layout(dtype: str = "F16") -> Layout:
    """Return the layout of an SDXL base checkpoint: 2,515 tensors.

    Args:
        dtype: of all weights.
    """
    layout = _clip_l("conditioner.embedders.0.transformer.text_model.", dtype)
    layout += _weights(_clip_g("conditioner.embedders.1.model."), dtype)
    layout += _weights(_vae("first_stage_model."), dtype)
    layout += _weights(_unet("model.diffusion_model.", _SDXL), dtype)
    return layout


def shrink(layout: Sequence[Entry], divisor: int = 80) -> Layout:
    """Return the same keys with small shapes: extents above 80 are divided, others stay.

    Args:
        layout: the layout.
        divisor: of extents above 80; the result is at least 2.
    """

    def smaller(extent: int) -> int:
        return extent if extent <= 80 else max(2, extent // divisor)

    return [(key, dtype, tuple(map(smaller, shape))) for key, dtype, shape in layout]


def _weights(named: Iterable[tuple[str, tuple[int, ...]]], dtype: str) -> Layout:
    return [(key, dtype, shape) for key, shape in named]


def _pair(prefix: str, *shape: int) -> Named:
    """Yield a layer's weight and bias."""
    yield prefix + ".weight", shape
    yield prefix + ".bias", shape[:1]


def _clip_l(prefix: str, dtype: str) -> Layout:
    named: list[tuple[str, tuple[int, ...]]] = [
        (prefix + "embeddings.token_embedding.weight", (49408, 768)),
        (prefix + "embeddings.position_embedding.weight", (77, 768)),
    ]
    for layer in (f"{prefix}encoder.layers.{i}." for i in range(12)):
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            named += _pair(f"{layer}self_attn.{name}", 768, 768)
        named += [*_pair(layer + "layer_norm1", 768), *_pair(layer + "layer_norm2", 768)]
        named += [*_pair(layer + "mlp.fc1", 3072, 768), *_pair(layer + "mlp.fc2", 768, 3072)]
    named += _pair(prefix + "final_layer_norm", 768)
    positions: Entry = (prefix + "embeddings.position_ids", "I64", (1, 77))
    return [positions, *_weights(named, dtype)]


def _clip_g(prefix: str) -> Named:
    yield prefix + "positional_embedding", (77, 1280)
    yield prefix + "text_projection", (1280, 1280)
    yield prefix + "logit_scale", ()
    yield prefix + "token_embedding.weight", (49408, 1280)
    for block in (f"{prefix}transformer.resblocks.{i}." for i in range(32)):
        yield from _pair(block + "ln_1", 1280)
        yield block + "attn.in_proj_weight", (3840, 1280)
        yield block + "attn.in_proj_bias", (3840,)
        yield from _pair(block + "attn.out_proj", 1280, 1280)
        yield from _pair(block + "ln_2", 1280)
        yield from _pair(block + "mlp.c_fc", 5120, 1280)
        yield from _pair(block + "mlp.c_proj", 1280, 5120)
    yield from _pair(prefix + "ln_final", 1280)


def _vae_res(prefix: str, inner: int, outer: int) -> Named:
    yield from _pair(prefix + "norm1", inner)
    yield from _pair(prefix + "conv1", outer, inner, 3, 3)
    yield from _pair(prefix + "norm2", outer)
    yield from _pair(prefix + "conv2", outer, outer, 3, 3)
    if inner != outer:
        yield from _pair(prefix + "nin_shortcut", outer, inner, 1, 1)


def _vae_middle(prefix: str) -> Named:
    yield from _vae_res(prefix + "block_1.", 512, 512)
    yield from _pair(prefix + "attn_1.norm", 512)
    for name in ("q", "k", "v", "proj_out"):
        yield from _pair(f"{prefix}attn_1.{name}", 512, 512, 1, 1)
    yield from _vae_res(prefix + "block_2.", 512, 512)


def _vae(prefix: str) -> Named:
    channels = (128, 256, 512, 512)
    yield from _pair(prefix + "encoder.conv_in", 128, 3, 3, 3)
    width = 128
    for i, outer in enumerate(channels):
        for j in range(2):
            yield from _vae_res(f"{prefix}encoder.down.{i}.block.{j}.", width, outer)
            width = outer
        if i < 3:
            yield from _pair(f"{prefix}encoder.down.{i}.downsample.conv", width, width, 3, 3)
    yield from _vae_middle(prefix + "encoder.mid.")
    yield from _pair(prefix + "encoder.norm_out", 512)
    yield from _pair(prefix + "encoder.conv_out", 8, 512, 3, 3)
    yield from _pair(prefix + "decoder.conv_in", 512, 4, 3, 3)
    yield from _vae_middle(prefix + "decoder.mid.")
    for i, outer in reversed(list(enumerate(channels))):
        for j in range(3):
            yield from _vae_res(f"{prefix}decoder.up.{i}.block.{j}.", width, outer)
            width = outer
        if i > 0:
            yield from _pair(f"{prefix}decoder.up.{i}.upsample.conv", width, width, 3, 3)
    yield from _pair(prefix + "decoder.norm_out", 128)
    yield from _pair(prefix + "decoder.conv_out", 3, 128, 3, 3)
    yield from _pair(prefix + "quant_conv", 8, 8, 1, 1)
    yield from _pair(prefix + "post_quant_conv", 4, 4, 1, 1)


def _res(prefix: str, inner: int, outer: int, embedding: int) -> Named:
    yield from _pair(prefix + "in_layers.0", inner)
    yield from _pair(prefix + "in_layers.2", outer, inner, 3, 3)
    yield from _pair(prefix + "emb_layers.1", outer, embedding)
    yield from _pair(prefix + "out_layers.0", outer)
    yield from _pair(prefix + "out_layers.3", outer, outer, 3, 3)
    if inner != outer:
        yield from _pair(prefix + "skip_connection", outer, inner, 1, 1)


def _attention(prefix: str, width: int, context: int) -> Named:
    yield prefix + "to_q.weight", (width, width)
    yield prefix + "to_k.weight", (width, context)
    yield prefix + "to_v.weight", (width, context)
    yield from _pair(prefix + "to_out.0", width, width)


def _transformer(prefix: str, width: int, depth: int, hyper: _UNet) -> Named:
    projection = (width, width) if hyper.linear_projections else (width, width, 1, 1)
    yield from _pair(prefix + "norm", width)
    yield from _pair(prefix + "proj_in", *projection)
    for block in (f"{prefix}transformer_blocks.{i}." for i in range(depth)):
        yield from _attention(block + "attn1.", width, width)
        yield from _pair(block + "ff.net.0.proj", 8 * width, width)
        yield from _pair(block + "ff.net.2", width, 4 * width)
        yield from _attention(block + "attn2.", width, hyper.context)
        for norm in ("norm1", "norm2", "norm3"):
            yield from _pair(block + norm, width)
    yield from _pair(prefix + "proj_out", *projection)


def _unet(prefix: str, hyper: _UNet) -> Named:
    width, embedding = hyper.width, 4 * hyper.width
    yield from _pair(prefix + "time_embed.0", embedding, width)
    yield from _pair(prefix + "time_embed.2", embedding, embedding)
    if hyper.label_channels is not None:
        yield from _pair(prefix + "label_emb.0.0", embedding, hyper.label_channels)
        yield from _pair(prefix + "label_emb.0.2", embedding, embedding)
    yield from _pair(prefix + "input_blocks.0.0", width, hyper.in_channels, 3, 3)
    skips, index = [width], 1
    for level, multiplier in enumerate(hyper.multipliers):
        outer, depth = multiplier * hyper.width, hyper.depths[level]
        for _ in range(2):
            yield from _stage(f"{prefix}input_blocks.{index}.", width, outer, depth, hyper)
            width, index = outer, index + 1
            skips.append(width)
        if level < len(hyper.multipliers) - 1:
            yield from _pair(f"{prefix}input_blocks.{index}.0.op", width, width, 3, 3)
            index += 1
            skips.append(width)
    yield from _res(prefix + "middle_block.0.", width, width, embedding)
    depth = next(depth for depth in reversed(hyper.depths) if depth)
    yield from _transformer(prefix + "middle_block.1.", width, depth, hyper)
    yield from _res(prefix + "middle_block.2.", width, width, embedding)
    yield from _unet_outputs(prefix, width, skips, hyper)
    yield from _pair(prefix + "out.0", hyper.width)
    yield from _pair(prefix + "out.2", 4, hyper.width, 3, 3)


def _unet_outputs(prefix: str, width: int, skips: list[int], hyper: _UNet) -> Named:
    index = 0
    for level in reversed(range(len(hyper.multipliers))):
        outer, depth = hyper.multipliers[level] * hyper.width, hyper.depths[level]
        for i in range(3):
            block = f"{prefix}output_blocks.{index}."
            yield from _stage(block, width + skips.pop(), outer, depth, hyper)
            width, index = outer, index + 1
            if i == 2 and level > 0:
                yield from _pair(f"{block}{2 if depth else 1}.conv", width, width, 3, 3)


def _stage(prefix: str, inner: int, outer: int, depth: int, hyper: _UNet) -> Named:
    """Yield one numbered block: a residual block, and a transformer where its level has one."""
    yield from _res(prefix + "0.", inner, outer, 4 * hyper.width)
    if depth:
        yield from _transformer(prefix + "1.", outer, depth, hyper)
