"""The text-to-image workflows for ComfyUI that come with bmerge, in its API format.

They use core nodes only, and end in a preview, which ComfyUI clears away itself, so that a study
does not fill the user's output folder. Their slots are found as in a user's own workflow. Settings,
and names of text encoders and VAEs, are those of ComfyUI's own templates.
"""

from __future__ import annotations

from typing import Any

__all__ = ["GRAPHS"]

Nodes = dict[str, Any]


def _node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def _whole() -> Nodes:
    """Load a checkpoint that has its text encoders and its VAE with it."""
    return {
        "checkpoint": _node("CheckpointLoaderSimple", ckpt_name=""),
        "prompt": _node("CLIPTextEncode", text="", clip=["checkpoint", 1]),
        "negative": _node("CLIPTextEncode", text="", clip=["checkpoint", 1]),
        "decode": _node("VAEDecode", samples=["sampler", 0], vae=["checkpoint", 2]),
        "output": _node("PreviewImage", images=["decode", 0]),
    }


def _parts(vae: str, kind: str, *encoders: str) -> Nodes:
    """Load a diffusion model alone, and what belongs to it from the server's own files.

    Args:
        vae: file name.
        kind: what the loader of text encoders calls the model.
        encoders: file names, one or two.
    """
    if len(encoders) == 1:
        loader = _node("CLIPLoader", clip_name=encoders[0], type=kind)
    else:
        names = {f"clip_name{place}": name for place, name in enumerate(encoders, start=1)}
        loader = _node("DualCLIPLoader", **names, type=kind)
    return {
        "checkpoint": _node("UNETLoader", unet_name="", weight_dtype="default"),
        "text_encoder": loader,
        "vae": _node("VAELoader", vae_name=vae),
        "prompt": _node("CLIPTextEncode", text="", clip=["text_encoder", 0]),
        "negative": _node("CLIPTextEncode", text="", clip=["text_encoder", 0]),
        "decode": _node("VAEDecode", samples=["sampler", 0], vae=["vae", 0]),
        "output": _node("PreviewImage", images=["decode", 0]),
    }


def _latent(kind: str, width: int, height: int, **more: int) -> Nodes:
    return {"size": _node(kind, width=width, height=height, **more, batch_size=1)}


def _sampler(
    sampler: str, scheduler: str, steps: int, cfg: float, *, model: str = "checkpoint"
) -> Nodes:
    return {
        "sampler": _node(
            "KSampler",
            seed=0,
            steps=steps,
            cfg=cfg,
            sampler_name=sampler,
            scheduler=scheduler,
            denoise=1.0,
            model=[model, 0],
            positive=["prompt", 0],
            negative=["negative", 0],
            latent_image=["size", 0],
        )
    }


def _shifted(
    kind: str, shift: float, sampler: str, scheduler: str, steps: int, cfg: float
) -> Nodes:
    """Sample a flow model with its noise schedule shifted."""
    return {
        "shift": _node(kind, shift=shift, model=["checkpoint", 0]),
        **_sampler(sampler, scheduler, steps, cfg, model="shift"),
    }


def _nothing(nodes: Nodes) -> Nodes:
    """Leave the negative prompt out: distilled models are not guided by one."""
    return {**nodes, "negative": _node("ConditioningZeroOut", conditioning=["prompt", 0])}


def _guided(nodes: Nodes, guidance: float) -> Nodes:
    """Guide by a number that the model was trained on; its own cfg stays 1."""
    guided = _node("FluxGuidance", guidance=guidance, conditioning=["prompt", 0])
    nodes = {**_nothing(nodes), "guidance": {**guided, "_meta": {"title": "cfg"}}}
    inputs = nodes["sampler"]["inputs"] | {"positive": ["guidance", 0]}
    return {**nodes, "sampler": {**nodes["sampler"], "inputs": inputs}}


def _flux2(steps: int) -> Nodes:
    """Sample Flux.2, whose noise schedule depends on the size."""
    return {
        **_latent("EmptyFlux2LatentImage", 1024, 1024),
        "noise": _node("RandomNoise", noise_seed=0),
        "method": _node("KSamplerSelect", sampler_name="euler"),
        "schedule": _node("Flux2Scheduler", steps=steps, width=1024, height=1024),
        "sampler": _node(
            "SamplerCustomAdvanced",
            noise=["noise", 0],
            guider=["guider", 0],
            sampler=["method", 0],
            sigmas=["schedule", 0],
            latent_image=["size", 0],
        ),
    }


def _flux2_dev() -> Nodes:
    nodes = {
        **_parts("flux2-vae.safetensors", "flux2", "mistral_3_small_flux2_bf16.safetensors"),
        **_flux2(20),
        "guidance": {
            **_node("FluxGuidance", guidance=4.0, conditioning=["prompt", 0]),
            "_meta": {"title": "cfg"},
        },
        "guider": _node("BasicGuider", model=["checkpoint", 0], conditioning=["guidance", 0]),
    }
    del nodes["negative"]
    return nodes


def _flux2_klein() -> Nodes:
    guider = {"model": ["checkpoint", 0], "positive": ["prompt", 0], "negative": ["negative", 0]}
    return {
        **_parts("flux2-vae.safetensors", "flux2", "qwen_3_4b.safetensors"),
        **_flux2(20),
        "guider": _node("CFGGuider", cfg=5.0, **guider),
    }


def _z_image(steps: int, cfg: float) -> Nodes:
    return {
        **_parts("ae.safetensors", "lumina2", "qwen_3_4b.safetensors"),
        **_latent("EmptySD3LatentImage", 1024, 1024),
        **_shifted("ModelSamplingAuraFlow", 3.0, "res_multistep", "simple", steps, cfg),
    }


def _chroma() -> Nodes:
    options = _node("T5TokenizerOptions", min_padding=0, min_length=0, clip=["text_encoder", 0])
    return {
        **_parts("ae.safetensors", "chroma", "t5xxl_fp8_e4m3fn_scaled.safetensors"),
        "tokens": options,
        "prompt": _node("CLIPTextEncode", text="", clip=["tokens", 0]),
        "negative": _node("CLIPTextEncode", text="", clip=["tokens", 0]),
        **_latent("EmptySD3LatentImage", 1024, 1024),
        **_shifted("ModelSamplingAuraFlow", 1.0, "euler", "beta", 26, 3.5),
    }


_FLUX_ENCODERS = ("clip_l.safetensors", "t5xxl_fp16.safetensors")
_FLUX_SAMPLING = {
    **_latent("EmptySD3LatentImage", 1024, 1024),
    **_sampler("euler", "simple", 20, 1.0),
}

GRAPHS: dict[str, Nodes] = {
    "default": {
        **_whole(),
        **_latent("EmptyLatentImage", 512, 512),
        **_sampler("euler", "normal", 20, 7.0),
    },
    "flux": _guided({**_whole(), **_FLUX_SAMPLING}, 3.5),
    "flux_model": _guided(
        {**_parts("ae.safetensors", "flux", *_FLUX_ENCODERS), **_FLUX_SAMPLING}, 3.5
    ),
    "flux2": _flux2_dev(),
    "flux2_klein": _flux2_klein(),
    "sd3": {
        **_whole(),
        **_latent("EmptySD3LatentImage", 1024, 1024),
        **_sampler("euler", "sgm_uniform", 20, 4.0),
    },
    "chroma": _chroma(),
    "qwen_image": {
        **_parts(
            "qwen_image_vae.safetensors", "qwen_image", "qwen_2.5_vl_7b_fp8_scaled.safetensors"
        ),
        **_latent("EmptySD3LatentImage", 1328, 1328),
        **_shifted("ModelSamplingAuraFlow", 3.1, "euler", "simple", 20, 2.5),
    },
    "z_image": _z_image(50, 4.0),
    "z_image_turbo": _nothing(_z_image(8, 1.0)),
    "anima": {
        **_parts("qwen_image_vae.safetensors", "stable_diffusion", "qwen_3_06b_base.safetensors"),
        **_latent("EmptyLatentImage", 1024, 1024),
        **_sampler("er_sde", "simple", 30, 4.0),
    },
    "krea2_turbo": _nothing(
        {
            **_parts("qwen_image_vae.safetensors", "krea2", "qwen3vl_4b_fp8_scaled.safetensors"),
            **_latent("EmptyLatentImage", 1024, 1024),
            **_sampler("euler", "simple", 8, 1.0),
        }
    ),
    "wan": {
        **_parts("wan_2.1_vae.safetensors", "wan", "umt5_xxl_fp8_e4m3fn_scaled.safetensors"),
        **_latent("EmptyHunyuanLatentVideo", 832, 480, length=1),
        **_shifted("ModelSamplingSD3", 8.0, "uni_pc", "simple", 30, 6.0),
    },
}
"""Name → workflow. ``default`` is for SD1, SD2 and SDXL; ``default``, ``flux`` and ``sd3`` load a
whole checkpoint, the others a diffusion model alone. ``wan`` makes the first frame of a video."""
