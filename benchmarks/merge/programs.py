"""The command lines that are measured: the floor, bmerge in its forms, and peers."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import peers
from benchmarks.merge.works import Work

__all__ = ["CANDIDATES", "DEFAULT", "Program", "bmerge", "convert", "floor", "merge_of", "program"]

_SYNC = "native_sync"
_BMERGE: dict[str, tuple[str, ...]] = {
    "native": ("--no-sync",),
    "native_mmap": ("--no-sync", "--io", "mmap"),
    "native_32M": ("--no-sync", "--memory", "32M"),
    "native_1_thread": ("--no-sync", "--threads", "1"),
    "native_shards": ("--no-sync", "--shard-size", "2G"),
    "native_first": ("--no-sync",),
    "native_first_no_hashes": ("--no-sync", "--no-hashes"),
    _SYNC: (),
    "torch": ("--no-sync", "--executor", "torch", "--device", "cpu"),
    "cuda": ("--no-sync", "--executor", "torch", "--device", "cuda"),
}
"""Candidate → what it adds to the command."""

CANDIDATES = (*_BMERGE, *peers.PEERS)
DEFAULT = ("native", "native_first", _SYNC, "torch", *peers.PEERS)


@dataclass(frozen=True, slots=True)
class Program:
    """One command line.

    Args:
        words: of the command.
        forgets: whether bmerge's memory of hashes is emptied before it runs.
        syncs: whether it waits until its output is on the disk; so does its floor, then.
    """

    words: tuple[str, ...]
    forgets: bool = False
    syncs: bool = False


def floor(
    models: Sequence[Path], output: Path, *, nbytes: int | None, like: Path, sync: bool
) -> Program:
    """Return the command that reads every input and writes as much as the merge does.

    Args:
        models: the inputs.
        output: the file to write.
        nbytes: how much of ``like`` is written; None is all.
        like: the file that the output is as large as.
        sync: whether it waits for the disk.
    """
    inputs = " ".join(shlex.quote(str(model)) for model in models)
    first, target = shlex.quote(str(like)), shlex.quote(str(output))
    copy = f"cp {first} {target}" if nbytes is None else f"head -c {nbytes} {first} > {target}"
    wait = f"; sync {target}" if sync else ""
    return Program(("sh", "-c", f"cat {inputs} > /dev/null; {copy}{wait}"), syncs=sync)


def program(candidate: str, work: Work, models: Sequence[Path], output: Path) -> Program | str:
    """Return the command of one candidate for one work, or why there is none."""
    if candidate in peers.PEERS:
        if work.name not in peers.PEERS[candidate]:
            return "does not do this"
        if not peers.is_installed(candidate):
            return "is not installed: python -m benchmarks.peers"
        return Program(tuple(peers.command(candidate, work.name, output, list(models))))
    return _own(candidate, work, models, output)


def merge_of(work: Work, models: Sequence[Path], output: Path, *, sync: bool) -> Program:
    """Return the command of a work with other models, as users call it.

    Args:
        work: whose method and options it has.
        models: its inputs.
        output: the file to write.
        sync: whether it waits for the disk.
    """
    return _own(_SYNC if sync else "native", work, models, output)


def _own(candidate: str, work: Work, models: Sequence[Path], output: Path) -> Program:
    start = [sys.executable, "-m", "bmerge.cli"]
    added = _BMERGE[candidate]
    executor = () if "--executor" in added else ("--executor", "native")
    count = len(work.models)
    loras = [word for path in models[count:] for word in ("--lora", str(path))]
    options = [*loras, *work.options, *executor, *added]
    words = bmerge(work.method, models[:count], output, options)
    first = candidate.startswith("native_first")
    return Program((*start, *words[3:]), forgets=first, syncs=candidate == _SYNC)


def bmerge(
    method: str, models: Sequence[Path], output: Path, options: Sequence[str]
) -> tuple[str, ...]:
    """Return the command of one merge by bmerge."""
    start = (sys.executable, "-m", "bmerge.cli", "merge", method)
    return (*start, *map(str, models), "-o", str(output), "--force", *options)


def convert(model: Path, output: Path, options: Sequence[str]) -> tuple[str, ...]:
    """Return the command of one conversion by bmerge."""
    start = (sys.executable, "-m", "bmerge.cli", "convert", str(model))
    return (*start, "-o", str(output), "--force", "--no-metadata", *options)
