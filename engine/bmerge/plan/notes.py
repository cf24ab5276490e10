"""What a user should know of how the inputs of a merge fit together, one line each."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from bmerge.architectures import Architecture
from bmerge.formats import Checkpoint
from bmerge.lora.patched import loras_of
from bmerge.plan.findings import Findings
from bmerge.plan.positions import is_merged
from bmerge.plan.values import Values
from bmerge.records import dataclass

if TYPE_CHECKING:
    from bmerge.plan.matched import Matched

__all__ = ["Said", "file_name", "notes_of", "some"]


@dataclass(frozen=True, slots=True)
class Said:
    """What there is to say.

    Args:
        notes: what the user should know.
        warnings: what more likely than not is a mistake.
    """

    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def notes_of(
    values: Values,
    matched: Matched,
    checkpoints: Sequence[Checkpoint],
    architecture: Architecture,
) -> Said:
    """Return all that there is to say.

    Weights that are not merged, or not in the output, are worth a warning unless a recipe picks
    what it wants; leftovers of training are not.

    Args:
        values: what has been found on the way.
        matched: the tensors of the output.
        checkpoints: the inputs.
        architecture: that has one name for each key.
    """
    findings: Findings = values.findings
    notes, warnings = list(_chosen(findings)), list[str]()
    widths = findings.widths
    along = {key for keys in widths.along.values() for key in keys}
    for wider, keys in widths.along.items():
        notes.append(f"{some(keys)} of {wider}, which has more input channels: taken along")
    for (lacking, source), lacked in findings.missing.items():
        keys = [key for key in lacked if key not in along]
        if not keys:
            continue
        said = f"{some(keys)} not in {lacking}: taken from {source}"
        expected = lacking in widths.narrow or all(map(architecture.is_leftover, keys))
        (notes if expected else warnings).append(said)
    for checkpoint in checkpoints:
        notes += (lora.note for lora in loras_of(checkpoint))
        warnings += (line for lora in loras_of(checkpoint) for line in lora.warnings)
    names: Collection[str] = matched.names
    if isinstance(names, tuple | list):  # of which those of a checkpoint itself know better
        names = {*names, *map(architecture.canonical, findings.pruned or ())}
    for checkpoint in checkpoints:
        extra = _extra(checkpoint, names, architecture)
        if extra:
            said = f"{some(extra)} only in {file_name(checkpoint)}: left out"
            infos = [checkpoint.tensors[key] for key in extra]
            weights = any(is_merged(i) and not architecture.is_leftover(i.key) for i in infos)
            (warnings if weights and not values.picks else notes).append(said)
    for (source, dtype), keys in findings.unlike.items():
        warnings.append(f"{some(keys)} of {dtype} elsewhere: taken from {source}")
    for (source, dtype), keys in findings.kept.items():
        notes.append(f"{some(keys)} of {dtype} that differ: taken from {source}")
    notes += _repaired(matched)
    return Said(tuple(dict.fromkeys(notes)), tuple(dict.fromkeys(warnings)))


def _extra(checkpoint: Checkpoint, names: Collection[str], architecture: Architecture) -> list[str]:
    """Return the keys of a checkpoint that the output does not have."""
    keys = checkpoint.tensors.keys()
    return [] if keys == names else [k for k in keys if architecture.canonical(k) not in names]


def _chosen(findings: Findings) -> Iterator[str]:
    """Yield what the recipe's ``prune`` and ``exclude`` do."""
    if findings.pruned is not None:
        found = some(findings.pruned) if findings.pruned else "no EMA weights or the like: nothing"
        yield f"{found} pruned"
    for source, keys in findings.excluded.items():
        yield f"{some(keys)} excluded: kept as in {source}"


def _repaired(matched: Matched) -> Iterator[str]:
    repaired = [match.output.key for match in matched.special if match.fill is not None]
    if repaired:
        yield f"{some(repaired)} did not count from 0 any more: repaired"
    for match in matched.special:
        if match.channels is not None:
            key = match.output.key
            yield f"{key!r} differs in input channels: the shared ones are merged"


def file_name(checkpoint: Checkpoint) -> str:
    """Return what a checkpoint is called in messages."""
    return checkpoint.path.name


def some(keys: Sequence[str]) -> str:
    """Return a count of tensors with an example."""
    if len(keys) == 1:
        return f"tensor {keys[0]!r}"
    return f"{len(keys)} tensors ({keys[0]!r}, …)"
