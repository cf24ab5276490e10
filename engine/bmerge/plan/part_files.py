"""Whether a VAE or a text encoder that lies in a file of its own fits the model that it is for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bmerge.architectures import Architecture
from bmerge.errors import ArchitectureError
from bmerge.formats import Checkpoint, Tensor, is_part_file, kind_of, leading, prefix_of
from bmerge.plan.notes import file_name, some
from bmerge.plan.positions import is_merged

__all__ = ["check_part_files", "part_files"]

_HINT = "it takes the place of what the model has; 'bmerge inspect FILE' shows what a file holds"


def part_files(checkpoints: Sequence[Checkpoint]) -> tuple[Checkpoint, ...]:
    """Return the files that hold nothing but a VAE or text encoders, beside a model with more."""
    if is_part_file(leading(checkpoints).tensors):
        return ()
    return tuple(each for each in checkpoints if is_part_file(each.tensors))


def check_part_files(checkpoints: Sequence[Checkpoint], architecture: Architecture) -> None:
    """Refuse a file of a VAE or text encoder that is for another kind of model.

    The models must have its tensors, in the same shapes. What they have no place for at all, such
    as what a VAE was trained with, may be more.

    Args:
        checkpoints: the inputs, in one layout.
        architecture: the block map.

    Raises:
        ArchitectureError: names the file and a tensor.
    """
    separate = part_files(checkpoints)
    if not separate:
        return
    known = {
        architecture.canonical(key): info
        for checkpoint in reversed(checkpoints)
        if checkpoint not in separate
        for key, info in checkpoint.tensors.items()
    }
    starts = {prefix_of(key) for key in known} - {""}
    name = file_name(leading(checkpoints))
    kinds = set(map(kind_of, starts))
    for part in separate:
        if kinds.isdisjoint(kind_of(prefix_of(key)) or "none" for key in part.tensors) and any(
            map(prefix_of, part.tensors)
        ):
            continue  # put to a model that has none of its kind
        own = {
            architecture.canonical(key): info
            for key, info in part.tensors.items()
            if (prefix_of(key) in starts or architecture.canonical(key) in known)
            and not architecture.is_leftover(key)
        }
        if not own:
            message = f"{file_name(part)} holds no part of {name}, which has none of its tensors"
            raise ArchitectureError(f"{message} ({next(iter(part.tensors))!r}, …)", hint=_HINT)
        _check_fit(f"{file_name(part)} does not fit {name}", own, known)


def _check_fit(problem: str, own: Mapping[str, Tensor], known: Mapping[str, Tensor]) -> None:
    strange = [info.key for key, info in own.items() if key not in known and is_merged(info)]
    if strange:
        raise ArchitectureError(f"{problem}, which has no {some(strange)}", hint=_HINT)
    for key, info in own.items():
        shape = known[key].shape if key in known else info.shape
        if shape != info.shape:
            message = f"{info.key!r} has shape {list(info.shape)}, not {list(shape)}"
            raise ArchitectureError(f"{problem}: {message}", hint=_HINT)
