"""A model in the layout that is asked for: its parts, what they are called, what is before that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NoReturn, TypeAlias

from bmerge.errors import FormatError
from bmerge.formats.checkpoint import Checkpoint, Tensor
from bmerge.formats.composed import renamed
from bmerge.formats.form import LAYOUTS, Form
from bmerge.formats.layouts import in_layout
from bmerge.formats.prefixes import OF_PICTURES, is_part_file, key_of, kind_of, parted
from bmerge.formats.quantised import decoded
from bmerge.formats.wholes import LANGUAGE, Whole, whole_of

__all__ = ["relaid"]

_KINDS = {"picture": "unet", "text": "text_encoder", "vae": "vae"}
_OPEN_CLIP = ".model."
"""How the prefix of a text encoder ends that has the names of OpenCLIP."""
_COMPONENTS = ("unet.", "transformer.")
_BESIDE, _DIFFUSION = "model.", "diffusion_model."
"""What is before all that a diffusion model is made of in one file, and before its weights."""
_AVERAGES = "model_ema."
"""How keys of moving averages start: they are a second diffusion model, not of the one."""
_Parts: TypeAlias = "dict[str, Mapping[str, Tensor]]"


def relaid(checkpoint: Checkpoint, form: Form) -> Checkpoint:
    """Return a checkpoint in another layout; its bytes stay where they are.

    Args:
        checkpoint: the model.
        form: what is asked for. A part that is taken out alone loses its prefix.

    Raises:
        FormatError: if the model has no such part, no such layout of it is known, or it has
            quantised weights that cannot be decoded.
    """
    if not form.is_given:
        return checkpoint
    checkpoint = decoded(checkpoint)
    parts: _Parts = {**parted(checkpoint.tensors)}
    if form.layout == "diffusers":
        parts = _without_averages(parts)
    if form.layout is not None:
        parts = _in_layout(checkpoint, parts, form.layout)
    if form.parts:
        parts = _taken(checkpoint, parts, form.parts)
    prefix = form.prefix
    if prefix is None and form.parts and sum(map(bool, parts)) <= 1:
        prefix = ""
    if prefix is not None:
        parts = _prefixed(checkpoint, parts, prefix)
    tensors = [
        renamed(t, key_of(start, name)) for start, part in parts.items() for name, t in part.items()
    ]
    table = {tensor.key: tensor for tensor in tensors}
    if len(table) != len(tensors):
        _refuse_same_names(checkpoint)
    return replace(checkpoint, tensors=table, origin=checkpoint.files)


def _in_layout(checkpoint: Checkpoint, parts: _Parts, layout: str) -> _Parts:
    bare = "" in parts and len(parts) == 1
    if bare and is_part_file(checkpoint.tensors):
        return {"": _part_in(parts[""], layout) or parts[""]}
    picture = next((start for start in parts if kind_of(start) == "picture"), "")
    whole = whole_of(parts, parts.get(picture, {}))
    if whole is None and bare and (only := _part_in(parts[""], layout)) is not None:
        return {"": only}
    if whole is None:
        message = f"{checkpoint.path.name}: no {layout} layout of such a model is known"
        raise FormatError(message, path=checkpoint.path, hint="leave --layout out")
    found: _Parts = {}
    taken: list[str] = []
    for start, part in parts.items():
        if start != picture and kind_of(start) in {"", "control"}:
            other = in_layout(part, layout)  # None: numbers that tell how a model was trained
            if other or layout != "diffusers" or picture in _COMPONENTS:
                found[start] = other or part
            continue
        component = whole.component_of(start, taken)
        taken.append(component)
        home = whole.starts.get(component, "")
        own = part if start == picture and whole.same else _own(part, start, home, layout)
        new = start if bare else _start(whole, component, start)
        if layout == "diffusers":
            several = len(parts) > 1 or any(name.startswith(OF_PICTURES) for name in own or part)
            new = f"{component}." if several else ""
        found[new] = own or _unknown(checkpoint, layout)
    return found


def _own(
    part: Mapping[str, Tensor], start: str, home: str, layout: str
) -> Mapping[str, Tensor] | None:
    """Return a part in a layout; None if none such is known of a diffusion model.

    A text encoder has the names of transformers, or of OpenCLIP where it is at home; a language
    model in one file those by which ComfyUI knows it.
    """
    if kind_of(start) == "text":
        there = start if layout == "diffusers" else home
        if there.endswith(_OPEN_CLIP):
            return _part_in(part, layout) or part
        return (None if layout == "diffusers" else in_layout(part, LANGUAGE)) or part
    found = _part_in(part, layout)
    return part if found is None and kind_of(start) == "vae" else found


def _part_in(part: Mapping[str, Tensor], layout: str) -> Mapping[str, Tensor] | None:
    """Return a part in a layout; one of ComfyUI's own is seldom other than the original."""
    found = in_layout(part, layout)
    return in_layout(part, "original") if found is None and layout == "comfy" else found


def _start(whole: Whole, component: str, start: str) -> str:
    """Return what is before a part's keys in one file; what is so already stays."""
    components = {f"{name}." for name in whole.starts} | {"vae."}
    return whole.starts.get(component, start) if start in components else start


def _unknown(checkpoint: Checkpoint, layout: str) -> Mapping[str, Tensor]:
    message = f"{checkpoint.path.name}: no {layout} layout of such a model is known"
    raise FormatError(message, path=checkpoint.path, hint=f"layouts are {', '.join(LAYOUTS)}")


def _taken(checkpoint: Checkpoint, parts: _Parts, wanted: Sequence[str]) -> _Parts:
    """Return the parts that are kept."""
    whole = not is_part_file(checkpoint.tensors)
    bare = "unet" if whole else next((each for each in wanted if each != "unet"), "")
    found = {
        start: part
        for start, part in parts.items()
        if (_KINDS.get(kind_of(start), bare if not start else "") in wanted)
        or start.rstrip(".") in wanted
    }
    kinds = {_KINDS.get(kind_of(start), bare) for start in found} | {s.rstrip(".") for s in found}
    for part in wanted:
        if part not in kinds:
            message = f"{checkpoint.path.name} has no {part}"
            raise FormatError(
                message, path=checkpoint.path, hint="'bmerge inspect' shows its parts"
            )
    return _without_averages(found) or found


def _without_averages(parts: _Parts) -> _Parts:
    plain = {
        start: {name: t for name, t in part.items() if start or not name.startswith(_AVERAGES)}
        for start, part in parts.items()
    }
    return {start: part for start, part in plain.items() if part}


def _out_of_model(part: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return what lies beside a diffusion model in one file without the start that they share.

    ComfyUI takes the keys that have it, were it one with noise levels, for the whole of a model.
    """
    return {name.removeprefix(_BESIDE): tensor for name, tensor in part.items()}


def _refuse_same_names(checkpoint: Checkpoint) -> NoReturn:
    message = f"{checkpoint.path.name}: two tensors would get the same name"
    raise FormatError(message, path=checkpoint.path, hint="keep a prefix before the keys")


def _prefixed(checkpoint: Checkpoint, parts: _Parts, prefix: str) -> _Parts:
    picture = [start for start in parts if kind_of(start) == "picture"] or [*parts][:1]
    if len(parts) > 1 and not any(map(kind_of, picture)) and "" not in picture:
        message = f"{checkpoint.path.name} has no diffusion model whose keys get a prefix"
        raise FormatError(message, path=checkpoint.path)
    if _BESIDE + _DIFFUSION in picture and not prefix.startswith(_BESIDE):
        parts = {start: part if start else _out_of_model(part) for start, part in parts.items()}
    found: _Parts = {}
    for start, part in parts.items():
        new = prefix if start in picture else start
        if found.get(new, {}).keys() & part.keys():
            _refuse_same_names(checkpoint)
        found[new] = {**found.get(new, {}), **part}
    return found
