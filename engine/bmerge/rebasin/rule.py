"""Which channels of a checkpoint may change places, made from its keys and shapes by rule.

Keys and shapes do not tell how many groups a normalisation has and how many heads an attention;
these follow from the widths by which the families of models differ.
"""

from __future__ import annotations

from collections.abc import Mapping

from bmerge.errors import ArchitectureError
from bmerge.formats import Checkpoint, refuse_quantised
from bmerge.rebasin.structure import Structure
from bmerge.rebasin.towers import wire_autoencoder, wire_text_encoders
from bmerge.rebasin.unet import wire_unet
from bmerge.rebasin.wiring import Axis, Wiring
from bmerge.records import dataclass

__all__ = ["ChannelRule", "FamilyFacts", "rule_of"]

_PREFIXES = ("model.diffusion_model.", "")
_EMA = "model_ema."
_VAE = "first_stage_model."


@dataclass(frozen=True, slots=True)
class FamilyFacts:
    """What keys and shapes do not tell.

    Args:
        groups: of every group normalisation.
        heads: of the UNet's attentions, or None where heads have a width instead.
        head_width: of the UNet's attentions.
        text_head_width: of the text encoders' attentions.
    """

    groups: int = 32
    heads: int | None = None
    head_width: int = 64
    text_head_width: int = 64


_FAMILIES = {
    (320, 768): FamilyFacts(heads=8),  # Stable Diffusion 1
    (320, 1024): FamilyFacts(),  # Stable Diffusion 2
    (320, 2048): FamilyFacts(),  # SDXL
    (384, 1280): FamilyFacts(),  # SDXL's refiner
    (32, 32): FamilyFacts(groups=8, heads=1, text_head_width=16),  # the demo that bmerge ships
}
"""(width of the first level, width of the prompt's features) → family."""


@dataclass(frozen=True, slots=True)
class ChannelRule:
    """What may change places in a model.

    Args:
        structures: space → the orders of its channels that are valid, from input to output.
        sizes: space → how many channels it has.
        axes: key → what each of its axes runs over.
    """

    structures: Mapping[str, Structure]
    sizes: Mapping[str, int]
    axes: Mapping[str, tuple[Axis, ...]]


def rule_of(checkpoint: Checkpoint, family: FamilyFacts | None = None) -> ChannelRule:
    """Return the rule of a checkpoint.

    Args:
        checkpoint: with the keys of the LDM or SGM code: a whole model or its UNet alone.
        family: what the shapes do not tell; None finds it by the UNet's widths.

    Raises:
        ArchitectureError: if there is no such UNet in it, or none of a known family.
        FormatError: if its weights are quantised.
    """
    refuse_quantised(checkpoint)
    shapes = {key: info.shape for key, info in checkpoint.tensors.items()}
    prefix = next((p for p in _PREFIXES if p + "time_embed.0.weight" in shapes), None)
    if prefix is None:
        message = f"{checkpoint.path.name} has no UNet that re-basin knows"
        hint = (
            "it knows Stable Diffusion 1, 2 and XL by the names of their own code, which "
            "'bmerge convert MODEL --layout original -o FILE' gives"
        )
        raise ArchitectureError(message, hint=hint)
    family = family or _family_of(shapes, prefix, checkpoint.path.name)
    wiring = Wiring(shapes, family.groups)

    def heads(width: int) -> int:
        return family.heads or width // family.head_width

    try:
        wire_unet(wiring, prefix, heads)
        wire_text_encoders(wiring, lambda width: width // family.text_head_width)
        wire_autoencoder(wiring, _VAE)
    except ArchitectureError as error:
        message = f"{checkpoint.path.name}: {error}"
        raise ArchitectureError(message, hint=error.hint) from error
    return ChannelRule(
        wiring.structures, wiring.sizes, {**wiring.axes, **_averages(wiring.axes, shapes)}
    )


def _family_of(shapes: Mapping[str, tuple[int, ...]], prefix: str, name: str) -> FamilyFacts:
    width = shapes[prefix + "time_embed.0.weight"][-1]
    contexts = (
        shape[-1]
        for key, shape in shapes.items()
        if key.startswith(prefix) and key.endswith("attn2.to_k.weight")
    )
    widths = width, next(contexts, 0)
    if widths not in _FAMILIES:
        known = ", ".join(f"{first}/{context}" for first, context in _FAMILIES)
        message = f"{name} has a UNet of widths {width}/{widths[1]}, whose heads are not known"
        raise ArchitectureError(message, hint=f"re-basin knows {known}")
    return _FAMILIES[widths]


def _averages(
    axes: Mapping[str, tuple[Axis, ...]], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[Axis, ...]]:
    """Return the same axes for the moving averages, whose keys have no dots."""
    names = {_EMA + key.removeprefix("model.").replace(".", ""): key for key in axes}
    return {name: axes[key] for name, key in names.items() if name in shapes}
