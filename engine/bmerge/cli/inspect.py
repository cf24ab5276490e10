"""``bmerge inspect``: what is in a checkpoint, from its table of contents."""

from __future__ import annotations

import click

from bmerge.cli.inspect_output import print_checkpoint, print_lineage, print_lora
from bmerge.cli.output import json_option, print_json
from bmerge.cli.session import Session, shared_options
from bmerge.formats import open_checkpoint
from bmerge.host.describing import describe_file

__all__ = ["command"]


@click.command("inspect")
@click.argument("file")
@click.option("--hashes", is_flag=True, help="Read the whole file for its hashes.")
@click.option("--lineage", "family", is_flag=True, help="Draw the family tree of a merged file.")
@json_option()
@shared_options
@click.pass_obj
def command(session: Session, file: str, *, hashes: bool, family: bool, as_json: bool) -> None:
    """Show what is in a checkpoint or a LoRA.

    FILE is a .safetensors or .ckpt file, a *.index.json, or a folder of shards. Shown are the
    architecture and its variant, components that are there and missing, number formats,
    quantisation, blocks, who made it, metadata; of a LoRA its network types, ranks, and the parts
    of a model that it changes. No tensor is read, but for hashes that are not known yet.

    \b
    Examples:
      bmerge inspect model.safetensors
      bmerge inspect model.safetensors --hashes
      bmerge inspect merged.safetensors --lineage
      bmerge inspect merged.safetensors --json
    """
    if family and hashes:
        raise click.UsageError("--hashes and --lineage exclude each other")
    if family:
        from bmerge.foreign.lineage import lineage  # few ask for it

        checkpoint = open_checkpoint(file)
        tree = lineage(checkpoint.path.name, checkpoint.metadata)
        print_json(tree.data) if as_json else print_lineage(tree)
        return
    data = describe_file(file, session.registry(), hashes=hashes)
    if as_json:
        print_json(data)
    elif data["kind"] == "lora":
        print_lora(data)
    else:
        print_checkpoint(data)
