"""``bmerge inspect``: what is in a checkpoint, from its table of contents."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from bmerge.cli.output import human_bytes, print_json, print_table, show
from bmerge.cli.session import Session, shared_options
from bmerge.host.describing import describe_file

__all__ = ["command"]

_PARTS = {
    "unet": "UNet or transformer", "te1": "text encoder", "te2": "text encoder 2",
    "te3": "text encoder 3",
}  # fmt: skip


@click.command("inspect")
@click.argument("file")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@shared_options
@click.pass_obj
def command(session: Session, file: str, *, as_json: bool) -> None:
    """Show what is in a checkpoint or a LoRA.

    FILE is a .safetensors or .ckpt file, a *.index.json, or a folder of shards. Shown are the
    architecture and its variant, number formats, quantisation, blocks, metadata, and how it was
    merged; of a LoRA its network types, ranks, and the parts of a model that it changes. No tensor
    is read.

    \b
    Examples:
      bmerge inspect model.safetensors
      bmerge inspect lora.safetensors
      bmerge inspect merged.safetensors --json
    """
    data = describe_file(file, session.registry())
    if as_json:
        print_json(data)
    elif data["kind"] == "lora":
        _print_lora(data)
    else:
        _print(data)


def _print(data: dict[str, Any]) -> None:
    dtypes = ", ".join(f"{tag} ({count} keys)" for tag, count in data["dtypes"].items())
    show(f"file          {data['path']}")
    if len(data["files"]) > 1:
        show(f"shards        {len(data['files'])}")
    variant = f" ({', '.join(data['variant'])})" if data["variant"] else ""
    show(f"architecture  {data['architecture']}{variant}")
    show(f"tensors       {data['keys']}, {human_bytes(data['bytes'])}")
    show(f"dtypes        {dtypes or 'none'}")
    _print_quantised(data["quantised"])
    show("")
    rows = [(name, b["keys"], human_bytes(b["bytes"])) for name, b in data["blocks"].items()]
    print_table(("block", "keys", "size"), rows)
    _print_metadata(data["metadata"])


def _print_lora(data: dict[str, Any]) -> None:
    dora = f", {data['dora']} with DoRA" if data["dora"] else ""
    show(f"LoRA          {data['path']}")
    show(f"networks      {_counted(data['networks'])}{dora}")
    show(f"ranks         {_counted(data['ranks']) or 'none'}")
    show(f"tensors       {data['keys']}, {human_bytes(data['bytes'])}")
    show(f"dtypes        {_counted(data['dtypes'])}")
    if data["unknown"]:
        unknown = data["unknown"]
        show(f"not known     {len(unknown)} tensors, as {unknown[0]}")
    show("")
    rows = [(_PARTS.get(part, part), count) for part, count in data["parts"].items()]
    print_table(("part", "layers"), rows)
    _print_metadata(data["metadata"])


def _print_quantised(formats: Mapping[str, int]) -> None:
    for name, count in formats.items():
        weights = "1 weight" if count == 1 else f"{count} weights"
        show(f"quantised     {name} ({weights}): bmerge cannot merge it")


def _counted(counts: Mapping[str, int]) -> str:
    """Return words with how often they occur."""
    return ", ".join(f"{word} ({count})" for word, count in counts.items())


def _print_metadata(metadata: Mapping[str, Any]) -> None:
    for key, value in metadata.items():
        text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
        show(f"\n{key}: {text}")
