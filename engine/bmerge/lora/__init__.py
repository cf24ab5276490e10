"""LoRAs: reading them, finding the tensors that they change, and what they change them by.

Nothing here imports numpy before a tensor is computed.
"""

from __future__ import annotations

from bmerge.lora.apply import Applied, PatchedCheckpoint, PatchedTensor, apply_loras, loras_of
from bmerge.lora.modules import Lora, Module, is_lora, open_lora, parse_lora
from bmerge.lora.names import part_of

__all__ = [
    "Applied",
    "Lora",
    "Module",
    "PatchedCheckpoint",
    "PatchedTensor",
    "apply_loras",
    "is_lora",
    "loras_of",
    "open_lora",
    "parse_lora",
    "part_of",
]
