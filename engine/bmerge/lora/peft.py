"""What PEFT and diffusers say of their LoRAs elsewhere than in tensors.

It stands in ``adapter_config.json`` beside ``adapter_model.safetensors``, or, since diffusers
0.34, in the file's metadata with the part of the pipeline before each name: alpha (``alpha`` of
LoHa and LoKr, ``lora_alpha`` of others), the rank, and whether a layer stores its weight with the
inputs first (``fan_in_fan_out``, the Conv1D of GPT-2), so that changes are transposed. Where alpha
stands nowhere the scale is 1, as in diffusers.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any

from bmerge.errors import FormatError
from bmerge.formats import Checkpoint
from bmerge.records import dataclass

__all__ = ["TERMS", "Configured", "configuration_of"]

TERMS = 5
"""Terms of the series that PEFT makes a rotation of unless told otherwise."""
_OTHER_BASES = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""How LoRAs are begun that take their first product from the weights themselves."""
_NO_CHANGES = ("alora_invocation_tokens", "use_qalora", "use_bdlora", "kasa_config")
"""Settings of LoRAs that are more than a product added to the weights."""
_METADATA = "lora_adapter_metadata"
_MODEL, _CONFIG = "adapter_model.safetensors", "adapter_config.json"


@dataclass(frozen=True, slots=True)
class Configured:
    """What a configuration says of a layer.

    Args:
        alpha: divided by the rank, or by its root; None: the scale is 1.
        root: whether by its root (rsLoRA).
        inputs_first: whether the layer's weight is stored transposed.
        rank: that alpha is divided by where no factor has it: of a LoKr of two whole matrices.
        terms: of OFTv2, how many of the series a rotation is made of; 0: it is exact.
        bound: of OFTv2, the most that the norm of a layer's blocks may be; 0: anything.
        feedforward: of IA3, whether inputs are multiplied, not outputs; None: that is not told.
        others: whatever is said, as it stands there.
    """

    alpha: float | None
    root: bool
    inputs_first: bool
    rank: int | None = None
    terms: int = TERMS
    bound: float = 0.0
    feedforward: bool | None = None
    others: Mapping[str, Any] = field(default_factory=dict)

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
    found = (
        re.fullmatch(r"(|.*\.)(?:lora_alpha|alpha|fan_in_fan_out|peft_type)", key) for key in config
    )
    parts = {match[1] for match in found if match}
    closest = sorted(parts, key=lambda part: -len(part))  # the part that is named most closely
    own = {part: _entries(config, part) for part in parts}
    for entries in own.values():
        _check_base(entries, where, checkpoint)

    def number(value: object, key: str) -> float | None:
        if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
            return None if value is None else float(value)
        message = f"{where}: {key} must be a number, not {value!r}"
        raise FormatError(message, path=checkpoint.path)

    def configured(name: str) -> Configured | None:
        part = next((part for part in closest if name.startswith(part)), None)
        if part is None:
            return None
        word = "lora_alpha" if f"{part}lora_alpha" in config else "alpha"
        alpha = of_layer(part, word, "alpha_pattern", name)
        rank = of_layer(part, "r", "rank_pattern", name)
        terms = of_layer(part, "num_cayley_neumann_terms", "", name)
        is_series = config.get(f"{part}use_cayley_neumann", True)
        bound = of_layer(part, "eps", "", name) if config.get(f"{part}coft") else None
        return Configured(
            alpha,
            root=bool(config.get(f"{part}use_rslora")),
            inputs_first=bool(config.get(f"{part}fan_in_fan_out")),
            rank=None if rank is None else int(rank),
            terms=_terms(terms) if is_series else 0,
            bound=bound or 0.0,
            feedforward=_is_named(config.get(f"{part}feedforward_modules"), name),
            others=own[part],
        )

    def of_layer(part: str, word: str, pattern: str, name: str) -> float | None:
        own = number(_pattern(config.get(f"{part}{pattern}"), name), pattern)
        return number(config.get(f"{part}{word}"), word) if own is None else own

    return configured


def _entries(config: Mapping[str, Any], part: str) -> dict[str, Any]:
    """Return what is said of a part of the pipeline."""
    entries = ((key.removeprefix(part), value) for key, value in config.items())
    return {key: value for key, value in entries if "." not in key}


def _check_base(entries: Mapping[str, Any], where: str, checkpoint: Checkpoint) -> None:
    """Refuse what is for another weight than the model's, or changes more than a weight.

    Raises:
        FormatError: then.
    """
    begun = str(entries.get("init_lora_weights", "")).lower()
    setting = next((key for key in _NO_CHANGES if entries.get(key)), None)
    if setting is not None:
        message = f"{where}: {setting} is set, which changes more than the model's weights"
        hint = "let PEFT merge it: merge_and_unload"
        raise FormatError(message, path=checkpoint.path, hint=hint)
    if begun.startswith(_OTHER_BASES):
        message = f"{where}: init_lora_weights is {begun!r}: it is for weights that PEFT changed"
        hint = "save it with path_initial_model_for_weight_conversion, as a LoRA of the model's own"
        raise FormatError(message, path=checkpoint.path, hint=hint)


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
    """Return a layer's own number; PEFT names layers by how their names end, or by a pattern."""
    entries = pattern.items() if isinstance(pattern, dict) else ()
    return next((number for end, number in entries if _ends(name, end)), None)


def _terms(terms: float | None) -> int:
    """Return how many terms PEFT sums; of three that are wanted it sums as many as of four."""
    return TERMS if terms is None else 4 if terms == 3 else int(terms)


def _is_named(names: object, name: str) -> bool | None:
    """Tell whether a layer is one of those that a list of ends or a pattern names."""
    if isinstance(names, str):
        return re.fullmatch(names, name.removeprefix("base_model.model.")) is not None
    return any(f".{name}".endswith(f".{end}") for end in names) if isinstance(names, list) else None


def _ends(name: str, end: str) -> bool:
    try:
        return re.fullmatch(rf"(?:.*\.)?(?:{end})", name) is not None
    except re.error:
        return False
