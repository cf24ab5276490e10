"""Quantised weights: codes that mean nothing without the scales that lie beside them.

They are found by structure alone, in a table of contents and the header's metadata: an integer,
packed or 8-bit float tensor with a scale, codebook or zero point of its own, or a matrix of small
integers that is called a weight, whose scales must lie somewhere else. Whatever computes
with the values of a checkpoint asks here first (:func:`refuse_quantised`); what each format is
called is in :mod:`.quantisation`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from bmerge.dtypes import BITS
from bmerge.errors import FormatError
from bmerge.formats.checkpoint import Checkpoint, Tensor, TensorInfo
from bmerge.formats.coded import CodedTensor
from bmerge.formats.quantisation import (
    CODES,
    EIGHT,
    METADATA,
    QuantisedWeight,
    declared_name,
    format_of,
    is_as_declared,
    is_packed,
)

if TYPE_CHECKING:
    from bmerge.formats.suspects import Suspects

__all__ = [
    "as_floats",
    "decoded",
    "quantised_weights",
    "refuse_quantised",
]

_Modules: TypeAlias = "dict[str, dict[str, TensorInfo]]"

_MARKER = "scaled_fp8"
_DECLARATION = "comfy_quant"
_LARGEST_DECLARATION = 1 << 16
_BESIDE = (
    r"(?:weight|input|output|activation|pre_quant)_(?:\w+_)?(?:scales?|scale_inv|scale_\d|scalar"
    r"|zeros?|zero_points?|codebook|shape|g_idx|format|s_rel|s_channel|correction|proj_down"
    r"|proj_up|smooth_factor)|scale_(?:weight|input)|SCB|comfy_quant"
    r"|(?:q|w|fp8|quant|dequant)_?scales?(?:_\w+)?|scales?_w"
    r"|(?:weights?|activation)_(?:scaling_factors?|absmax|amax)"
)
"""Names that only what belongs to a quantised weight has, beside that weight."""
_BESIDE_CODES = (
    r"\w*scales?(?:_max)?|\w*zeros?|zero_points?|g_idx|codebooks?|biases"
    r"|smooth_factor\w*|proj_(?:down|up)|su|sv|suh|svh|SU|SV|q_\w+|meta"
    r"|\w+:(?:scale|zero_point)"
)
"""What lies beside codes that are not called a weight."""
_BARE = r"scales?|zeros?|zero_points?|codebooks?|biases"
"""Names that layers of plain models have too."""
_BELOW = r"(?:nested_)?(?:absmax|quant_map)|_?(?:scales?|shift|zero_points?)|SCB"
_AFTER = ("_scale", "_scales", "_scale_inv", "_scale_2", "_weight_scale", "_weight_scale_inv",
          "_zero_point", "_zeros", "_codebook", "_absmax")  # fmt: skip
_INDICES, _INDEXED = ("codes", "indices"), ("codebooks", "centroids")
_QUANTISERS = ("weight_quantizer", "input_quantizer")
"""Modules below a layer that say how its weight became codes."""
_SCALERS = ("scale", "weight_scale")
"""Modules below a layer whose own weight may be what it is scaled by."""
_PARAMETRISED = ("original", "parametrizations.weight.")
"""What torch calls a weight that modules beside it compute the layer's weight of, and where."""
_MOST_STEPS = 4


def quantised_weights(checkpoint: Checkpoint) -> tuple[QuantisedWeight, ...]:
    """Return the quantised weights of a checkpoint, in its order; none of a plain model.

    A model that is merely cast to 8-bit floats, without scales, is plain. No weight is read, but
    the few bytes in which ComfyUI's files say a layer's format are.
    """
    tensors = checkpoint.tensors
    if METADATA not in checkpoint.metadata and not any(
        info.dtype in CODES or _is_wide(key, info) for key, info in tensors.items()
    ):
        return ()
    modules: _Modules = {}
    for key, info in tensors.items():
        if isinstance(info, TensorInfo):
            module, _, leaf = key.rpartition(".")
            modules.setdefault(module, {})[leaf] = info
    declared = {**_of_metadata(checkpoint.metadata), **_of_tensors(modules)}
    marked = tuple(module and f"{module}." for module, own in modules.items() if _MARKER in own)
    return tuple(_found(modules, declared, marked))


def decoded(checkpoint: Checkpoint) -> Checkpoint:
    """Return a checkpoint with its quantised weights as the float tensors that they stand for.

    What belongs to them has no place in its table any more; nothing is read but what is declared.

    Raises:
        FormatError: if there are weights that cannot be decoded; names the format and one of them.
    """
    found = quantised_weights(checkpoint)
    if not found:
        return checkpoint
    stored = checkpoint.tensors
    made: dict[str, Tensor] = {}
    refused = []
    markers = {
        key.removesuffix(_MARKER): info
        for key, info in stored.items()
        if key.rpartition(".")[2] == _MARKER and isinstance(info, TensorInfo)
    }
    for weight in found:
        tensor = as_floats(checkpoint, weight)
        marks = [(_MARKER, m) for start, m in markers.items() if weight.codes.key.startswith(start)]
        if isinstance(tensor, CodedTensor) and marks:
            tensor = replace(tensor, others=(*tensor.others, marks[-1]))
        if tensor is None:
            refused.append(weight)
        else:
            made[weight.codes.key] = tensor
    if refused:
        _refuse_damaged(checkpoint, refused)
        _refuse(checkpoint, refused)
    beside = {info.key for weight in found for info in weight.companions.values()}
    kept = (key for key in stored if key not in beside and key.rpartition(".")[2] != _MARKER)
    floats = (made.get(key, stored[key]) for key in kept)
    return replace(checkpoint, tensors={tensor.key: tensor for tensor in floats})


def as_floats(checkpoint: Checkpoint, weight: QuantisedWeight) -> Tensor | None:
    """Return a quantised weight of a checkpoint as the float tensor that it stands for.

    None if it is not known how it is decoded.
    """
    if not is_as_declared(weight.codes, weight.format, weight.said):
        return None
    bias = checkpoint.tensors.get(weight.codes.key.removesuffix("weight") + "bias")
    rows = bias.shape[0] if bias is not None and len(bias.shape) == 1 else None
    from bmerge.formats.codecs import coded_tensor  # as few need it as there are quantised models

    tensor = coded_tensor(weight.codes, weight.companions, weight.format, weight.said, rows)
    if isinstance(tensor, CodedTensor) and weight.said:
        return replace(tensor, declared=json.dumps(weight.said))
    return tensor


def refuse_quantised(checkpoint: Checkpoint) -> None:
    """Refuse a checkpoint whose values cannot be computed with.

    Raises:
        FormatError: names the format and a weight.
    """
    found = quantised_weights(checkpoint)
    if found:
        _refuse(checkpoint, found)


def _refuse_damaged(checkpoint: Checkpoint, refused: Sequence[QuantisedWeight]) -> None:
    """Refuse the first of these weights of which it is known what is wrong with it, if any."""
    from bmerge.formats.damage import damage_of  # as hardly any is

    faults = ((weight, damage_of(weight)) for weight in refused)
    weight, fault = next(((weight, fault) for weight, fault in faults if fault), (None, None))
    if weight is None:
        return
    key = weight.codes.key
    message = f"{checkpoint.path.name}: {key!r} ({weight.format}) cannot be decoded: {fault}"
    hint = "the file is damaged or incomplete: download it, or quantise the model, once more"
    raise FormatError(message, path=checkpoint.path, key=key, hint=hint)


def _refuse(checkpoint: Checkpoint, found: Sequence[QuantisedWeight]) -> NoReturn:
    formats = ", ".join(Counter(weight.format for weight in found))
    first = found[0]
    beside = next((f" with {info.key!r}" for info in first.companions.values()), "")
    message = (
        f"{checkpoint.path.name} holds quantised weights ({formats}), which cannot be merged: "
        f"{first.codes.key!r}{beside}, for example"
    )
    hint = "use the model in fp16, bf16 or fp32"
    raise FormatError(message, path=checkpoint.path, key=first.codes.key, hint=hint)


def _found(
    modules: _Modules, declared: Mapping[str, Any], marked: tuple[str, ...]
) -> Iterator[QuantisedWeight]:
    from bmerge.formats.suspects import Suspects  # few models hold what may be quantised

    suspects = Suspects(
        info
        for own in modules.values()
        for leaf, info in own.items()
        if not (re.fullmatch(_BESIDE, leaf) and _holds_codes(own))  # whose they are is known
    )
    for module, own in modules.items():
        for leaf, info in own.items():
            told = leaf == "weight" and module in declared
            said = declared[module] if told else {}
            packed = is_packed(leaf)
            wide = _is_wide(leaf, info)
            if not (info.dtype in CODES or wide or told or _has_absmax(modules, info)):
                continue
            companions = _companions(modules, info, own, leaf)
            if info.dtype in EIGHT or _is_small(info):
                companions |= _unknown(suspects, info, leaf, companions)
            matrix = leaf == "weight" and len(info.shape) > 1 and info.dtype in CODES
            coded = matrix and (info.dtype not in EIGHT or info.key.startswith(marked))
            if companions or packed or told or coded:
                name = declared_name(said) if told else format_of(info, leaf, companions)
                sound = said if isinstance(said, dict) else {}
                yield QuantisedWeight(name, info, companions, sound)


def _unknown(
    suspects: Suspects, codes: TensorInfo, leaf: str, known: Mapping[str, TensorInfo]
) -> dict[str, TensorInfo]:
    """Return role → what seems to belong to codes too, but nobody knows how."""
    if re.fullmatch(_BESIDE, leaf) or leaf.endswith(_AFTER):
        return {}
    claimed = {info.key for info in known.values()}
    module = codes.key.removesuffix(leaf)
    found = {}
    for info in suspects.of(codes):
        role = info.key.removeprefix(module)
        bare = re.fullmatch(_BARE, role) is not None or role.removesuffix(".weight") in _SCALERS
        judged = info.key in claimed or (leaf == "weight" and bare)
        if info.dtype not in EIGHT and not judged:
            found[role] = info
    return found


def _holds_codes(module: Mapping[str, TensorInfo]) -> bool:
    """Tell whether a module has a weight that what is called as scales of one belongs to."""
    weight = module.get("weight")
    return weight is not None and weight.dtype in CODES


def _is_wide(key: str, info: Tensor) -> bool:
    """Tell whether a tensor of whole numbers that plain models have too is called as codes are."""
    return info.dtype == "I64" and is_packed(key.rpartition(".")[2])


def _has_absmax(modules: _Modules, info: TensorInfo) -> bool:
    """Tell whether a weight is of bitsandbytes, 4 bits, which any number format may hold."""
    return "absmax" in modules.get(info.key, ())


def _companions(
    modules: _Modules, codes: TensorInfo, own: Mapping[str, TensorInfo], leaf: str
) -> dict[str, TensorInfo]:
    """Return role → tensor of what belongs to codes, if they are codes."""
    found: dict[str, TensorInfo] = {}
    stem = leaf.removesuffix("_blocks").removesuffix("_data")
    packed = is_packed(leaf)
    small = _is_small(codes) and not (
        re.fullmatch(_BESIDE, leaf) or re.fullmatch(_BESIDE_CODES, leaf)
    )
    for name, info in own.items():
        if name == leaf:
            continue
        if packed:
            belongs = (re.fullmatch(_BESIDE_CODES, name) or re.fullmatch(_BESIDE, name)) is not None
        elif leaf == "weight":
            belongs = re.fullmatch(_BESIDE, name) is not None or _is_scale(name, info, codes)
        else:
            belongs = name.startswith(stem) and name[len(stem) :] in _AFTER
            belongs |= leaf in _INDICES and name in _INDEXED
            belongs |= small and re.fullmatch(_BESIDE_CODES, name) is not None
        if belongs:
            found[name] = info
    return {**found, **_companions_below(modules, codes, leaf)}


def _is_small(info: TensorInfo) -> bool:
    """Tell whether a tensor is a matrix of bytes or less, as codes of any name are."""
    return len(info.shape) > 1 and info.dtype not in EIGHT and BITS[info.dtype] <= 8


def _companions_below(modules: _Modules, codes: TensorInfo, leaf: str) -> dict[str, TensorInfo]:
    """Return role → tensor of what lies in modules of its own: of the weight, or of its layer."""
    module = codes.key.removesuffix(leaf)
    own = modules.get(codes.key.removesuffix("._data._data"), {})  # quanto packs in two layers
    found = {name: info for name, info in own.items() if re.fullmatch(_BELOW, name)}
    children = {"quant_state": f"{codes.key}.quant_state"}
    if leaf == "weight":
        children |= {child: module + child for child in _QUANTISERS}
    if leaf in _INDICES:
        children |= {child: module + child for child in _INDEXED}
    if leaf == _PARAMETRISED[0] and module.endswith(_PARAMETRISED[1]):
        children |= {str(step): f"{module}{step}" for step in range(_MOST_STEPS)}
    for child, path in children.items():
        found |= {f"{child}.{name}": info for name, info in modules.get(path, {}).items()}
    for child in _SCALERS if leaf == "weight" else ():
        scale = modules.get(module + child, {}).get("weight")
        if scale is not None and _is_scale("scale", scale, codes):
            found[f"{child}.weight"] = scale
    return found


def _is_scale(name: str, info: TensorInfo, codes: TensorInfo) -> bool:
    """Tell whether a tensor that may be part of any layer is what codes are scaled by.

    It has one number in all, one for each row, or a grid of them; and whoever casts a whole model
    to 8-bit floats casts it too.
    """
    if not re.fullmatch(_BARE, name):
        return False
    if codes.dtype not in EIGHT:
        return True
    of_rows = info.numel in {1, codes.shape[0]} or len(info.shape) == len(codes.shape)
    return len(codes.shape) > 1 and info.dtype not in EIGHT and of_rows


def _of_metadata(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return layer → what the header's metadata says of it."""
    try:
        layers = json.loads(metadata.get(METADATA, "{}"))["layers"]
        return dict(layers)
    except (ValueError, TypeError, KeyError, RecursionError):
        return {}  # the tensors tell


def _of_tensors(modules: _Modules) -> dict[str, Any]:
    """Return layer → what ComfyUI writes of it beside each weight."""
    marks = ((module, own[_DECLARATION]) for module, own in modules.items() if _DECLARATION in own)
    return {module: _read(info) for module, info in marks}


def _read(info: TensorInfo) -> Any:
    """Return the JSON that a small tensor holds, or None."""
    try:
        with info.file.open("rb") as file:
            file.seek(info.offset)
            return json.loads(file.read(min(info.nbytes, _LARGEST_DECLARATION)))
    except (OSError, ValueError, RecursionError):
        return None
