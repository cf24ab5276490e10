"""``bmerge inspect``: what is in a checkpoint, from its table of contents."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import click

from bmerge.architectures import Architecture, detect
from bmerge.cli.output import human_bytes, print_json, print_table
from bmerge.cli.session import Session, shared_options
from bmerge.formats import Checkpoint, open_checkpoint

__all__ = ["command"]


@click.command("inspect")
@click.argument("file")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@shared_options
@click.pass_obj
def command(session: Session, file: str, *, as_json: bool) -> None:
    """Show what is in a checkpoint.

    FILE is a .safetensors or .ckpt file, a *.index.json, or a folder of shards. Shown are the
    architecture, number formats, blocks, metadata, and how it was merged. No tensor is read.

    \b
    Examples:
      bmerge inspect model.safetensors
      bmerge inspect merged.safetensors --json
    """
    checkpoint = open_checkpoint(file)
    known = list(session.registry().architectures.values())
    data = describe(checkpoint, detect(checkpoint.tensors, known))
    if as_json:
        print_json(data)
    else:
        _print(data)


def describe(checkpoint: Checkpoint, architecture: Architecture) -> dict[str, Any]:
    """Return what there is to say about a checkpoint, as plain data."""
    blocks = {block: {"keys": 0, "bytes": 0} for block in architecture.blocks}
    for key, info in checkpoint.tensors.items():
        block = blocks.setdefault(architecture.block_of(key), {"keys": 0, "bytes": 0})
        block["keys"] += 1
        block["bytes"] += info.nbytes
    return {
        "path": str(checkpoint.path),
        "files": [str(file) for file in checkpoint.files],
        "architecture": architecture.id,
        "keys": len(checkpoint.tensors),
        "bytes": checkpoint.nbytes,
        "dtypes": dict(Counter(info.dtype for info in checkpoint.tensors.values())),
        "blocks": blocks,
        "metadata": {key: _decoded(text) for key, text in checkpoint.metadata.items()},
    }


def _decoded(text: str) -> Any:
    """Return a metadata value as data where it is JSON, as ours and many tools' values are."""
    if text[:1] in "{[":
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def _print(data: dict[str, Any]) -> None:
    dtypes = ", ".join(f"{tag} ({count} keys)" for tag, count in data["dtypes"].items())
    click.echo(f"file          {data['path']}")
    if len(data["files"]) > 1:
        click.echo(f"shards        {len(data['files'])}")
    click.echo(f"architecture  {data['architecture']}")
    click.echo(f"tensors       {data['keys']}, {human_bytes(data['bytes'])}")
    click.echo(f"dtypes        {dtypes or 'none'}")
    click.echo("")
    rows = [(name, b["keys"], human_bytes(b["bytes"])) for name, b in data["blocks"].items()]
    print_table(("block", "keys", "size"), rows)
    for key, value in data["metadata"].items():
        text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
        click.echo(f"\n{key}: {text}")
