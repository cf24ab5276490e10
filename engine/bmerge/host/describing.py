"""What is in a checkpoint or a LoRA, as plain data, from its table of contents."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from bmerge.architectures import Architecture, detect
from bmerge.formats import Checkpoint, open_checkpoint, quantised_weights
from bmerge.host.registry import Registry
from bmerge.lora.modules import Lora, is_lora, parse_lora
from bmerge.lora.names import part_of

__all__ = ["describe_file"]


def describe_file(file: str | Path, registry: Registry) -> dict[str, Any]:
    """Return what there is to say about a file; no tensor is read.

    Args:
        file: a checkpoint or a LoRA.
        registry: whose architectures are known.

    Raises:
        FormatError: if it cannot be read.
    """
    checkpoint = open_checkpoint(file)
    if is_lora(checkpoint) and not quantised_weights(checkpoint):  # whose roles are not its own
        return _describe_lora(parse_lora(checkpoint))
    known = list(registry.architectures.values())
    return _describe(checkpoint, detect(checkpoint.tensors, known))


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
        "variant": list(architecture.variant),
        "blocks": blocks,
        "metadata": {key: _decoded(text) for key, text in checkpoint.metadata.items()},
    }


def _describe_lora(lora: Lora) -> dict[str, Any]:
    """Return what there is to say about a LoRA, as plain data."""
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
        "dtypes": dict(Counter(info.dtype for info in checkpoint.tensors.values())),
        "quantised": dict(Counter(weight.format for weight in quantised_weights(checkpoint))),
    }


def _decoded(text: str) -> Any:
    """Return a metadata value as data where it is JSON, as ours and many tools' values are."""
    if text[:1] in "{[":
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text
