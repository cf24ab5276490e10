"""``bmerge inspect``: what is in a checkpoint, from its table of contents."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import click

from bmerge.architectures import Architecture, detect
from bmerge.cli.output import human_bytes, print_json, print_table, show
from bmerge.cli.session import Session, shared_options
from bmerge.formats import Checkpoint, open_checkpoint, quantised_weights
from bmerge.lora.modules import Lora, is_lora, parse_lora
from bmerge.lora.names import part_of

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
    checkpoint = open_checkpoint(file)
    if is_lora(checkpoint) and not quantised_weights(checkpoint):  # whose roles are not its own
        lora = describe_lora(parse_lora(checkpoint))
        print_json(lora) if as_json else _print_lora(lora)
        return
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
        "kind": "checkpoint",
        **_contents(checkpoint),
        "architecture": architecture.id,
        "variant": list(architecture.variant),
        "blocks": blocks,
        "metadata": {key: _decoded(text) for key, text in checkpoint.metadata.items()},
    }


def describe_lora(lora: Lora) -> dict[str, Any]:
    """Return what there is to say about a LoRA, as plain data."""
    ranks = Counter(module.rank for module in lora.modules if module.rank is not None)
    return {
        "kind": "lora",
        **_contents(lora.checkpoint),
        "networks": lora.networks,
        "dora": sum(module.magnitude is not None for module in lora.modules),
        "ranks": {str(rank): ranks[rank] for rank in sorted(ranks)},
        "parts": dict(Counter(part_of(module.name) for module in lora.modules)),
        "unknown": list(lora.unknown),
        "metadata": {key: _decoded(text) for key, text in lora.checkpoint.metadata.items()},
    }


def _contents(checkpoint: Checkpoint) -> dict[str, Any]:
    return {
        "path": str(checkpoint.path),
        "files": [str(file) for file in checkpoint.files],
        "keys": len(checkpoint.tensors),
        "bytes": checkpoint.nbytes,
        "dtypes": dict(Counter(info.dtype for info in checkpoint.tensors.values())),
        "quantised": dict(Counter(weight.format for weight in quantised_weights(checkpoint))),
    }


def _decoded(text: str) -> Any:
    """Return a metadata value as data where it is JSON, as ours and many tools' values are."""
    if text[:1] in "{[":
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text


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
