"""What ``bmerge inspect`` prints for people."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bmerge.cli.output import human_bytes, note, print_table, show
from bmerge.errors import counted

if TYPE_CHECKING:
    from bmerge.foreign.lineage import Lineage, Member

__all__ = ["print_checkpoint", "print_lineage", "print_lora"]

_MOST_FAULTS = 3
"""Damaged weights that are told of, one a line."""
_PARTS = {
    "unet": "UNet or transformer", "te1": "text encoder", "te2": "text encoder 2",
    "te3": "text encoder 3",
}  # fmt: skip


def print_checkpoint(data: Mapping[str, Any]) -> None:
    """Print what :func:`bmerge.cli.inspect.describe` tells of a checkpoint."""
    dtypes = ", ".join(f"{tag} ({counted(count, 'key')})" for tag, count in data["dtypes"].items())
    show(f"file          {data['path']}")
    if len(data["files"]) > 1:
        show(f"shards        {len(data['files'])}")
    variant = f" ({', '.join(data['variant'])})" if data["variant"] else ""
    show(f"architecture  {data['architecture']}{variant}: {data['name']}")
    show(f"tensors       {data['keys']}, {human_bytes(data['bytes'])}")
    show(f"dtypes        {dtypes or 'none'}")
    _print_quantised(data["quantised"], data["not_decoded"])
    _print_damaged(data["damaged"])
    if data["missing"]:
        show(f"missing       {', '.join(data['missing'])}")
    _print_origin(data)
    show("")
    parts = [
        (name, part["keys"], human_bytes(part["bytes"]), ", ".join(part["dtypes"]))
        for name, part in data["components"].items()
    ]
    print_table(("component", "keys", "size", "dtypes"), parts)
    show("")
    rows = [(name, b["keys"], human_bytes(b["bytes"])) for name, b in data["blocks"].items()]
    print_table(("block", "keys", "size"), rows)
    _print_metadata(data["metadata"])


def print_lora(data: Mapping[str, Any]) -> None:
    """Print what :func:`bmerge.cli.inspect.describe_lora` tells of a LoRA."""
    dora = f", {data['dora']} with DoRA" if data["dora"] else ""
    show(f"LoRA          {data['path']}")
    show(f"networks      {_counted(data['networks'])}{dora}")
    show(f"ranks         {_counted(data['ranks']) or 'none'}")
    show(f"tensors       {data['keys']}, {human_bytes(data['bytes'])}")
    show(f"dtypes        {_counted(data['dtypes'])}")
    if data["unknown"]:
        unknown = data["unknown"]
        show(f"not known     {counted(len(unknown), 'tensor')}, as {unknown[0]}")
    _print_origin(data)
    show("")
    rows = [(_PARTS.get(part, part), count) for part, count in data["parts"].items()]
    print_table(("part", "layers"), rows)
    _print_metadata(data["metadata"])


def print_lineage(tree: Lineage) -> None:
    """Draw a family tree; a merge that several files came out of is drawn once."""
    drawn: set[int] = set()
    waiting = [(tree.file, "", "")]  # with what is before its line, and before those below it
    while waiting:
        member, lead, below = waiting.pop()
        again = member.made in drawn
        show(lead + _described(member, tree, again=again))
        if member.made is None or again:
            continue
        drawn.add(member.made)
        *parents, last = tree.merges[member.made].parents or (None,)
        if last is not None:
            waiting.append((last, f"{below}└─ ", f"{below}   "))
        waiting += ((parent, f"{below}├─ ", f"{below}│  ") for parent in reversed(parents))
    if tree.file.made is None:
        note("note: its metadata tells of no merge")


def _described(member: Member, tree: Lineage, *, again: bool) -> str:
    role = f"{member.role}: " if member.role else ""
    digest = f"  {member.sha256[:10]}" if member.sha256 else ""
    how = "" if member.made is None else f"  = {tree.merges[member.made].how}"
    return f"{role}{member.name}{digest}{how}{'  (as above)' if again else ''}"


def _print_origin(data: Mapping[str, Any]) -> None:
    """Print who made a file, and the names that others know it by."""
    for line in data["made_by"]:
        show(f"made          {line}")
    hashes = {name: text for name, text in data["hashes"].items() if name != "sha256"}
    if hashes:
        show(f"hashes        {', '.join(f'{name} {text}' for name, text in hashes.items())}")
    if "sha256" in data["hashes"]:
        show(f"sha256        {data['hashes']['sha256']}")


def _print_quantised(formats: Mapping[str, int], refused: Collection[str]) -> None:
    for name, count in formats.items():
        refusal = ": bmerge cannot merge it" if name in refused else ""
        show(f"quantised     {name} ({counted(count, 'weight')}){refusal}")


def _print_damaged(faults: Sequence[str]) -> None:
    for fault in faults[:_MOST_FAULTS]:
        show(f"damaged       {fault}")
    if len(faults) > _MOST_FAULTS:
        show(f"damaged       and {len(faults) - _MOST_FAULTS} weights more")


def _counted(counts: Mapping[str, int]) -> str:
    """Return words with how often they occur."""
    return ", ".join(f"{word} ({count})" for word, count in counts.items())


def _print_metadata(metadata: Mapping[str, Any]) -> None:
    for key, value in metadata.items():
        text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
        show(f"\n{key}: {text}")
