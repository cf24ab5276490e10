"""What a user should know of how the inputs of a merge fit together, one line each."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from bmerge.architectures import Architecture
from bmerge.formats import Checkpoint
from bmerge.lora.patched import loras_of
from bmerge.plan.values import Findings, Values

if TYPE_CHECKING:
    from bmerge.plan.match import Match

__all__ = ["file_name", "notes_of", "some"]


def notes_of(
    values: Values,
    matches: Sequence[Match],
    checkpoints: Sequence[Checkpoint],
    architecture: Architecture,
) -> tuple[str, ...]:
    """Return all that there is to say.

    Args:
        values: what has been found on the way.
        matches: the tensors of the output.
        checkpoints: the inputs.
        architecture: that has one name for each key.
    """
    findings: Findings = values.findings
    notes = []
    if findings.pruned is not None:
        found = some(findings.pruned) if findings.pruned else "no EMA weights or the like: nothing"
        notes.append(f"{found} pruned")
    if findings.excluded:
        first = file_name(checkpoints[0])
        notes.append(f"{some(sorted(findings.excluded))} excluded: kept as in {first}")
    notes += [
        f"{some(keys)} not in {lacking}: taken from {source}"
        for (lacking, source), keys in findings.missing.items()
    ]
    for checkpoint in checkpoints:
        notes += (note for lora in loras_of(checkpoint) for note in lora.notes)
    names = {architecture.canonical(match.output.key) for match in matches}
    names.update(map(architecture.canonical, findings.pruned or ()))
    notes += _left_out(checkpoints, architecture, names)
    for source, keys in findings.unlike.items():
        notes.append(f"{some(keys)} an integer elsewhere: taken from {source}")
    repaired = [match.output.key for match in matches if match.fill is not None]
    if repaired:
        notes.append(f"{some(repaired)} did not count from 0 any more: repaired")
    notes += [
        f"{match.output.key!r} differs in input channels: the shared ones are merged"
        for match in matches
        if match.channels is not None
    ]
    return tuple(dict.fromkeys(notes))


def _left_out(
    checkpoints: Sequence[Checkpoint], architecture: Architecture, names: Collection[str]
) -> Iterator[str]:
    for checkpoint in checkpoints:
        extra = [key for key in checkpoint.tensors if architecture.canonical(key) not in names]
        if extra:
            yield f"{some(extra)} only in {file_name(checkpoint)}: left out"


def file_name(checkpoint: Checkpoint) -> str:
    """Return what a checkpoint is called in messages."""
    return checkpoint.path.name


def some(keys: Sequence[str]) -> str:
    """Return a count of tensors with an example."""
    if len(keys) == 1:
        return f"tensor {keys[0]!r}"
    return f"{len(keys)} tensors ({keys[0]!r}, …)"
