"""By which names LoRA files know the layers of a checkpoint.

A trainer names a layer after the module that it trained, in the LDM code, in diffusers or in
transformers, with dots or underscores. So the names are made from the checkpoint's own keys:
each key gives its path in the part of the model that it belongs to, and those that the rules of
:mod:`.unet`, :mod:`.text` and :mod:`.transformers` make of it; all are compared with underscores.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, TypeAlias, TypeVar

from bmerge.lora.elsewhere import rows_elsewhere
from bmerge.lora.text import text_names
from bmerge.lora.transformers import flux_names, sd3_names
from bmerge.lora.unet import unet_names
from bmerge.records import dataclass

__all__ = [
    "Layer",
    "LayerNames",
    "LayerPlace",
    "Turn",
    "index_names",
    "names_of",
    "part_of",
    "stem_of",
]

T = TypeVar("T")
Turn: TypeAlias = Literal["", "transposed", "halves swapped"]
"""What is done to a change before it is added: LDM and diffusers may lay a weight out
differently."""

_PARTS = (
    ("model.diffusion_model.", "unet"), ("diffusion_model.", "unet"), ("net.", "unet"),
    ("unet.", "unet"),
    ("transformer.", "unet"), ("cond_stage_model.transformer.", "te1"),
    ("cond_stage_model.model.", "te1"), ("conditioner.embedders.0.transformer.", "te1"),
    ("conditioner.embedders.0.model.", "te2"), ("conditioner.embedders.1.model.", "te2"),
    ("text_encoders.clip_l.transformer.", "te1"), ("text_encoders.clip_h.transformer.", "te1"),
    ("text_encoders.clip_g.transformer.", "te2"), ("text_encoders.t5xxl.transformer.", "te3"),
    ("text_encoder.", "te1"), ("text_encoder_2.", "te2"), ("text_encoder_3.", "te3"),
    ("text_model.", "te1"), ("first_stage_model.", "vae"), ("model_ema.", "ema"), ("", "unet"),
)  # fmt: skip
"""How the keys of a part of a model start, in the files of all architectures."""

_SPELLINGS = (
    ("lora_te1_", ("te1",)), ("lora_te2_", ("te2", "te3")), ("lora_te3_", ("te3",)),
    ("lora_te4_", ("te1",)), ("lora_te_", ("te1",)), ("text_encoder_2_", ("te2", "te3")),
    ("text_encoder_3_", ("te3",)), ("text_encoder_4_", ("te1",)), ("text_encoder_", ("te1",)),
    ("lycoris_text_encoder_", ("te1",)), ("lora_unet_", ("unet",)), ("lora_unet__", ("unet",)),
    ("text_encoders_transformer_", ("te3", "te1")),
    ("lora_transformer_", ("unet",)), ("lycoris_", ("unet",)), ("oft_unet_", ("unet",)),
    ("unet_base_model_model_", ("unet",)), ("unet_", ("unet",)),
    ("transformer_", ("unet",)),
    ("model_diffusion_model_", ("unet",)), ("diffusion_model_", ("unet",)), ("net_", ("unet",)),
    ("base_model_model_", ("unet", "te1")), ("", ("unet", "te1")),
)  # fmt: skip
"""How the names of layers start in LoRA files, and the parts that may be meant: T5 is the second
text encoder of Flux and the third of SD3, and a language model the only one or the fourth. ComfyUI
calls T5 and language models after the part of them alone, too."""

_ADAPTERS = ("text_conditioner_", "llm_adapter_")
"""What diffusers calls a part of Anima's transformer, and what its own code does."""
_ENCODER = re.compile(r"text_encoders\.[^.]+\.transformer\.")
_LANGUAGE = re.compile(
    r"(?:model_)?(?:language_model_)?(?:model_)?(?=layers_\d|embed_tokens|lm_head|visual_)"
)
"""What is before the names of a language model's layers, alone or with an eye."""
_PARAMETERS = {
    ".weight": "weight", ".bias": "bias", ".scale": "weight", "_weight": "weight", "_bias": "bias"
}  # fmt: skip
"""How keys end that have a path before that → what they are of their layer."""
_NOT_WEIGHT = (".bias", ".scale")
"""How keys end whose tensors ComfyUI calls by the whole key, as if they were layers."""


@dataclass(frozen=True, slots=True)
class LayerPlace:
    """Where a layer's change goes.

    Args:
        key: the checkpoint's tensor.
        rows: the first of its rows that are meant and the one after the last, or None for all.
        turn: what is done to the change first.
        of: the rows of the change that are meant, where it goes to several tensors; None for all.
    """

    key: str
    rows: tuple[int, int] | None = None
    turn: Turn = ""
    of: tuple[int, int] | None = None


Layer: TypeAlias = "Mapping[str, LayerPlace]"
"""``weight`` and ``bias`` of a layer, as far as it has them → where they lie."""
Fused: TypeAlias = "Mapping[str, tuple[LayerPlace, ...]]"
"""The same of a layer that is several in the checkpoint."""


class LayerNames:
    """The layers of a checkpoint by all of their names."""

    def __init__(
        self,
        layers: Mapping[tuple[str, str], Layer],
        fused: Mapping[tuple[str, str], Fused] | None = None,
    ) -> None:
        self._layers = layers
        self._fused = fused or {}

    def find(self, name: str) -> Layer | None:
        """Return the layer that a LoRA file calls ``name``, or None."""
        return self._found(name, self._layers)

    def find_fused(self, name: str) -> Fused | None:
        """Return what a layer of a LoRA file is that is several in the checkpoint, or None."""
        return self._found(name, self._fused)

    def _found(self, name: str, layers: Mapping[tuple[str, str], T]) -> T | None:
        if _ENCODER.match(name):
            part, stem, _ = stem_of(f"{name}.weight")
            return layers.get((part, _shared(part, _flat(stem))))
        flat = _flat(name.removeprefix("base_model.model.").replace(".processor", ""))
        for start, parts in _SPELLINGS:
            if not flat.startswith(start):
                continue
            for part in parts:
                rest = flat[len(start) :]
                layer = layers.get((part, _shared(part, rest)))
                if layer is not None:
                    return layer
        return None

    def examples(self, count: int) -> list[str]:
        """Return some of the names, as LoRA files have them after the name of the part."""
        names = [name for _, name in self._layers]
        return names[len(names) // 2 :][:count]


def index_names(shapes: Mapping[str, tuple[int, ...]]) -> LayerNames:
    """Return the layers of a checkpoint.

    Args:
        shapes: key → shape of its float tensors.
    """
    layers: dict[tuple[str, str], dict[str, LayerPlace]] = {}
    for key, shape in shapes.items():
        part, _, role = stem_of(key)
        if part in {"vae", "ema"}:
            continue
        for name, place in names_of(key, shape):
            layers.setdefault((part, _shared(part, _flat(name))), {}).setdefault(role, place)
        if key.endswith(_NOT_WEIGHT):
            whole = (part, _shared(part, _flat(_path_of(key)[1])))
            layers.setdefault(whole, {}).setdefault("weight", LayerPlace(key))
    layers.update(_first_encoder(layers))
    fused: dict[tuple[str, str], dict[str, tuple[LayerPlace, ...]]] = {}
    for stem, role, places in _elsewhere(shapes):
        layer = ("unet", _flat(stem))
        if len(places) > 1:
            fused.setdefault(layer, {}).setdefault(role, places)
        else:
            layers.setdefault(layer, {}).setdefault(role, places[0])
    return LayerNames(layers, fused)


def _first_encoder(layers: Mapping[tuple[str, str], T]) -> dict[tuple[str, str], T]:
    """Return a model's only text encoder as its first, where it is the second of others."""
    encoders = {part for part, _ in layers} - {"unet"}
    if len(encoders) != 1 or "te1" in encoders:
        return {}
    return {("te1", name): layer for (part, name), layer in layers.items() if part in encoders}


def _elsewhere(
    shapes: Mapping[str, tuple[int, ...]],
) -> Iterator[tuple[str, str, tuple[LayerPlace, ...]]]:
    """Yield the layers of a diffusion model in its other layouts: path, role, places."""
    own = {}
    for key, shape in shapes.items():
        if stem_of(key)[0] == "unet":
            start = next(start for start, _ in _PARTS if key.startswith(start))
            own[key[len(start) :]] = key, shape
    for name, found in rows_elsewhere(own):
        _, stem, role = stem_of(name)
        turn: Turn = "halves swapped" if found[0].swapped else ""
        yield stem, role, tuple(LayerPlace(rows.key, rows.rows, turn, rows.of) for rows in found)


def names_of(key: str, shape: tuple[int, ...]) -> Iterator[tuple[str, LayerPlace]]:
    """Yield the names of a tensor's layer in its part of the model, its own last.

    Args:
        key: of the tensor.
        shape: of the tensor.
    """
    part, stem, _ = stem_of(key)
    for name, rows, turn in _names(part, stem, shape, bare=key.endswith(stem)):
        yield name, LayerPlace(key, rows, turn)
    yield stem, LayerPlace(key)


def part_of(name: str) -> str:
    """Return the part of a model that a LoRA's layer says it is in.

    Args:
        name: of the layer, as the file has it.
    """
    flat = _flat(name.removeprefix("base_model.model."))
    return next(parts[0] for start, parts in _SPELLINGS if flat.startswith(start))


def stem_of(key: str) -> tuple[str, str, str]:
    """Return the part of the model that a key belongs to, its path in it, weight or bias."""
    part, path = _path_of(key)
    for end, role in _PARAMETERS.items():
        if path.endswith(end) and path != end:
            return part, path.removesuffix(end), role
    return part, path, "weight"


def _path_of(key: str) -> tuple[str, str]:
    """Return the part of the model that a key belongs to, and what the key is in it."""
    start, part = next((start, part) for start, part in _PARTS if key.startswith(start))
    if not start and (encoder := _ENCODER.match(key)):  # a language model is the only one
        start, part = encoder[0], "te1"
    return part, key[len(start) :]


def _names(
    part: str, stem: str, shape: Sequence[int], *, bare: bool
) -> Iterator[tuple[str, tuple[int, int] | None, Turn]]:
    """Yield a layer's names elsewhere, with the rows that are meant."""
    if part == "unet":
        for name in unet_names(stem):
            yield name, None, ""
        yield from sd3_names(stem, shape)
        yield from flux_names(stem, shape)
    else:
        yield from text_names(stem, shape, bare=bare)


def _flat(name: str) -> str:
    flat = name.replace(".", "_")
    return flat + "_0" if flat.endswith("_to_out") else flat  # older diffusers left it out


def _shared(part: str, flat: str) -> str:
    """Return a name as all files have it: some leave words out, or have others for them."""
    if found := _LANGUAGE.match(flat):
        return flat[found.end() :]
    if part == "unet":
        theirs, own = _ADAPTERS
        return own + flat.removeprefix(theirs) if flat.startswith(theirs) else flat
    return flat.removeprefix("text_model_").removeprefix("model_")
