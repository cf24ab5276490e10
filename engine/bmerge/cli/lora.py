"""``bmerge lora``: LoRA files from checkpoints and from each other.

Baking one into a checkpoint is a merge: ``bmerge merge … --lora``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from bmerge.architectures import detect
from bmerge.cli.merge_parsing import split_weight
from bmerge.cli.numbers import FiniteRange
from bmerge.cli.output import human_bytes, json_option, note, print_json, show
from bmerge.cli.progress import ByteBar, LiveLine
from bmerge.cli.session import Session, shared_options
from bmerge.cli.targets import force_option, named_output, refuse_existing
from bmerge.dtypes import canonical
from bmerge.errors import RecipeError, counted
from bmerge.formats import in_one_layout, open_checkpoint
from bmerge.formats.target import refuse_inputs, target_of
from bmerge.lora.modules import Lora
from bmerge.lora.parsing import open_lora

if TYPE_CHECKING:
    from bmerge.lora.decompose import Wanted
    from bmerge.lora.extract import Layers

__all__ = ["command"]

F = TypeVar("F", bound=Callable[..., Any])
_DTYPES = ("F16", "BF16", "F32")
_RANK = 64


@click.group("lora")
@shared_options
def command() -> None:
    """Extract, resize or merge LoRA files.

    Baking a LoRA into a checkpoint, and merging with it, is what `bmerge merge --lora` does.

    \b
    Examples:
      bmerge lora extract base.safetensors tuned.safetensors -o x.safetensors --rank 64
      bmerge lora resize x.safetensors -o y.safetensors --energy 0.95
      bmerge lora merge x.safetensors=0.8 y.safetensors=0.5 -o z.safetensors
    """


def _writing(function: F) -> F:
    """Give a command the options of a LoRA file that is written."""

    @wraps(function)
    def check(*arguments: Any, output: Path, dtype: str, force: bool, **options: Any) -> Any:
        target_of(output)
        refuse_existing(output, force=force)
        tag = canonical(dtype)
        if tag not in _DTYPES:
            raise RecipeError(f"a LoRA is written as fp16, bf16 or fp32, not {dtype}")
        return function(*arguments, output=output, dtype=tag, **options)

    for option in (
        json_option(),
        force_option,
        click.option(
            "--dtype", default="fp16", show_default=True, help="Number format: fp16, bf16 or fp32."
        ),
        click.option(
            "-o", "--output", required=True, metavar="FILE", type=named_output,
            help="The file to write.",
        ),
    ):  # fmt: skip
        check = option(check)
    return cast("F", check)


def _sized(function: F) -> F:
    """Give a command the options of how much of each layer is kept, as its argument wanted."""

    @wraps(function)
    def gather(*arguments: Any, rank: int | None, energy: float | None, **options: Any) -> Any:
        from bmerge.lora.decompose import Wanted

        if rank is None and energy is None:
            rank = _RANK
        return function(*arguments, wanted=Wanted(rank, energy), **options)

    for option in (
        click.option(
            "--energy", type=FiniteRange(0, 1, min_open=True), metavar="SHARE",
            help="Give each layer the rank that keeps this share of its squared change.",
        ),
        click.option(
            "--rank", type=click.IntRange(1), metavar="N",
            help=f"Rank of all layers, or with --energy the most; default: {_RANK}.",
        ),
    ):  # fmt: skip
        gather = option(gather)
    return cast("F", gather)


@command.command("extract")
@click.argument("base")
@click.argument("tuned")
@_writing
@_sized
@click.option(
    "--everything", is_flag=True, help="Store changes of biases, norms and embeddings too."
)
@shared_options
@click.pass_obj
def extract(
    session: Session,
    /,
    *,
    base: str,
    tuned: str,
    output: Path,
    dtype: str,
    wanted: Wanted,
    everything: bool,
    as_json: bool,
) -> None:
    """Write what turns BASE into TUNED as a LoRA.

    Linear layers and convolutions get two factors each, with the names that kohya's trainers give
    them. Merge it onto BASE with `bmerge merge add_difference BASE --lora FILE`.

    \b
    Examples:
      bmerge lora extract base.safetensors tuned.safetensors -o x.safetensors --rank 64
      bmerge lora extract base.safetensors tuned.safetensors -o x.safetensors --energy 0.98 \\
          --rank 256
    """
    from bmerge.lora.extract import extract_lora
    from bmerge.lora.kohya import in_known_layout

    named = in_known_layout(open_checkpoint(base))
    first, second = in_one_layout((named, open_checkpoint(tuned)))
    refuse_inputs(output, (first, second))
    architecture = detect(first.tensors, session.registry().architectures.known)
    with LiveLine() as line:
        found = extract_lora(
            first,
            second,
            output,
            wanted=wanted,
            dtype=dtype,
            everything=everything,
            canonical=architecture.canonical,
            progress=ByteBar(line).update,
        )
    if found.left_out:
        note(f"note: {_tensors(found.left_out)} differ and have no rank: --everything stores them")
    _report(found, output, as_json=as_json)


@command.command("resize")
@click.argument("lora")
@_writing
@_sized
@shared_options
def resize(*, lora: str, output: Path, dtype: str, wanted: Wanted, as_json: bool) -> None:
    """Write LORA with other ranks.

    LoHa and LoKr become plain LoRA on the way. No rank becomes more than it was.

    \b
    Examples:
      bmerge lora resize x.safetensors -o y.safetensors --rank 16
      bmerge lora resize x.safetensors -o y.safetensors --energy 0.95
    """
    from bmerge.lora.resize import resize_lora

    opened = open_lora(lora)
    refuse_inputs(output, [opened.checkpoint])
    found = resize_lora(opened, output, wanted=wanted, dtype=dtype)
    _report(found, output, as_json=as_json)


@command.command("merge")
@click.argument("loras", nargs=-1, required=True, metavar="LORA[=WEIGHT]...")
@_writing
@shared_options
def merge(*, loras: tuple[str, ...], output: Path, dtype: str, as_json: bool) -> None:
    """Write one LoRA that does what several do together.

    The factors of a layer stand beside each other, so nothing is lost and ranks add up;
    `bmerge lora resize` makes them smaller.

    \b
    Examples:
      bmerge lora merge x.safetensors=0.8 y.safetensors=-0.3 -o z.safetensors
    """
    from bmerge.lora.resize import merge_loras

    weighted = [_weighted(word) for word in loras]
    refuse_inputs(output, [lora.checkpoint for lora, _ in weighted])
    found = merge_loras(weighted, output, dtype=dtype)
    _report(found, output, as_json=as_json)


def _weighted(word: str) -> tuple[Lora, float]:
    path, weight = split_weight(word)
    try:
        number = 1.0 if weight is None else float(weight)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise RecipeError(f"{path}: the weight must be a number, not {weight!r}")
    return open_lora(path), number


def _tensors(keys: list[str]) -> str:
    return f"{len(keys)} tensors ({keys[0]!r}, …)" if len(keys) > 1 else f"tensor {keys[0]!r}"


def _report(found: Layers, output: Path, *, as_json: bool) -> None:
    share = found.kept / found.total if found.total else 1.0
    if as_json:
        print_json(
            {
                "output": str(output),
                "bytes": found.nbytes,
                "ranks": found.ranks,
                "energy": share,
                "unchanged": found.unchanged,
                "whole": found.whole,
                "left_out": found.left_out,
            }
        )
        return
    ranks = sorted(found.ranks.values()) or [0]
    span = f"rank {ranks[0]}" if ranks[0] == ranks[-1] else f"ranks {ranks[0]} to {ranks[-1]}"
    layers = f"{counted(len(found.ranks), 'layer')}, {span}, {100 * share:.4g} % of the energy"
    show(f"{output}  {human_bytes(found.nbytes)}, {layers}")
