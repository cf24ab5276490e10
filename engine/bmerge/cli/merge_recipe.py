"""The options of ``bmerge merge`` that are keys of a recipe too, and go before its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast, get_args

import click

from bmerge.dtype_rules import canonical_rule
from bmerge.formats import LAYOUTS
from bmerge.recipe.schema import Quantise

__all__ = ["recipe_options"]

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--dtype",
        metavar="NAME",
        help="Number format, as fp16, or by part, as 'unet=fp8,vae=fp32,*=keep'; "
        "default: the first model's.",
    ),
    click.option(
        "--quantise",
        type=click.Choice(get_args(Quantise)),
        help="Quantise weights of layers; default: auto, as in the first model.",
    ),
    click.option("--arch", metavar="ID", help="Block map; default: detected from the first model."),
    click.option(
        "--exclude",
        multiple=True,
        metavar="BLOCKS|KEYS",
        help="Keep these as in the first model: M00, IN00-IN05, '*.norm*'; may be repeated.",
    ),
    click.option("--prune", is_flag=True, help="Leave out EMA weights and leftovers of training."),
    click.option(
        "--clamp",
        type=click.Choice(["none", "all", "ab"]),
        help="Limit results to the range of all models, or of the first two; default: none.",
    ),
    click.option(
        "--rounding",
        type=click.Choice(["nearest", "stochastic"]),
        help="How results become numbers of fp16, bf16 or fp8; default: nearest.",
    ),
    click.option(
        "--layout",
        type=click.Choice(LAYOUTS),
        help="Write the names of the model's own code, ComfyUI or diffusers; default: the first "
        "model's.",
    ),
    click.option(
        "--seed",
        type=click.IntRange(0, 2**64 - 1),
        metavar="N",
        help="For methods that draw random numbers, and stochastic rounding; default: 0.",
    ),
    click.option("--rebasin", is_flag=True, help="Align the other models to the first beforehand."),
    click.option(
        "--rebasin-iterations",
        type=click.IntRange(1),
        metavar="N",
        help="Align and merge in N steps of alpha, as sd-meh does; default: 1.",
    ),
    click.option("--strict", is_flag=True, help="Treat a key that a model lacks as an error."),
    click.option(
        "--partial-loras",
        is_flag=True,
        help="Continue although most of a LoRA's layers do not fit the model.",
    ),
    click.option("--report-nonfinite", is_flag=True, help="Continue although a model holds NaN."),
)


def _rebasin(iterations: int | None, *, asked: bool) -> int | None:
    return iterations or (1 if asked else None)


def recipe_options(command: F) -> F:
    """Give a command these options; it gets those that are set as its argument ``changes``."""

    @wraps(command)
    def gather(*arguments: Any, **options: Any) -> Any:
        dtype = options.pop("dtype")
        fields = {
            "dtype": None if dtype is None else canonical_rule(dtype),
            "quantise": options.pop("quantise"),
            "architecture": options.pop("arch"),
            "exclude": options.pop("exclude") or None,
            "prune": options.pop("prune") or None,
            "partial_loras": options.pop("partial_loras") or None,
            "clamp": options.pop("clamp"),
            "rounding": options.pop("rounding"),
            "layout": options.pop("layout"),
            "seed": options.pop("seed"),
            "rebasin": _rebasin(options.pop("rebasin_iterations"), asked=options.pop("rebasin")),
            "on_missing": "error" if options.pop("strict") else None,
            "on_nonfinite": "report" if options.pop("report_nonfinite") else None,
        }
        changes = {name: value for name, value in fields.items() if value is not None}
        return command(*arguments, changes=changes, **options)

    for option in reversed(_OPTIONS):
        gather = option(gather)
    return cast("F", gather)
