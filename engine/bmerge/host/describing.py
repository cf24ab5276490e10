"""What is in a checkpoint or a LoRA, as plain data, from its table of contents."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bmerge.architectures import Architecture, detect
from bmerge.architectures.components import IMAGE_ENCODER, TEXT_ENCODER, VAE, components_of
from bmerge.architectures.patterns import Contents
from bmerge.foreign.maker import makers
from bmerge.formats import (
    Checkpoint,
    CodedTensor,
    QuantisedWeight,
    Tensor,
    as_floats,
    coded_part,
    open_checkpoint,
    quantised_weights,
)
from bmerge.formats.hashes import cached_digests, digests_of, legacy_hash_of
from bmerge.host.registry import Registry
from bmerge.lora.modules import Lora
from bmerge.lora.parsing import is_lora, parse_lora

__all__ = ["describe_file"]


def describe_file(file: str | Path, registry: Registry, *, hashes: bool = False) -> dict[str, Any]:
    """Return what there is to say about a file; no tensor is read, but for its hashes.

    Args:
        file: a checkpoint or a LoRA.
        registry: whose architectures are known.
        hashes: whether those that are not remembered are computed.

    Raises:
        FormatError: if it cannot be read.
    """
    checkpoint = open_checkpoint(file)
    if is_lora(checkpoint) and not quantised_weights(checkpoint):  # whose roles are not its own
        data = _describe_lora(parse_lora(checkpoint))
    else:
        known = registry.architectures.known
        data = _describe(checkpoint, detect(checkpoint.tensors, known))
    return {**data, "hashes": _hashes_of(checkpoint, compute=hashes)}


def _describe(checkpoint: Checkpoint, architecture: Architecture) -> dict[str, Any]:
    """Return what there is to say about a checkpoint, as plain data."""
    blocks = {block: {"keys": 0, "bytes": 0} for block in architecture.blocks}
    for key, info in checkpoint.tensors.items():
        block = blocks.setdefault(architecture.block_of(key), {"keys": 0, "bytes": 0})
        block["keys"] += 1
        block["bytes"] += info.nbytes
    return {
        "kind": "checkpoint",
        **_contents(checkpoint),
        "architecture": architecture.id,
        "name": architecture.name,
        "variant": list(architecture.variant),
        **_components(checkpoint, architecture),
        "blocks": blocks,
        "metadata": {key: _decoded(text) for key, text in checkpoint.metadata.items()},
    }


def _components(checkpoint: Checkpoint, architecture: Architecture) -> dict[str, Any]:
    """Return the components that are there, and those that a whole model has besides."""
    found: dict[str, dict[str, Any]] = {}
    for key, name in components_of(checkpoint.tensors, architecture).items():
        info = checkpoint.tensors[key]
        component = found.setdefault(name, {"keys": 0, "bytes": 0, "dtypes": Counter()})
        component["keys"] += 1
        component["bytes"] += info.nbytes
        component["dtypes"][_stored_as(info)] += 1
    missing = []
    if architecture.text_encoders is not None:
        lacking = architecture.text_encoders - sum(n.startswith(TEXT_ENCODER) for n in found)
        if lacking > 0:
            missing.append(TEXT_ENCODER if lacking == 1 else f"{lacking} {TEXT_ENCODER}s")
        if architecture.needs_vae and VAE not in found:
            missing.append(VAE)
        contents = Contents(checkpoint.tensors)
        if IMAGE_ENCODER not in found and architecture.needs_image_encoder(contents):
            missing.append(IMAGE_ENCODER)
    return {"components": found, "missing": missing}


def _hashes_of(checkpoint: Checkpoint, *, compute: bool) -> dict[str, str]:
    """Return the hashes by which people look a file up, as far as they are known.

    AutoV1, AutoV2 and AutoV3 are what Civitai shows; the web UI of AUTOMATIC1111 shows AutoV2,
    formerly AutoV1. A model in several files has none of them.

    Args:
        checkpoint: the file.
        compute: whether to read it for those that are not known.

    Raises:
        FormatError: if it cannot be read.
    """
    path = checkpoint.path
    if not path.is_file() or path.suffix == ".json":
        return {}
    digests = digests_of(path) if compute else cached_digests(path)
    found = {"AutoV1": legacy} if (legacy := legacy_hash_of(path)) else {}
    if digests.whole is not None:
        found |= {"AutoV2": digests.whole[:10]}
    if digests.content is not None:
        found |= {"AutoV3": digests.content[:12]}
    if digests.whole is not None:
        found |= {"sha256": digests.whole}
    return found


def _describe_lora(lora: Lora) -> dict[str, Any]:
    """Return what there is to say about a LoRA, as plain data."""
    from bmerge.lora.names import part_of  # with all names that layers have

    ranks = Counter(module.rank for module in lora.modules if module.rank is not None)
    return {
        "kind": "lora",
        **_contents(lora.checkpoint),
        "networks": lora.networks,
        "dora": sum(module.magnitude is not None for module in lora.modules),
        "ranks": {str(rank): ranks[rank] for rank in sorted(ranks)},
        "parts": dict(Counter(part_of(module.name) for module in lora.modules)),
        "unknown": list(lora.unknown),
        "metadata": {key: _decoded(text) for key, text in lora.checkpoint.metadata.items()},
    }


def _contents(checkpoint: Checkpoint) -> dict[str, Any]:
    return {
        "path": str(checkpoint.path),
        "files": [str(file) for file in checkpoint.files],
        "keys": len(checkpoint.tensors),
        "bytes": checkpoint.nbytes,
        "dtypes": dict(Counter(map(_stored_as, checkpoint.tensors.values()))),
        "made_by": makers(checkpoint.metadata),
        **_quantised(checkpoint),
    }


def _quantised(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return which formats weights are quantised in, which are not decoded, and what is damaged."""
    found = quantised_weights(checkpoint)
    blocks = filter(None, map(_block_format, checkpoint.tensors.values()))
    lora = is_lora(checkpoint)  # whose layers are read by name, not as those of a model
    refused = [each for each in found if lora or as_floats(checkpoint, each) is None]
    return {
        "quantised": dict(Counter([*(weight.format for weight in found), *blocks])),
        "not_decoded": list(dict.fromkeys(each.format for each in refused)),
        "damaged": [] if lora else _damaged(refused),
    }


def _damaged(refused: Sequence[QuantisedWeight]) -> list[str]:
    """Return what is wrong with weights that are not decoded, as far as it is known."""
    if not refused:
        return []
    from bmerge.formats import damage_of

    return [fault for each in refused if (fault := damage_of(each)) is not None]


def _stored_as(tensor: Tensor) -> str:
    """Return a tensor's number format in its file, of a GGUF file's blocks their type."""
    return _block_format(tensor) or tensor.dtype


def _block_format(tensor: Tensor) -> str | None:
    """Return the type of a tensor that a GGUF file has in blocks; None of any other."""
    stored = tensor if isinstance(tensor, CodedTensor) else coded_part(tensor)
    return None if stored is None else stored.format


def _decoded(text: str) -> Any:
    """Return a metadata value as data where it is JSON, as ours and many tools' values are."""
    if text[:1] in "{[":
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text
