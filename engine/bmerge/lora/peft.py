"""The scale of LoRAs of PEFT and diffusers, whose files hold no alpha of their own.

It stands in ``adapter_config.json`` beside ``adapter_model.safetensors``, or, since diffusers
0.34, in the file's metadata with the part of the pipeline before each name. Where it stands
nowhere the scale is 1, as in diffusers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bmerge.errors import FormatError
from bmerge.formats import Checkpoint

__all__ = ["Scaling", "scalings_of"]

_METADATA = "lora_adapter_metadata"
_MODEL, _CONFIG = "adapter_model.safetensors", "adapter_config.json"


@dataclass(frozen=True, slots=True)
class Scaling:
    """What a layer's product is multiplied by.

    Args:
        alpha: divided by the rank, or by its root.
        root: whether by its root (rsLoRA).
    """

    alpha: float
    root: bool

    def of(self, rank: int) -> float:
        """Return the factor for a rank."""
        return self.alpha / (math.sqrt(rank) if self.root else rank)


def scalings_of(checkpoint: Checkpoint) -> Callable[[str], Scaling | None]:
    """Return what tells the scale of a layer by its name, or None where nothing says it.

    Raises:
        FormatError: if there is a configuration that cannot be read.
    """
    config = _config(checkpoint)
    parts = [
        (key.removesuffix("lora_alpha"), value)
        for key, value in config.items()
        if key.endswith("lora_alpha") and isinstance(value, (int, float))
    ]
    parts.sort(key=lambda part: -len(part[0]))  # the part that is named most closely

    def scaling(name: str) -> Scaling | None:
        for part, alpha in parts:
            if name.startswith(part):
                own = _pattern(config.get(f"{part}alpha_pattern"), name)
                return Scaling(alpha if own is None else own, bool(config.get(f"{part}use_rslora")))
        return None

    return scaling


def _config(checkpoint: Checkpoint) -> Mapping[str, Any]:
    text = checkpoint.metadata.get(_METADATA)
    where = f"{checkpoint.path}: {_METADATA}"
    (file,) = checkpoint.files[:1] or (None,)
    beside = None if file is None else file.with_name(_CONFIG)
    if text is None and file is not None and file.name == _MODEL and beside and beside.is_file():
        text, where = beside.read_text(encoding="utf-8"), str(beside)
    try:
        config = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{where} cannot be read: {error}", path=checkpoint.path) from error
    return config if isinstance(config, dict) else {}


def _pattern(pattern: object, name: str) -> float | None:
    """Return a layer's own alpha; PEFT names layers by how their names end."""
    entries = pattern.items() if isinstance(pattern, dict) else ()
    return next((float(alpha) for end, alpha in entries if f".{name}".endswith(f".{end}")), None)
