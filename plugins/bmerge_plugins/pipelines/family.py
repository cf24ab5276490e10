"""Kinds of checkpoints: how each is recognised, its usual configuration, where its parts are."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from bmerge import GeneratorError
from bmerge_plugins.pipelines.source import Source
from bmerge_plugins.pipelines.text import clip_source, open_clip_source
from bmerge_plugins.pipelines.unet import unet_source
from bmerge_plugins.pipelines.vae import vae_source

__all__ = ["Family", "Part", "family_of"]

SourceOf = Callable[[str, Mapping[str, Any], Collection[str]], Source]


@dataclass(frozen=True, slots=True)
class Part:
    """One component of a pipeline.

    Args:
        prefix: of its keys in a checkpoint.
        source: its parameter's name, its configuration, the checkpoint's keys → source.
    """

    prefix: str
    source: SourceOf


@dataclass(frozen=True, slots=True)
class Family:
    """One kind of checkpoint.

    Args:
        name: of the configuration that comes with bmerge, if one does.
        marks: prefixes that keys of such a checkpoint have, and no other kind's.
        parts: component of the pipeline → where it is.
    """

    name: str
    marks: tuple[str, ...]
    parts: Mapping[str, Part]


def _clip(prefix: str) -> Part:
    return Part(prefix, lambda name, _, keys: clip_source(name, keys, prefix))


def _open_clip(prefix: str) -> Part:
    return Part(prefix, lambda name, _, __: open_clip_source(name, prefix))


_UNET = Part("model.diffusion_model.", lambda name, config, _: unet_source(name, config))
_VAE = Part("first_stage_model.", lambda name, config, _: vae_source(name, config))

_FAMILIES = (
    Family(
        "sdxl",
        ("model.diffusion_model.label_emb.", "conditioner.embedders.1.model."),
        {
            "unet": _UNET,
            "vae": _VAE,
            "text_encoder": _clip("conditioner.embedders.0.transformer."),
            "text_encoder_2": _open_clip("conditioner.embedders.1.model."),
        },
    ),
    Family(
        "sd2",
        ("model.diffusion_model.input_blocks.", "cond_stage_model.model."),
        {"unet": _UNET, "vae": _VAE, "text_encoder": _open_clip("cond_stage_model.model.")},
    ),
    Family(
        "sd1",
        ("model.diffusion_model.input_blocks.", "cond_stage_model.transformer."),
        {"unet": _UNET, "vae": _VAE, "text_encoder": _clip("cond_stage_model.transformer.")},
    ),
)


def family_of(keys: Collection[str]) -> Family:
    """Return the kind of checkpoint that has these keys.

    Raises:
        GeneratorError: if it is none that is known.
    """
    for family in _FAMILIES:
        if all(any(key.startswith(mark) for key in keys) for mark in family.marks):
            return family
    known = ", ".join(family.name for family in _FAMILIES)
    raise GeneratorError(
        f"the merge is no whole checkpoint of a kind that diffusers is known to take ({known})",
        hint="it must hold the text encoders too, with the keys of the original code",
    )
