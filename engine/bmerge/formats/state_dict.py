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
_OF_TRAINING = ("optim", "sched", "lr_", "scaler", "grad_", "rng", "callbacks", "loops")
"""How names start of things that may hold tensors and are not models."""
_DEEPEST = 4


def state_dict_of(content: object, tensor: type) -> Mapping[object, object] | None:
    """Return the mapping of names to tensors that a pickle holds; None if it holds no mapping.

    It may be under the name of some wrapper, or of any other where it is the only one.

    Args:
        content: of the pickle.
        tensor: what a tensor is in it.
    """
    return _found(content, tensor, 0, set())


def _found(
    content: object, tensor: type, depth: int, seen: set[int]
) -> Mapping[object, object] | None:
    """Return the same of what is within so many wrappers, where it is seen for the first time."""
    if not isinstance(content, dict) or id(content) in seen:
        return None  # a pickle may hold itself
    seen.add(id(content))
    if isinstance(content.get("state_dict"), dict) and depth < _DEEPEST:
        return _found(content["state_dict"], tensor, depth + 1, seen)
    if depth == _DEEPEST or any(isinstance(value, tensor) for value in content.values()):
        return content
    within = {
        name: found
        for name, value in content.items()
        if isinstance(name, str) and not name.startswith(_OF_TRAINING)
        if (found := _found(value, tensor, depth + 1, seen)) is not None
        if any(isinstance(value, tensor) for value in found.values())
    }
    known = [within[wrapper] for wrapper in _WRAPPERS if wrapper in within]
    return next(iter(known or within.values())) if known or len(within) == 1 else content
