"""More pipelines as small as can be: several text encoders, videos, the newest families."""

from __future__ import annotations

import diffusers
import transformers

from tiny_families import DECODER, HEADS, PLAIN, T5, VAE, flow, t5, vae, words

CLIP = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": 512,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}
LONG = {"max_position_embeddings": 248}


def clip_with_projection(**changes):
    config = transformers.CLIPTextConfig(**CLIP | changes, projection_dim=16)
    return transformers.CLIPTextModelWithProjection(config)


def qwen_vae():
    return diffusers.AutoencoderKLQwenImage(
        base_dim=4, z_dim=4, num_res_blocks=1, dim_mult=[1] * 4, latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    )  # fmt: skip


def sd3(**changes):
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        num_layers=3,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        caption_projection_dim=32,
        pooled_projection_dim=32,
        pos_embed_max_size=16,
        **changes,
    )
    return diffusers.StableDiffusion3Pipeline(
        transformer,
        flow(),
        vae(4, **PLAIN),
        clip_with_projection(),
        words(),
        clip_with_projection(),
        words(),
        transformers.T5EncoderModel(transformers.T5Config(**T5 | {"d_model": 32})),
        words(),
    )


def sd35():
    return sd3(qk_norm="rms_norm", dual_attention_layers=(0,))


def qwen_image():
    text = {**DECODER, "rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2]}}
    vision = {
        "depth": 1,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_heads": 2,
        "out_hidden_size": 16,
        "fullatt_block_indexes": [0],
    }
    config = transformers.Qwen2_5_VLConfig(text_config=text, vision_config=vision)
    transformer = diffusers.QwenImageTransformer2DModel(
        in_channels=16,
        out_channels=4,
        num_layers=2,
        **HEADS,
        joint_attention_dim=16,
        axes_dims_rope=(4, 6, 6),
    )
    return diffusers.QwenImagePipeline(
        flow(),
        qwen_vae(),
        transformers.Qwen2_5_VLForConditionalGeneration(config),
        words(),
        transformer,
    )


def flux2_klein():
    transformer = diffusers.Flux2Transformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=2,
        **HEADS,
        joint_attention_dim=48,
        guidance_embeds=False,
        axes_dims_rope=(4, 4, 4, 4),
    )
    v = diffusers.AutoencoderKLFlux2(
        **{k: v for k, v in VAE.items() if k not in ("shift_factor", "scaling_factor")},
        latent_channels=4,
    )
    qwen = transformers.Qwen3ForCausalLM(
        transformers.Qwen3Config(**DECODER | {"num_hidden_layers": 28})
    )
    return diffusers.Flux2KleinPipeline(flow(), v, qwen, words(), transformer)


def hidream():
    llama = transformers.LlamaForCausalLM(transformers.LlamaConfig(**DECODER))
    transformer = diffusers.HiDreamImageTransformer2DModel(
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        caption_channels=[16, 16],
        text_emb_dim=32,
        axes_dims_rope=(8, 4, 4),
        max_resolution=(16, 16),
        llama_layers=[0, 1],
    )
    return diffusers.HiDreamImagePipeline(
        flow(),
        vae(4, **PLAIN),
        clip_with_projection(**LONG),
        words(),
        clip_with_projection(**LONG),
        words(),
        t5(),
        words(),
        llama,
        words(),
        transformer,
    )


def ltx():
    transformer = diffusers.LTXVideoTransformer3DModel(
        in_channels=4,
        out_channels=4,
        **HEADS,
        cross_attention_dim=32,
        num_layers=2,
        caption_channels=16,
    )
    v = diffusers.AutoencoderKLLTXVideo(
        latent_channels=4,
        block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        layers_per_block=(1,) * 5,
        decoder_layers_per_block=(1,) * 5,
    )
    return diffusers.LTXPipeline(flow(), v, t5(), words(), transformer)


def pixart():
    transformer = diffusers.PixArtTransformer2DModel(
        **HEADS,
        in_channels=4,
        out_channels=8,
        num_layers=2,
        cross_attention_dim=32,
        sample_size=32,
        caption_channels=16,
        use_additional_conditions=False,
    )
    return diffusers.PixArtSigmaPipeline(
        words(), t5(), vae(4), transformer, diffusers.DPMSolverMultistepScheduler()
    )


def hunyuan_video():
    transformer = diffusers.HunyuanVideoTransformer3DModel(
        in_channels=4,
        out_channels=4,
        **HEADS,
        num_layers=1,
        num_single_layers=1,
        num_refiner_layers=1,
        text_embed_dim=16,
        pooled_projection_dim=16,
        rope_axes_dim=(4, 6, 6),
    )
    v = diffusers.AutoencoderKLHunyuanVideo(
        latent_channels=4, block_out_channels=(8, 8, 8, 8), layers_per_block=1, norm_num_groups=4
    )
    llama = transformers.LlamaModel(transformers.LlamaConfig(**DECODER | {"num_hidden_layers": 3}))
    clip = transformers.CLIPTextModel(transformers.CLIPTextConfig(**CLIP))
    return diffusers.HunyuanVideoPipeline(llama, words(), transformer, v, flow(), clip, words())


def mochi():
    transformer = diffusers.MochiTransformer3DModel(
        **HEADS,
        num_layers=2,
        pooled_projection_dim=16,
        in_channels=12,
        text_embed_dim=16,
        time_embed_dim=4,
        max_sequence_length=16,
    )
    v = diffusers.AutoencoderKLMochi(
        encoder_block_out_channels=(32,) * 4,
        decoder_block_out_channels=(32,) * 4,
        layers_per_block=(1,) * 5,
    )
    return diffusers.MochiPipeline(flow(), v, t5(), words(), transformer)


def krea2():
    text = {
        **DECODER,
        "num_hidden_layers": 3,
        "rope_scaling": {"rope_type": "default", "mrope_section": [1, 1, 2]},
    }
    vision = {
        "depth": 1,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_heads": 2,
        "out_hidden_size": 16,
        "deepstack_visual_indexes": [0],
    }
    transformer = diffusers.Krea2Transformer2DModel(
        in_channels=16,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=32,
        timestep_embed_dim=16,
        text_hidden_dim=16,
        num_text_layers=2,
        text_num_attention_heads=2,
        text_num_key_value_heads=2,
        text_intermediate_size=32,
        num_layerwise_text_blocks=1,
        num_refiner_text_blocks=1,
        axes_dims_rope=(4, 6, 6),
    )
    return diffusers.Krea2Pipeline(
        flow(),
        qwen_vae(),
        transformers.Qwen3VLModel(
            transformers.Qwen3VLConfig(text_config=text, vision_config=vision)
        ),
        words(),
        transformer,
        (1, 2),
    )


MORE = {
    "sd3": sd3,
    "sd3.5": sd35,
    "qwen-image": qwen_image,
    "flux2-klein": flux2_klein,
    "hidream": hidream,
    "ltx-video": ltx,
    "pixart": pixart,
    "hunyuan-video": hunyuan_video,
    "mochi": mochi,
    "krea2": krea2,
}
VIDEOS = {"wan", "ltx-video", "hunyuan-video", "mochi"}
"""Those that paint frames."""
