"""The parts of ``bmerge merge METHOD … --vae FILE --text-encoder FILE``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar, cast

import click

from bmerge.errors import RecipeError
from bmerge.plan import Plan

__all__ = ["check_used", "part_options"]

F = TypeVar("F", bound=Callable[..., Any])

OPTIONS = {"vae": "--vae", "text_encoder": "--text-encoder"}
"""Component → the option that names the file of it."""


def part_options(command: F) -> F:
    """Give a command these options, as its argument ``parts``: component and file of each."""

    @wraps(command)
    def gather(*arguments: Any, **options: Any) -> Any:
        vae, encoders = options.pop("vae"), options.pop("text_encoder")
        parts = [*([("vae", vae)] if vae else []), *(("text_encoder", path) for path in encoders)]
        return command(*arguments, parts=tuple(parts), **options)

    for option in (
        click.option(
            "--text-encoder",
            multiple=True,
            metavar="FILE",
            help="Take text encoders from FILE, one or all of a model's; may be repeated.",
        ),
        click.option("--vae", metavar="FILE", help="Take the VAE from FILE, alone or in a model."),
    ):
        gather = option(gather)
    return cast("F", gather)


def check_used(plan: Plan, parts: Sequence[tuple[str, str]]) -> None:
    """Refuse a file that gives nothing, since one after it gives the same.

    Args:
        plan: of a recipe with parts.
        parts: component and file of each.

    Raises:
        RecipeError: names the option.
    """
    jobs = [*plan.merges, *(split.merge for split in plan.splits)]
    used = {file for job in jobs for info in job.used_inputs for file in info.files}
    used.update(file for job in plan.copies for file in job.source.files)
    count = len(parts)
    given = plan.checkpoints[-count:] if count else ()
    for (component, path), checkpoint in zip(parts, given, strict=True):
        if used.isdisjoint(checkpoint.files):
            message = f"{OPTIONS[component]} {path}: another file gives all that is in it"
            raise RecipeError(message, hint="name one file for each text encoder")
