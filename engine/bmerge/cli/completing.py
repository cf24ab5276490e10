"""What a shell completes besides commands and options: methods, values, studies."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bmerge.cli.session import session_of
from bmerge.errors import BmergeError
from bmerge.trials.folder import MARKS

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["complete_method", "complete_study", "complete_value"]


def complete_method(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer merge methods, and files where a recipe may stand instead."""
    from click.shell_completion import CompletionItem  # only a shell asks

    methods = session_of(context).registry().methods
    found = [
        CompletionItem(name, help=methods[name].summary)
        for name in methods
        if name.startswith(incomplete)
    ]
    # bash forgets all others where it is told to complete files, too.
    is_file = not found and parameter.nargs == 1
    return [CompletionItem(incomplete, type="file")] if is_file else found


def complete_value(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer what a hyperparameter's value may begin with: presets, blocks of the first model."""
    from click.shell_completion import CompletionItem

    from bmerge.recipe import load_presets

    del parameter
    head, comma, word = incomplete.rpartition(",")
    names = [*(f"{block}=" for block in _blocks(context)), *load_presets()]
    return [CompletionItem(f"{head}{comma}{name}") for name in names if name.startswith(word)]


def _blocks(context: click.Context) -> Iterable[str]:
    """Return the blocks of the first model, if it can be read, or else all that are known."""
    from bmerge.architectures import detect
    from bmerge.formats import open_checkpoint

    known = list(session_of(context).registry().architectures.values())
    for model in context.params.get("models") or ():
        try:
            return detect(open_checkpoint(model).tensors, known).blocks
        except (BmergeError, OSError):
            break
    return dict.fromkeys(block for each in known for block in each.blocks if "{" not in block)


def complete_study(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer the folders of studies in runs/, and any other folder."""
    from click.shell_completion import CompletionItem

    del context, parameter
    folders = sorted(file.parent for name in MARKS for file in Path("runs").glob(f"**/{name}"))
    found = [CompletionItem(str(f)) for f in folders if str(f).startswith(incomplete)]
    return found or [CompletionItem(incomplete, type="dir")]
