"""``bmerge rebasin``: a model whose channels are in the order of another's."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import click

from bmerge._native import IoError, OutputFile
from bmerge.cli.output import json_option, print_json, show
from bmerge.cli.progress import LiveLine
from bmerge.cli.session import Session, shared_options
from bmerge.cli.targets import force_option, named_output, refuse_existing
from bmerge.errors import ExecutorError
from bmerge.extras import require
from bmerge.formats import Checkpoint, checkpoint_sha256, decoded, in_one_layout, open_checkpoint
from bmerge.formats.target import refuse_inputs, target_of
from bmerge.formats.unchanged import Unchanged
from bmerge.pipeline.aligned import alignment_note
from bmerge.pipeline.metadata import model_of, origin_text
from bmerge.recipe.ancestry import FOREIGN, RECIPE_KEY, Ancestors
from bmerge.version import __version__

__all__ = ["command"]


@click.command("rebasin")
@click.argument("reference")
@click.argument("model")
@click.option("-o", "--output", required=True, metavar="FILE", help="The file to write.")
@force_option
@click.option(
    "--seed",
    type=click.IntRange(0, 2**64 - 1),
    default=0,
    metavar="N",
    help="Seed of the order in which channels are visited; default: 0.",
)
@json_option()
@shared_options
@click.pass_obj
def command(
    _: Session, /, *, reference: str, model: str, output: str, force: bool, seed: int, as_json: bool
) -> None:
    """Align MODEL to REFERENCE: the order of its channels.

    Its channels are put into the order that brings it nearest.

    The aligned model makes the same pictures as before (git re-basin; docs/rebasin.md). Merges
    and studies take it as any other file. `bmerge merge … --rebasin` does both in one go.

    \b
    Examples:
      bmerge rebasin a.safetensors b.safetensors -o b-aligned.safetensors
      bmerge merge weighted_sum a.safetensors b-aligned.safetensors -o out.safetensors
    """
    require(("torch", "scipy", "numpy"), "re-basin")
    from bmerge.rebasin import match_weights, rule_of, write_in_order  # they need torch and scipy

    start, target = time.monotonic(), target_of(named_output(output))
    second, first = in_one_layout([decoded(open_checkpoint(path)) for path in (model, reference)])
    _check(target, (first, second), force=force)
    rule, unchanged = rule_of(second), Unchanged.of((first, second))
    with LiveLine() as line:
        count = len(rule.structures)
        found = match_weights(
            first,
            second,
            rule,
            seed=seed,
            progress=lambda sweep, done: line.draw(f"sweep {sweep}: {done} of {count}"),
        )
    metadata = _metadata(first, second, seed)
    file = write_in_order(second, rule, found.orders, Path(output), metadata=metadata)
    unchanged.check()
    _commit(file, target)
    if as_json:
        print_json(
            {
                "output": output, "channels": found.channels, "moved": found.moved,
                "before": found.before, "after": found.after, "sweeps": found.sweeps,
                "seconds": time.monotonic() - start,
            }
        )  # fmt: skip
        return
    text = alignment_note(first, second, found)
    show(f"{text}; {output} in {time.monotonic() - start:.1f} s")


def _check(target: Path, checkpoints: Sequence[Checkpoint], *, force: bool) -> None:
    """Refuse a name that cannot or must not be written."""
    refuse_inputs(target, checkpoints)
    refuse_existing(target, force=force)


def _commit(file: OutputFile, target: Path) -> None:
    try:
        file.commit()
    except IoError as error:
        raise ExecutorError(f"cannot write {target}: {error}") from error


def _metadata(reference: Checkpoint, model: Checkpoint, seed: int) -> dict[str, str]:
    """Return the model's own metadata with what was done to it."""
    both = reference, model
    hashes = {checkpoint.path: checkpoint_sha256(checkpoint) for checkpoint in both}
    ancestors = Ancestors()
    models = [model_of(checkpoint, hashes, ancestors) for checkpoint in both]
    done = {"rebasin": {"seed": seed}, "models": models, "ancestors": ancestors.entries}
    return {
        "format": "pt",
        **{key: text for key, text in model.metadata.items() if key not in FOREIGN},
        RECIPE_KEY: origin_text(done),
        "bmerge.version": __version__,
    }
