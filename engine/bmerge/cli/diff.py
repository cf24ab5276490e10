"""``bmerge diff``: how far models are apart, and what one is most likely made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from bmerge.architectures import detect
from bmerge.cli.output import json_option, note, print_json
from bmerge.cli.progress import ByteBar, LiveLine
from bmerge.cli.session import Session, shared_options
from bmerge.cli.targets import named_output, refuse_existing
from bmerge.executors import Executor, NativeExecutor, ProgressCallback
from bmerge.formats import leading, open_checkpoint
from bmerge.formats.target import refuse_inputs, regular_target, write_file

if TYPE_CHECKING:
    from bmerge.compare import AlignedModels
    from bmerge.compare.heat import HeatGrid

__all__ = ["command"]

T = TypeVar("T")


@click.command("diff")
@click.argument("files", nargs=-1, required=True)
@click.option("--base", metavar="FILE", help="What both were trained from; or one more parent.")
@click.option(
    "--parents",
    "fitted",
    is_flag=True,
    help="Find the weights by which the first file is made of the others.",
)
@click.option("--svg", metavar="FILE", help="Draw a heat map of the blocks.")
@click.option("--html", metavar="FILE", help="Write a page with the heat map.")
@click.option("--force", is_flag=True, help="Replace these files if they exist.")
@json_option("Print JSON, every tensor included.")
@shared_options
@click.pass_obj
def command(
    session: Session,
    files: tuple[str, ...],
    *,
    base: str | None,
    fitted: bool,
    svg: str | None,
    html: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Show how far two models are from each other, block by block.

    For each component, block and kind of layer: how many tensors differ, the norm of the
    difference over the norm of the first model, and the cosine of the two. With --base, the
    distances are over the base's norm, and the cosine is that of what both have learned. Tensors
    are matched as merges match them. With --parents, each block of the first file is fitted by the
    others: weights whose sum is 1, and what they leave unexplained.

    \b
    Examples:
      bmerge diff a.safetensors b.safetensors
      bmerge diff a.safetensors b.safetensors --base sd15.safetensors --html diff.html
      bmerge diff child.safetensors --parents p.safetensors q.safetensors
    """
    paths = [*files] if base is None else [*files, base]
    _check_count(files, paths, fitted=fitted)
    checkpoints = [open_checkpoint(path) for path in paths]
    targets = [named_output(target) for target in (svg, html) if target is not None]
    if len({target.resolve() for target in targets}) < len(targets):
        raise click.UsageError("--svg and --html name the same file")
    for target in targets:
        refuse_inputs(regular_target(target), checkpoints)
        refuse_existing(target, force=force)
    from bmerge.cli import diff_output as output  # needed when something is compared only
    from bmerge.compare import align, compare, made_of

    known = session.registry().architectures.known
    alignment = align(checkpoints, detect(leading(checkpoints).tensors, known))
    if fitted:
        made = _run(made_of, alignment)
        print_json(output.made_data(made)) if as_json else output.print_made(made)
        grid, lines = partial(output.made_grid, made), partial(output.made_lines, made)
    else:
        found = _run(compare, alignment)
        print_json(output.data(found)) if as_json else output.print_difference(found)
        grid, lines = partial(output.grid, found), partial(output.lines, found)
    if targets:
        _draw(grid(), lines, svg, html)


def _check_count(files: Sequence[str], paths: Sequence[str], *, fitted: bool) -> None:
    if fitted and len(paths) < 3:
        raise click.UsageError("--parents takes a child and two or more parents")
    if not fitted and len(files) != 2:
        message = f"two files are compared, {len(files)} are given"
        raise click.UsageError(f"{message}; --parents finds what the first is made of")


def _run(what: Callable[..., T], alignment: AlignedModels) -> T:
    """Run a pass over the files, with a bar."""
    executor: Executor = NativeExecutor(io="read")  # maps would count as memory
    with LiveLine() as line:
        bar = ByteBar(line)
        progress: ProgressCallback = lambda at: bar.update(at.bytes_done, at.bytes_total)  # noqa: E731
        return what(alignment, executor=executor, progress=progress)


def _draw(
    drawn: HeatGrid, lines: Callable[[], Sequence[str]], svg: str | None, html: str | None
) -> None:
    from bmerge.compare import heat

    for path, text in ((svg, heat.svg), (html, lambda drawn: heat.page(drawn, lines()))):
        if path is not None:
            write_file(Path(path), text(drawn).encode())
            note(f"written: {path}")
