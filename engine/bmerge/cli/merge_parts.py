"""The parts of ``bmerge merge METHOD … --vae FILE --text-encoder FILE``."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import click

__all__ = ["part_options"]

F = TypeVar("F", bound=Callable[..., Any])


def part_options(command: F) -> F:
    """Give a command these options, as its argument ``parts``: component and file of each."""

    @wraps(command)
    def gather(*arguments: Any, **options: Any) -> Any:
        vae, encoders = options.pop("vae"), options.pop("text_encoder")
        parts = [
            *([] if vae is None else [("vae", vae)]),
            *(("text_encoder", path) for path in encoders),
        ]
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
