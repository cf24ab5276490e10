"""What LoRAs do to a checkpoint, as data: changes of its tensors, and what became of each LoRA."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bmerge.errors import counted
from bmerge.lora.modules import Lora, Module
from bmerge.lora.names import LayerPlace
from bmerge.records import dataclass

__all__ = ["AppliedLora", "Change"]


@dataclass(frozen=True, slots=True)
class Change:
    """What one layer of a LoRA does to one tensor.

    Args:
        module: the layer.
        place: where in the tensor.
        is_bias: whether its bias is meant, not its weight.
        weight: what the change is multiplied by.
        channels: of the tensor's input channels, how many it changes, from the first on, where it
            is for another number than the tensor is stored with; None: all.
    """

    module: Module
    place: LayerPlace
    is_bias: bool = False
    weight: float = 1.0
    channels: int | None = None


@dataclass(frozen=True, slots=True)
class AppliedLora:
    """One LoRA on a checkpoint.

    Args:
        lora: the file.
        weights: block → what its changes are multiplied by; only blocks that it changes.
        changed: keys of the checkpoint's tensors that it changes.
        unmatched: its layers that the checkpoint does not have, and biases of those that it has.
    """

    lora: Lora
    weights: Mapping[str, float]
    changed: tuple[str, ...]
    unmatched: tuple[str, ...]

    @property
    def note(self) -> str:
        """What it does, in one line."""
        name, layers = self.lora.path.name, counted(self.lora.layers, "layer")
        networks = " and ".join(self.lora.networks)
        tensors = counted(len(self.changed), "tensor")
        return f"{name} ({networks}) changes {tensors} of {layers}"

    @property
    def warnings(self) -> Iterator[str]:
        """What it does not do, one line each."""
        name = self.lora.path.name
        if self.unmatched:
            yield f"{name}: the model has no {_some(self.unmatched, 'layer')}: left out"
        if self.lora.unknown:
            yield f"{name}: {_some(self.lora.unknown, 'tensor')} of no known network: left out"


def _some(words: Sequence[str], noun: str) -> str:
    """Return a count with an example."""
    if len(words) == 1:
        return f"{noun} {words[0]!r}"
    return f"{len(words)} {noun}s ({words[0]!r}, …)"
