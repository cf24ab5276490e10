"""What kohya's trainers, and the programs that load their files, call the layers of a model.

SD1 and SD2 have the names of diffusers; SDXL and all transformers those of their own code, as
ComfyUI lays them out; every text encoder those of transformers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bmerge.errors import FormatError
from bmerge.formats import Checkpoint, Form
from bmerge.formats.relaid import relaid
from bmerge.lora.names import LayerPlace, names_of, stem_of
from bmerge.lora.unet import unet_names

__all__ = ["base_version", "in_known_layout", "kohya_layers"]


def in_known_layout(model: Checkpoint) -> Checkpoint:
    """Return a model in the layout after which LoRAs of it are named: ComfyUI's, if it has one."""
    try:
        return relaid(model, Form(layout="comfy"))
    except FormatError:
        return model


def kohya_layers(shapes: Mapping[str, tuple[int, ...]]) -> Iterator[tuple[str, str, LayerPlace]]:
    """Yield each part of a tensor that is a layer's: its name, ``weight`` or ``bias``, its place.

    Args:
        shapes: key → shape of the model's float tensors.
    """
    parts = {stem_of(key)[0] for key in shapes}
    first = "lora_te1_" if parts & {"te2", "te3"} else "lora_te_"
    starts = {"unet": "lora_unet_", "te1": first, "te2": "lora_te2_", "te3": "lora_te3_"}
    own = any(".label_emb." in f".{key}" for key in shapes)
    for key, shape in shapes.items():
        part, stem, role = stem_of(key)
        if part not in starts:
            continue
        for name, place in _layers(key, part, stem, shape, own=own):
            yield starts[part] + name.replace(".", "_"), role, place


def _layers(
    key: str, part: str, stem: str, shape: tuple[int, ...], *, own: bool
) -> Iterator[tuple[str, LayerPlace]]:
    if part == "unet":
        yield (stem if own else next(unet_names(stem), stem)), LayerPlace(key)
        return
    *elsewhere, own_name = names_of(key, shape)
    for name, place in elsewhere or [own_name]:
        is_clip = part != "te3" and not name.startswith("text_model.")
        yield f"text_model.{name}" if is_clip else name, place


def base_version(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """Return ``ss_base_model_version`` for a model, where kohya's trainers have a word for it."""
    keys = " ".join(shapes)
    if "conditioner.embedders.1." in keys:
        return "sdxl_base_v1-0"
    if "cond_stage_model.model." in keys:
        return "sd_v2"
    return "sd_v1" if "cond_stage_model.transformer." in keys else None
