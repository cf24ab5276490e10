"""Kinds of checkpoints: how each is recognised, its usual configuration, where its parts are."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from bmerge import GeneratorError
from bmerge_plugins.pipelines.mmdit import flux_source, sd3_source
from bmerge_plugins.pipelines.source import ParameterSource
from bmerge_plugins.pipelines.text import clip_source, open_clip_source
from bmerge_plugins.pipelines.unet import unet_source
from bmerge_plugins.pipelines.vae import vae_source

__all__ = ["Family", "Part", "family_of"]

SourceOf = Callable[[str, Mapping[str, Any], str, Collection[str]], ParameterSource]


@dataclass(frozen=True, slots=True)
class Part:
    """One component of a pipeline.

    Args:
        prefixes: that its keys may have; the first that a checkpoint has is the right one.
        source: its parameter's name, its configuration, its prefix, all keys → source.
    """

    prefixes: tuple[str, ...]
    source: SourceOf

    def prefix_in(self, keys: Collection[str]) -> str | None:
        """Return the prefix of its keys in a checkpoint, or None if there are none."""
        for prefix in self.prefixes:
            if any(key.startswith(prefix) for key in keys):
                return prefix
        return None


@dataclass(frozen=True, slots=True)
class Family:
    """One kind of checkpoint.

    Args:
        name: of the configuration that comes with bmerge, if one does.
        marks: what keys of such a checkpoint begin with, and no other kind's; without the
            prefix of the diffusion model.
        parts: component of the pipeline → where it is; the diffusion model comes first.
    """

    name: str
    marks: tuple[str, ...]
    parts: Mapping[str, Part]


def _as_it_is(name: str, _: Mapping[str, Any], prefix: str, __: Collection[str]) -> ParameterSource:
    return ParameterSource(prefix + name)


def _clip(prefix: str) -> Part:
    return Part((prefix,), lambda name, _, prefix, keys: clip_source(name, keys, prefix))


def _open_clip(prefix: str) -> Part:
    return Part((prefix,), lambda name, _, prefix, __: open_clip_source(name, prefix))


_MODEL = "model.diffusion_model."
_UNET = Part((_MODEL,), lambda name, config, prefix, _: unet_source(name, config, prefix))
_VAE = Part(
    ("first_stage_model.", "vae."), lambda name, config, prefix, _: vae_source(name, config, prefix)
)
_T5 = Part(("text_encoders.t5xxl.transformer.",), _as_it_is)

_FAMILIES = (
    Family(
        "flux",
        ("double_blocks.", "single_blocks."),
        {
            "transformer": Part(
                (_MODEL, ""), lambda name, _, prefix, __: flux_source(name, prefix)
            ),
            "vae": _VAE,
            "text_encoder": _clip("text_encoders.clip_l.transformer."),
            "text_encoder_2": _T5,
        },
    ),
    Family(
        "sd3",
        ("joint_blocks.",),
        {
            "transformer": Part(
                (_MODEL, ""), lambda name, config, prefix, _: sd3_source(name, config, prefix)
            ),
            "vae": _VAE,
            "text_encoder": _clip("text_encoders.clip_l.transformer."),
            "text_encoder_2": _clip("text_encoders.clip_g.transformer."),
            "text_encoder_3": _T5,
        },
    ),
    Family(
        "sdxl",
        ("label_emb.", "conditioner.embedders.1.model."),
        {
            "unet": _UNET,
            "vae": _VAE,
            "text_encoder": _clip("conditioner.embedders.0.transformer."),
            "text_encoder_2": _open_clip("conditioner.embedders.1.model."),
        },
    ),
    Family(
        "sd2",
        ("input_blocks.", "cond_stage_model.model."),
        {"unet": _UNET, "vae": _VAE, "text_encoder": _open_clip("cond_stage_model.model.")},
    ),
    Family(
        "sd1",
        ("input_blocks.", "cond_stage_model.transformer."),
        {"unet": _UNET, "vae": _VAE, "text_encoder": _clip("cond_stage_model.transformer.")},
    ),
)


def family_of(keys: Collection[str]) -> Family:
    """Return the kind of checkpoint that has these keys.

    Raises:
        GeneratorError: if it is none that is known.
    """
    bare = [key.removeprefix(_MODEL) for key in keys]
    for family in _FAMILIES:
        if all(any(key.startswith(mark) for key in bare) for mark in family.marks):
            return family
    known = ", ".join(family.name for family in _FAMILIES)
    raise GeneratorError(
        f"the merge is not a checkpoint of a kind that bmerge knows in diffusers ({known})",
        blame="study",
        hint="it must have the keys of the original code; SD1, SD2 and SDXL with text encoders",
    )
