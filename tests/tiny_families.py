"""Pipelines of newer families, as small as can be, in folders as diffusers saves them."""

from __future__ import annotations

import math

import diffusers
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

VAE = {
    "block_out_channels": [8, 16], "layers_per_block": 1, "norm_num_groups": 4,
    "down_block_types": ["DownEncoderBlock2D"] * 2, "up_block_types": ["UpDecoderBlock2D"] * 2,
    "shift_factor": 0.1, "scaling_factor": 0.5, "sample_size": 32,
}  # fmt: skip
PLAIN = {"use_quant_conv": False, "use_post_quant_conv": False}
DECODER = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 8, "vocab_size": 512, "pad_token_id": 0,
}  # fmt: skip
T5 = {
    "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2, "vocab_size": 512,
    "feed_forward_proj": "gated-gelu",
}  # fmt: skip
HEADS = {"num_attention_heads": 2, "attention_head_dim": 16}


def words(template="{% for m in messages %}{{ m['content'] }} {% endfor %}"):
    """Return a tokenizer that has a number for each of some words, and one for all others."""
    known = ["<pad>", "</s>", "<unk>", "a", "cat", "castle", "of", "on", "hill", "blurry"]
    plain = Tokenizer(models.WordLevel({word: i for i, word in enumerate(known)}, "<unk>"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    made = transformers.PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="<pad>", eos_token="</s>", unk_token="<unk>",
        model_max_length=24,
    )  # fmt: skip
    made.chat_template = template
    return made


def vae(channels, **changes):
    return diffusers.AutoencoderKL(**{**VAE, "latent_channels": channels, **changes})


def t5():
    return transformers.T5EncoderModel(transformers.T5Config(**T5))


def umt5():
    return transformers.UMT5EncoderModel(transformers.UMT5Config(**T5))


def flow():
    return diffusers.FlowMatchEulerDiscreteScheduler()


def flux():
    clip = transformers.CLIPTextConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        vocab_size=512, bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    transformer = diffusers.FluxTransformer2DModel(
        in_channels=16, num_layers=2, num_single_layers=2, **HEADS, joint_attention_dim=16,
        pooled_projection_dim=16, guidance_embeds=True, axes_dims_rope=(4, 6, 6),
    )  # fmt: skip
    return diffusers.FluxPipeline(
        flow(), vae(4, **PLAIN), transformers.CLIPTextModel(clip), words(), t5(), words(),
        transformer,
    )  # fmt: skip


def chroma():
    transformer = diffusers.ChromaTransformer2DModel(
        in_channels=16, num_layers=2, num_single_layers=2, **HEADS, joint_attention_dim=16,
        axes_dims_rope=(4, 6, 6), approximator_num_channels=8, approximator_hidden_dim=16,
        approximator_layers=2,
    )  # fmt: skip
    return diffusers.ChromaPipeline(flow(), vae(4, **PLAIN), t5(), words(), transformer)


def z_image():
    transformer = diffusers.ZImageTransformer2DModel(
        in_channels=4, dim=32, n_layers=2, n_refiner_layers=1, n_heads=2, n_kv_heads=2,
        cap_feat_dim=16, axes_dims=[4, 6, 6], axes_lens=[64, 32, 32],
    )  # fmt: skip
    qwen = transformers.Qwen3Model(transformers.Qwen3Config(**DECODER))
    return diffusers.ZImagePipeline(flow(), vae(4, **PLAIN), qwen, words(), transformer)


def lumina2():
    transformer = diffusers.Lumina2Transformer2DModel(
        sample_size=4, in_channels=4, hidden_size=48, num_layers=2, num_refiner_layers=1,
        num_attention_heads=6, num_kv_heads=2, axes_dim_rope=(4, 2, 2), axes_lens=(64, 32, 32),
        cap_feat_dim=16,
    )  # fmt: skip
    gemma = transformers.Gemma2Model(transformers.Gemma2Config(**DECODER))
    return diffusers.Lumina2Pipeline(transformer, flow(), vae(4, **PLAIN), gemma, words())


def aura_flow():
    transformer = diffusers.AuraFlowTransformer2DModel(
        sample_size=8, num_mmdit_layers=2, num_single_dit_layers=2, **HEADS,
        joint_attention_dim=16, caption_projection_dim=32, pos_embed_max_size=64,
    )  # fmt: skip
    return diffusers.AuraFlowPipeline(words(), umt5(), vae(4), transformer, flow())


def wan():
    transformer = diffusers.WanTransformer3DModel(
        **HEADS, in_channels=4, out_channels=4, text_dim=16, freq_dim=16, ffn_dim=32, num_layers=2
    )
    video = diffusers.AutoencoderKLWan(
        base_dim=4, z_dim=4, num_res_blocks=1, dim_mult=[1, 1, 1, 1], latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    )  # fmt: skip
    return diffusers.WanPipeline(words(), umt5(), video, flow(), transformer)


FAMILIES = {
    "flux": flux, "chroma": chroma, "z-image": z_image, "lumina2": lumina2,
    "auraflow": aura_flow, "wan": wan,
}  # fmt: skip


def write_pipeline(folder, pipe, seed):
    """Write a pipeline with weights that neither lose nor blow up a signal."""
    made = torch.Generator().manual_seed(seed)
    modules = (each for each in pipe.components.values() if isinstance(each, torch.nn.Module))
    for module in modules:
        for key, parameter in module.named_parameters():
            values = torch.randn(parameter.shape, generator=made)
            if parameter.dim() > 1:
                values /= math.sqrt(math.prod(parameter.shape[1:]))
            else:
                values = 0.1 * values + (1 if key.endswith(("weight", "gamma")) else 0)
            parameter.data.copy_(values)
    pipe.save_pretrained(folder)
    return folder
