"""What the models of a first study are, and the settings that pictures of their kind need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bmerge.architectures import Architecture
from bmerge.host.merges import architecture_of, open_models, plan_merge
from bmerge.host.registry import Registry
from bmerge.recipe import ModelRef, Recipe
from bmerge.records import dataclass

__all__ = ["PaintingSettings", "StudyModels", "look_at"]


@dataclass(frozen=True, slots=True)
class PaintingSettings:
    """How pictures of one kind of model are painted.

    Args:
        side: width and height in pixels.
        steps: of sampling.
        cfg: how strongly the prompt is followed.
        negative: what pictures are not to show; empty where it has no effect.
        workflow: of ComfyUI.
        model_only: whether the merge is a diffusion model alone, without text encoders and VAE.
    """

    side: int
    steps: int
    cfg: float
    negative: str = ""
    workflow: str = "default"
    model_only: bool = False


_BAD = "lowres, blurry, jpeg artifacts, watermark"
_KINDS = {
    "sd1": PaintingSettings(512, 20, 7.0, _BAD),
    "sd2": PaintingSettings(768, 20, 7.0, _BAD),
    "sdxl": PaintingSettings(1024, 25, 6.0, _BAD),
    "sd3": PaintingSettings(1024, 28, 4.5, workflow="sd3"),
    "flux": PaintingSettings(1024, 20, 1.0, workflow="flux"),
    "flux2": PaintingSettings(1024, 20, 1.0, workflow="flux2", model_only=True),
    "chroma": PaintingSettings(1024, 26, 4.0, _BAD, workflow="chroma", model_only=True),
    "z-image": PaintingSettings(1024, 9, 1.0, workflow="z_image_turbo", model_only=True),
    "qwen-image": PaintingSettings(1024, 20, 4.0, workflow="qwen_image", model_only=True),
    "anima": PaintingSettings(1024, 30, 4.0, _BAD, workflow="anima", model_only=True),
}
_UNKNOWN = PaintingSettings(1024, 20, 5.0)
_MODEL_ONLY = {"flux": "flux_model"}
"""Architecture → workflow for a diffusion model alone, where there are both."""
_ENCODERS = ("cond_stage_model.", "conditioner.", "text_encoders.")


@dataclass(frozen=True, slots=True)
class StudyModels:
    """The models of a study.

    Args:
        paths: of them.
        architecture: of the first.
        settings: for its pictures.
        nbytes: size of a merge.
        blocks: that are searched: those with weights.
    """

    paths: tuple[Path, ...]
    architecture: Architecture
    settings: PaintingSettings
    nbytes: int
    blocks: int


def look_at(paths: Sequence[Path], method: str, registry: Registry) -> StudyModels:
    """Open the models and plan a merge of them.

    Args:
        paths: of the models.
        method: that shall merge them.
        registry: where it and architectures are looked up.

    Raises:
        BmergeError: if one cannot be read, or they do not fit together or the method.
    """
    refs = tuple(ModelRef(str(path)) for path in paths)
    registry.method(method).check_models(len(refs))
    checkpoints = open_models(refs, Path())
    architecture = architecture_of(None, checkpoints, registry)
    plan = plan_merge(Recipe(method, refs), checkpoints, registry)
    whole = any(key.startswith(_ENCODERS) for key in checkpoints[0].tensors)
    blocks = {job.block for job in plan.merges}
    settings = _settings(architecture.id, whole=whole)
    return StudyModels(tuple(paths), architecture, settings, plan.nbytes_written, len(blocks))


def _settings(architecture: str, *, whole: bool) -> PaintingSettings:
    settings = _KINDS.get(architecture, _UNKNOWN)
    if whole or architecture not in _MODEL_ONLY:
        return settings
    return replace(settings, workflow=_MODEL_ONLY[architecture], model_only=True)
