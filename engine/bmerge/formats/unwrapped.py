"""Names of tensors without what training has left in them.

torch names the tensors of a model that is compiled, checkpointed or spread over devices after what
it is wrapped in, and trainers put a word of their own before all names. A word that nothing knows
is left out where the rest is a model that is known; so such a file is the same model as any other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from bmerge.formats.changes import is_change
from bmerge.formats.checkpoint import Checkpoint, Tensor
from bmerge.formats.composed import renamed
from bmerge.formats.prefixes import HEAD, kind_of, parted, prefix_of
from bmerge.formats.quantisation import METADATA
from bmerge.logs import logger

__all__ = ["common_start", "recognise_by", "unwrapped"]

_WRAPPERS = r"(?<![^.])_(?:orig_mod|fsdp_wrapped_module|checkpoint_wrapped_module)\."
"""What torch wraps any module in."""
_PARALLEL = "module."
"""What it puts before all names of a model that was trained on several devices."""


def unwrapped(checkpoint: Checkpoint) -> Checkpoint:
    """Return a checkpoint by the names that its tensors have when nothing is trained."""
    tensors = checkpoint.tensors
    keys = list(tensors)
    inside = any("_orig_mod." in key or "_wrapped_module." in key for key in keys)
    if not inside and not common_start(keys):
        return checkpoint
    plain = {re.sub(_WRAPPERS, "", key): tensor for key, tensor in tensors.items()}
    rename = _renaming(plain, checkpoint.path.name)
    names = [rename(key) for key in keys]
    if names == keys or len(set(names)) < len(names):
        return checkpoint
    found = {name: renamed(tensors[key], name) for name, key in zip(names, keys, strict=True)}
    metadata = dict(checkpoint.metadata)
    if METADATA in metadata:
        metadata[METADATA] = _renamed(metadata[METADATA], rename)
    return replace(checkpoint, tensors=found, metadata=metadata)


def recognise_by(known: Callable[[Mapping[str, Tensor]], bool]) -> None:
    """Say what tells whether tensors are those of a model that is known, beside its layouts."""
    _knowing[1:] = [known]


def common_start(keys: Collection[str]) -> str:
    """Return the words with which all keys start."""
    first, last = min(keys, default=""), max(keys, default="")
    pairs = enumerate(zip(first, last, strict=False))
    apart = next((place for place, (x, y) in pairs if x != y), min(len(first), len(last)))
    return first[: first.rfind(".", 0, apart) + 1]


def _renaming(tensors: Mapping[str, Tensor], file: str) -> Callable[[str], str]:
    """Return what gives a name without what is not of the model.

    Args:
        tensors: by their names without wrappers.
        file: named where something is left out.
    """
    start = _PARALLEL if all(key.startswith(_PARALLEL) for key in tensors) else ""
    rest = {key[len(start) :]: tensor for key, tensor in tensors.items()}
    common = common_start(rest)
    # A VAE or text encoder alone says what it is by its prefix, and LoRAs what they are for.
    if common not in {"", HEAD} and kind_of(prefix_of(next(iter(rest)))) not in {"vae", "text"}:
        bare = {key[len(common) :]: tensor for key, tensor in rest.items()}
        of_one_list = all(name[:1].isdigit() for name in bare)  # which is no model alone
        is_lora = any(map(is_change, rest))
        if not of_one_list and not is_lora and _is_only(bare, rest):
            logger(__name__).warning("%s: %r before all keys is left out", file, common)
            start += common
    return lambda key: re.sub(_WRAPPERS, "", key).removeprefix(start)


def _is_only(bare: Mapping[str, Tensor], rest: Mapping[str, Tensor]) -> bool:
    """Tell whether tensors are known without words before them, and not with these."""
    return next((not known(rest) for known in _knowing if known(rest) or known(bare)), False)


def _has_a_layout(tensors: Mapping[str, Tensor]) -> bool:
    """Tell whether there is a diffusion model of which layouts are known, under any prefix."""
    from bmerge.formats.wholes import whole_of  # with the names of all models

    parts = parted(tensors)
    picture = next((start for start in parts if kind_of(start) == "picture"), "")
    return whole_of(parts, parts.get(picture, {})) is not None


_knowing: list[Callable[[Mapping[str, Tensor]], bool]] = [_has_a_layout]


def _renamed(text: str, rename: Callable[[str], str]) -> str:
    """Return what the header says of quantised layers by their new names."""
    try:
        said = json.loads(text)
        layers = {
            rename(f"{name}.").removesuffix("."): told for name, told in said["layers"].items()
        }
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return text  # which says nothing as it is
    return json.dumps({**said, "layers": layers})
