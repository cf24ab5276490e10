"""Where the weights are in what trainers save beside them."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["state_dict_of"]

_WRAPPERS = (
    "state_dict",
    "params_ema",
    "model_state_dict",
    "model",
    "module",
    "params",
    "net",
    "ema",
)
"""What trainers put a state dict under, the one to take first if there are several."""
_DEEPEST = 4


def state_dict_of(
    content: object, tensor: type, *, depth: int = 0
) -> Mapping[object, object] | None:
    """Return the mapping of names to tensors that a pickle holds; None if it holds no mapping.

    Args:
        content: of the pickle.
        tensor: what a tensor is in it.
        depth: of wrappers around it.
    """
    if not isinstance(content, dict):
        return None
    inner = content.get("state_dict")
    if isinstance(inner, dict) and depth < _DEEPEST:
        return state_dict_of(inner, tensor, depth=depth + 1)
    if any(isinstance(value, tensor) for value in content.values()):
        return content
    if depth < _DEEPEST:
        for wrapper in _WRAPPERS:
            found = state_dict_of(content.get(wrapper), tensor, depth=depth + 1)
            if found is not None and any(isinstance(value, tensor) for value in found.values()):
                return found
    return content
