"""Loads a CLIP model from disk, once for all scorers that use it.

The weights may have open_clip's names of tensors (also below ``state_dict``, as HPS has it) or
those of the transformers library.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from bmerge import ScorerError, nearest
from bmerge_plugins.clip.device import torch_device, torch_dtype
from bmerge_plugins.clip.tower import Tower
from bmerge_plugins.clip.transformers_layout import read_transformers

__all__ = ["LOCAL", "load_tower"]

LOCAL = "local-dir:"
"""What stands before the path of a folder with a model's description and weights."""

_FAULTS = (
    *(RuntimeError, OSError, ValueError, KeyError, TypeError, AttributeError, AssertionError),
    *(EOFError, pickle.UnpicklingError),
)
"""What open_clip and torch raise for weights that are damaged, or another model's."""

_towers: WeakValueDictionary[tuple[str, ...], Tower] = WeakValueDictionary()
"""Every tower that some scorer holds; models are too large to be kept beyond that."""


def load_tower(model: str, weights: Path | None, *, device: str, precision: str) -> Tower:
    """Return a tower; the same one for the same arguments while somebody holds it.

    Args:
        model: a name that open_clip knows, or ``local-dir:`` and a folder.
        weights: the file; None with a folder, which has its own.
        device: ``cpu``, ``cuda``, ``cuda:1`` …; ``auto`` is CUDA where there is, else the CPU.
        precision: ``fp32``, ``fp16`` or ``bf16``.

    Raises:
        ScorerError: if the model is unknown, the weights are not its, or it cannot be used
            without the network.
    """
    torch_dtype(precision)  # or complain
    place = torch_device(device)
    if model.startswith(LOCAL):
        model = LOCAL + str(Path(model[len(LOCAL) :]).expanduser().absolute())
    key = (model, str(weights and weights.resolve()), place, precision)
    tower = _towers.get(key)
    if tower is None:
        tower = _towers[key] = _load(model, weights, place, precision)
    return tower


def _load(model: str, weights: Path | None, device: str, precision: str) -> Tower:
    import open_clip
    from safetensors import SafetensorError

    _check(model)
    try:
        with _silent_root_logger():
            network, preprocess = _create(model, weights, device, precision)
    except (*_FAULTS, SafetensorError) as error:
        raise _not_loaded(model, weights, error) from error
    return Tower(
        network.eval().requires_grad_(requires_grad=False),
        preprocess,
        lambda: _tokenizer(model),
        device=device,
        dtype=open_clip.get_input_dtype(precision),
    )


def _create(model: str, weights: Path | None, device: str, precision: str) -> tuple[Any, Any]:
    import open_clip

    tensors = read_transformers(weights) if weights else None
    network, _, preprocess = open_clip.create_model_and_transforms(
        model,
        pretrained=None if tensors or weights is None else str(weights.resolve()),
        precision=precision,
        device=device,
        weights_only=True,
        require_pretrained=tensors is None,  # a folder without weights would give random ones
    )
    if tensors:
        network.load_state_dict(tensors)
    return network, preprocess


def _check(model: str) -> None:
    """Refuse a model that open_clip does not know, or would ask the network for."""
    import open_clip

    try:
        config = None if model.startswith("hf-hub:") else open_clip.get_model_config(model)
    except (OSError, ValueError) as error:
        hint = "it must hold open_clip_config.json and the weights"
        raise ScorerError(
            f"{model} is not a folder with a model", blame="study", hint=hint
        ) from error
    if config is None:
        known = nearest(model, open_clip.list_models())
        raise ScorerError(f"open_clip has no model {model!r}", blame="study", hint=known)
    if "hf_model_name" in config["text_cfg"]:
        raise ScorerError(
            f"the model {model!r} needs files from the network besides its weights", blame="study"
        )


def _tokenizer(model: str) -> Any:
    import open_clip

    config = open_clip.get_model_config(model)
    foreign = "hf_tokenizer_name" in config["text_cfg"] or "siglip" in model.lower()
    if foreign and not model.startswith(LOCAL):
        raise ScorerError(
            f"the tokenizer of {model!r} is not part of open_clip",
            blame="study",
            hint=f"download the model's whole folder, and set model to {LOCAL}/its/path",
        )
    with _silent_root_logger():
        return open_clip.get_tokenizer(model)


def _not_loaded(model: str, weights: Path | None, error: Exception) -> ScorerError:
    reason = " ".join(str(error).split())[:200]
    what = f"{weights} cannot be loaded as {model}" if weights else f"{model} cannot be loaded"
    return ScorerError(f"{what}: {type(error).__name__}: {reason}", blame="study")


@contextmanager
def _silent_root_logger() -> Iterator[None]:
    """Give the root logger a handler meanwhile.

    open_clip logs by ``logging.info``, which sets the root logger up to print on standard error
    if it has no handler, for the rest of the process.
    """
    handler = logging.NullHandler()
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
