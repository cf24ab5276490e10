"""Reads files of weights as tensors and nothing else: a pickle in them can run no code."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING

from bmerge import ScorerError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["read_tensors"]


def read_tensors(path: Path, what: str) -> dict[str, Tensor]:
    """Return a file's tensors by name.

    Args:
        path: a ``.safetensors`` file, or one that ``torch.save`` wrote of a state dict.
        what: it is to be, with its article, for messages.

    Raises:
        ScorerError: if it cannot be read as one.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        tensors = torch.load(path, map_location="cpu", weights_only=True)
        tensors = tensors.get("state_dict", tensors)
        return {name: tensor for name, tensor in tensors.items() if torch.is_tensor(tensor)}
    except (
        *(OSError, RuntimeError, AttributeError, EOFError, KeyError, ValueError),
        *(pickle.UnpicklingError, SafetensorError),
    ) as error:
        raise ScorerError(f"{path} cannot be read as {what}", blame="study") from error
