"""What PEFT and diffusers say of their LoRAs elsewhere than in tensors.

It stands in ``adapter_config.json`` beside ``adapter_model.safetensors``, or, since diffusers
0.34, in the file's metadata with the part of the pipeline before each name: alpha, and whether a
layer stores its weight with the inputs first (``fan_in_fan_out``, the Conv1D of GPT-2), so that
changes are transposed. Where alpha stands nowhere the scale is 1, as in diffusers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from bmerge.errors import FormatError
from bmerge.formats import Checkpoint
from bmerge.records import dataclass

__all__ = ["Configured", "configuration_of"]

_METADATA = "lora_adapter_metadata"
_MODEL, _CONFIG = "adapter_model.safetensors", "adapter_config.json"


@dataclass(frozen=True, slots=True)
class Configured:
    """What a configuration says of a layer.

    Args:
        alpha: divided by the rank, or by its root; None: the scale is 1.
        root: whether by its root (rsLoRA).
        inputs_first: whether the layer's weight is stored transposed.
    """

    alpha: float | None
    root: bool
    inputs_first: bool

    def scale(self, rank: int) -> float:
        """Return what the product of a layer's factors is multiplied by, for its rank."""
        if self.alpha is None:
            return 1.0
        return self.alpha / (math.sqrt(rank) if self.root else rank)


def configuration_of(checkpoint: Checkpoint) -> Callable[[str], Configured | None]:
    """Return what tells of a layer by its name, or None where nothing is said.

    Raises:
        FormatError: if there is a configuration that cannot be read.
    """
    config, where = _config(checkpoint)
    words = ("lora_alpha", "fan_in_fan_out")
    parts = {key.removesuffix(word) for key in config for word in words if key.endswith(word)}
    closest = sorted(parts, key=lambda part: -len(part))  # the part that is named most closely

    def number(value: object, key: str) -> float | None:
        if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
            return None if value is None else float(value)
        message = f"{where}: {key} must be a number, not {value!r}"
        raise FormatError(message, path=checkpoint.path)

    def configured(name: str) -> Configured | None:
        part = next((part for part in closest if name.startswith(part)), None)
        if part is None:
            return None
        own = number(_pattern(config.get(f"{part}alpha_pattern"), name), "alpha_pattern")
        alpha = number(config.get(f"{part}lora_alpha"), "lora_alpha") if own is None else own
        flags = (config.get(f"{part}{word}") for word in ("use_rslora", "fan_in_fan_out"))
        return Configured(alpha, *map(bool, flags))

    return configured


def _config(checkpoint: Checkpoint) -> tuple[Mapping[str, Any], str]:
    """Return the configuration, and where it stands."""
    text = checkpoint.metadata.get(_METADATA)
    where = f"{checkpoint.path}: {_METADATA}"
    (file,) = checkpoint.files[:1] or (None,)
    beside = None if file is None else file.with_name(_CONFIG)
    try:
        if text is None and file and file.name == _MODEL and beside and beside.is_file():
            where = str(beside)
            text = beside.read_text(encoding="utf-8")
        config = json.loads(text or "{}")
    except OSError as error:
        message = f"{where} cannot be read: {error.strerror}"
        raise FormatError(message, path=checkpoint.path) from error
    except (ValueError, RecursionError) as error:
        message = f"{where} cannot be read as JSON: {error}"
        raise FormatError(message, path=checkpoint.path) from error
    return (config if isinstance(config, dict) else {}), where


def _pattern(pattern: object, name: str) -> object:
    """Return a layer's own alpha; PEFT names layers by how their names end."""
    entries = pattern.items() if isinstance(pattern, dict) else ()
    return next((alpha for end, alpha in entries if f".{name}".endswith(f".{end}")), None)
