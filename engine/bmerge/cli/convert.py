"""``bmerge convert``: one model in another layout, number format or choice of parts."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import click

from bmerge.cli.executor import executor_options
from bmerge.cli.merge_output import OutputOptions, output_options
from bmerge.cli.merge_parts import part_options
from bmerge.cli.merge_write import show_written, write
from bmerge.cli.output import json_option, note, print_json, tell
from bmerge.cli.session import Session, shared_options
from bmerge.dtype_rules import canonical_rule
from bmerge.errors import FormatError
from bmerge.executors import ExecutorOptions, choose_executor
from bmerge.formats import LAYOUTS
from bmerge.formats.folders import is_index
from bmerge.host.convert import plan_of_conversion
from bmerge.pipeline.companions import companions_of
from bmerge.plan import describe
from bmerge.recipe.schema import Quantise

__all__ = ["command"]

_NONE = "none"
_NO_FOLDER = "--configs is for a folder: name one after -o, without a suffix, and no --shard-size"


@click.command("convert")
@click.argument("model")
@output_options
@click.option(
    "--layout",
    type=click.Choice(LAYOUTS),
    help="Names of the model's own code, of ComfyUI or of diffusers; default: as they are.",
)
@click.option(
    "--parts",
    "kept",
    metavar="NAMES",
    multiple=True,
    help="Write only these parts: unet, text_encoder, vae; several by commas, or repeated.",
)
@part_options
@click.option(
    "--prefix",
    metavar="TEXT",
    help="Prefix of the diffusion model's keys, as net. or none; default: as it is.",
)
@click.option(
    "--configs",
    metavar="FOLDER",
    help="Write a folder, with the configs and tokenizers of this one; default: of MODEL's own.",
)
@click.option(
    "--dtype",
    metavar="NAME",
    help="Number format, as fp16, or by part, as 'vae=fp32,*=keep'; default: as it is.",
)
@click.option(
    "--quantise",
    type=click.Choice(get_args(Quantise)),
    help="Quantise weights of layers, or none any more; default: auto, as they are.",
)
@click.option("--arch", metavar="ID", help="Block map; default: detected.")
@click.option("--prune", is_flag=True, help="Leave out EMA weights and leftovers of training.")
@click.option("--dry-run", is_flag=True, help="Print the plan as JSON; write nothing.")
@json_option()
@executor_options
@shared_options
@click.pass_obj
def command(
    session: Session,
    /,
    *,
    model: str,
    to: OutputOptions,
    parts: tuple[tuple[str, str], ...],
    layout: str | None,
    kept: tuple[str, ...],
    prefix: str | None,
    configs: str | None,
    dtype: str | None,
    quantise: str | None,
    arch: str | None,
    prune: bool,
    dry_run: bool,
    as_json: bool,
    where: ExecutorOptions,
) -> None:
    """Write a model in another layout, format or choice of parts.

    MODEL is a .safetensors, .gguf or .ckpt file, a *.index.json, or a folder, one of diffusers
    too. Of a part that is taken out alone, the keys lose what a whole checkpoint has before them.
    Whatever stays as it is, is copied byte for byte. Without a suffix, -o is a folder.

    \b
    Examples:
      bmerge convert flux-diffusers/ --layout original -o flux.safetensors
      bmerge convert my-sdxl.safetensors --layout diffusers --configs sdxl-base/ -o my-sdxl
      bmerge convert sdxl.safetensors --parts vae -o sdxl-vae.safetensors
      bmerge convert model.ckpt --dtype fp16 --prune -o model.safetensors
      bmerge convert unet.safetensors --prefix model.diffusion_model. -o unet-a1111.safetensors
      bmerge convert model.safetensors --quantise fp8_scaled -o model-fp8.safetensors
      bmerge convert flux-Q8_0.gguf --dtype bf16 -o flux.safetensors
      bmerge convert flux.safetensors --quantise q8_0 -o flux-Q8_0.gguf
      bmerge convert sdxl.safetensors --vae vae-fix.safetensors -o baked.safetensors
    """
    target = None if dry_run else to.target()
    if target is None and not dry_run:
        raise click.UsageError("missing option '-o': the file to write (or --dry-run)")
    if configs is not None and target is not None and (target.suffix or to.shard_size):
        raise click.UsageError(_NO_FOLDER)
    beside = None if configs is None else _with_companions(Path(configs))
    if target is not None and not target.suffix and configs is None:
        _check_folder(model, target)
    wanted = tuple(name.strip() for name in ",".join(kept).split(",") if name.strip())
    if kept and not wanted:
        raise click.UsageError("--parts names no part: unet, text_encoder, vae")
    registry = session.registry()
    fields = {
        "layout": layout,
        "parts": wanted or None,
        "prefix": None if prefix is None else _prefix(prefix),
        "dtype": None if dtype is None else canonical_rule(dtype),
        "quantise": quantise,
        "architecture": arch,
        "prune": prune or None,
    }
    changes = {name: value for name, value in fields.items() if value is not None}
    plan = plan_of_conversion(model, registry, baked=parts, **changes)
    choice = choose_executor(plan, options=where)
    tell(plan.notes, plan.warnings)
    note(choice.reason)
    if target is None:
        print_json(describe(plan))
        return
    report, seconds = write(plan, choice.executor, target, to, registry, configs=beside)
    show_written(plan, report, seconds, as_json=as_json)


def _with_companions(folder: Path) -> Path:
    """Return a folder that is to give configs and tokenizers, after a check that it has some."""
    if not folder.is_dir():
        raise FormatError(f"{folder} is not a folder with configs", path=folder)
    if not any(companions_of(folder, ())):
        message = f"{folder} has no configs or tokenizers"
        raise FormatError(message, path=folder, hint="name the folder of a model like this one")
    return folder


def _check_folder(model: str, target: Path) -> None:
    """Refuse to write a folder of which nobody says what lies beside the weights."""
    source = Path(model).expanduser()
    if source.exists() and not source.is_dir() and not is_index(source):
        hint = (
            "name it .safetensors, or a folder with the configs of such a model: --configs FOLDER"
        )
        raise FormatError(f"cannot write {target}: the name has no suffix", path=target, hint=hint)


def _prefix(text: str) -> str:
    """Return what is before the keys; the dot at its end may be left out."""
    return "" if text == _NONE or not text else text.rstrip(".") + "."
