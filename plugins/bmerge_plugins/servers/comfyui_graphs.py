"""The text-to-image workflows for ComfyUI that come with bmerge, in its API format.

They use core nodes only, and end in a preview, which ComfyUI clears away itself, so that a study
does not fill the user's output folder. Their slots are found as in a user's own workflow.
"""

from __future__ import annotations

from typing import Any

__all__ = ["GRAPHS"]

_COMMON: dict[str, Any] = {
    "checkpoint": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": ""}},
    "prompt": {
        "class_type": "CLIPTextEncode",
        "inputs": {"text": "", "clip": ["checkpoint", 1]},
    },
    "decode": {
        "class_type": "VAEDecode",
        "inputs": {"samples": ["sampler", 0], "vae": ["checkpoint", 2]},
    },
    "output": {"class_type": "PreviewImage", "inputs": {"images": ["decode", 0]}},
}

_DEFAULT: dict[str, Any] = {
    **_COMMON,
    "negative": {
        "class_type": "CLIPTextEncode",
        "inputs": {"text": "", "clip": ["checkpoint", 1]},
    },
    "size": {
        "class_type": "EmptyLatentImage",
        "inputs": {"width": 512, "height": 512, "batch_size": 1},
    },
    "sampler": {
        "class_type": "KSampler",
        "inputs": {
            "seed": 0,
            "steps": 20,
            "cfg": 7.0,
            "sampler_name": "euler",
            "scheduler": "normal",
            "denoise": 1.0,
            "model": ["checkpoint", 0],
            "positive": ["prompt", 0],
            "negative": ["negative", 0],
            "latent_image": ["size", 0],
        },
    },
}

# Flux is guided by a number that it was trained on; its own cfg stays 1, its negative empty.
_FLUX: dict[str, Any] = {
    **_COMMON,
    "guidance": {
        "class_type": "FluxGuidance",
        "inputs": {"guidance": 3.5, "conditioning": ["prompt", 0]},
        "_meta": {"title": "cfg"},
    },
    "nothing": {
        "class_type": "ConditioningZeroOut",
        "inputs": {"conditioning": ["prompt", 0]},
    },
    "size": {
        "class_type": "EmptySD3LatentImage",
        "inputs": {"width": 1024, "height": 1024, "batch_size": 1},
    },
    "sampler": {
        "class_type": "KSampler",
        "inputs": {
            "seed": 0,
            "steps": 20,
            "cfg": 1.0,
            "sampler_name": "euler",
            "scheduler": "simple",
            "denoise": 1.0,
            "model": ["checkpoint", 0],
            "positive": ["guidance", 0],
            "negative": ["nothing", 0],
            "latent_image": ["size", 0],
        },
    },
}

GRAPHS: dict[str, dict[str, Any]] = {"default": _DEFAULT, "flux": _FLUX}
"""Name → workflow: ``default`` for SD1, SD2 and SDXL, ``flux`` for Flux."""
