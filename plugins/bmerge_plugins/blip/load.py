"""Loads ImageReward's file: its network and the head that makes a number of what that sees."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bmerge import ScorerError
from bmerge_plugins.clip import Head, read_tensors

if TYPE_CHECKING:
    import torch

    from bmerge_plugins.blip.network import Blip

__all__ = ["load_reward"]

_BLIP = "blip."
_LAYERS = (0, 2, 4, 6, 7)


def load_reward(path: Path, device: str, dtype: torch.dtype) -> tuple[Blip, Head]:
    """Return network and head.

    Args:
        path: the published ``.pt``, or a ``.safetensors`` with the same names of tensors.
        device: where the network is to be.
        dtype: of its numbers; the head has float64.

    Raises:
        ScorerError: if the file is no such model.
    """
    from bmerge_plugins.blip.network import Blip  # torch is imported here and not by every command

    tensors = read_tensors(path, "ImageReward")
    try:
        layers = [
            tuple(tensors[f"mlp.layers.{i}.{part}"].double().numpy() for part in ("weight", "bias"))
            for i in _LAYERS
        ]
        blip = {
            name.removeprefix(_BLIP): tensor.to(device, dtype)
            for name, tensor in tensors.items()
            if name.startswith(_BLIP) and tensor.is_floating_point()
        }
        network = Blip(blip)
        network.check()
    except KeyError as error:
        raise ScorerError(f"{path} is not ImageReward: it has no {error}", blame="study") from error
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise ScorerError(f"{path} is not ImageReward: {reason}", blame="study") from error
    return network, Head([(weight, bias) for weight, bias in layers], relu=False)
