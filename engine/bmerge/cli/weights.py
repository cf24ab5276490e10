"""``bmerge weights``: what a value of a hyperparameter is in every block and key."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

import click

from bmerge.architectures import Architecture, resolve
from bmerge.cli.completing import complete_value
from bmerge.cli.output import json_option, print_json, print_table, show
from bmerge.cli.session import Session, shared_options
from bmerge.errors import ArchitectureError, counted
from bmerge.formats import Checkpoint, open_checkpoint
from bmerge.recipe import BlockWeights, load_presets, parse_weights
from bmerge.records import dataclass

__all__ = ["command"]

_BAR = 24
_DEFAULT = "sd1"


@dataclass(frozen=True, slots=True)
class _Shown:
    """A value, and where it is looked at."""

    value: str
    architecture: Architecture
    weights: BlockWeights
    model: Checkpoint | None

    @property
    def blocks(self) -> dict[str, float]:
        """Block → its value, where no pattern of keys matches."""
        leader = self.architecture.leader
        named = self.weights.blocks
        return {b: self.weights.of(leader(b, named)) for b in self.architecture.blocks}

    @property
    def keys(self) -> dict[str, float]:
        """Key of the model → its value."""
        blocks, patterns = self.blocks, self.weights.keys
        found: dict[str, float] = {}
        for key in self.model.tensors if self.model else ():
            own = [value for pattern, value in patterns.items() if fnmatchcase(key, pattern)]
            found[key] = own[-1] if own else blocks[self.architecture.block_of(key)]
        return found

    @property
    def data(self) -> dict[str, Any]:
        """The same as plain data."""
        found: dict[str, Any] = {
            "value": self.value, "architecture": self.architecture.id, "blocks": self.blocks,
            "patterns": dict(self.weights.keys),
        }  # fmt: skip
        return {**found, "keys": self.keys} if self.model else found


@click.group("weights")
@shared_options
def command() -> None:
    """Show block weights: presets, lists and patterns.

    \b
    Examples:
      bmerge weights list
      bmerge weights show GRAD_V:GRAD_A@0.25
    """


@command.command("show")
@click.argument("value", shell_complete=complete_value)
@click.option("--architecture", metavar="ID", help="Whose blocks; default: the model's, or sd1.")
@click.option("--model", metavar="FILE", help="A checkpoint whose blocks and keys are meant.")
@click.option("--keys", "by_key", is_flag=True, help="List every key of the model.")
@json_option("Print JSON, with the keys of a model.")
@shared_options
@click.pass_obj
def show_(
    session: Session,
    value: str,
    *,
    architecture: str | None,
    model: str | None,
    by_key: bool,
    as_json: bool,
) -> None:
    """Print the value of every block, as a merge would take it.

    VALUE is whatever a hyperparameter takes: a number, a list, blocks and patterns of keys, a
    preset, or A:B@0.25, which is 0.75 A + 0.25 B.

    \b
    Examples:
      bmerge weights show GRAD_V
      bmerge weights show GRAD_V:GRAD_A@0.25,BASE=0.5 --architecture sdxl
      bmerge weights show '*=0.5,*attn2*=0.3' --model model.safetensors --keys
    """
    if by_key and model is None:
        raise click.UsageError("--keys needs --model FILE, whose keys are listed")
    checkpoint = open_checkpoint(model) if model else None
    found = _architecture(session, architecture, checkpoint)
    weights = parse_weights(value, found, presets=load_presets())
    shown = _Shown(value, found, weights, checkpoint)
    if as_json:
        print_json(shown.data)
    elif by_key:
        print_table(("key", "value"), [(k, _number(v)) for k, v in shown.keys.items()])
    else:
        _print(shown)


def _architecture(session: Session, name: str | None, model: Checkpoint | None) -> Architecture:
    """Return the architecture whose blocks are meant.

    Raises:
        ArchitectureError: if only a model says how many it has, and none is given.
    """
    known = session.registry().architectures
    if model is not None:
        return resolve(name, model.tensors, list(known.values()))
    name = name or _DEFAULT
    if name in known and any("{" in block for block in known[name].blocks):
        message = f"{name} has as many blocks as a checkpoint has layers"
        raise ArchitectureError(message, hint="--model FILE names one")
    return resolve(name, (), list(known.values()))


@command.command("list")
@json_option("Print JSON: name, and 26 weights from BASE.")
@shared_options
def list_(*, as_json: bool) -> None:
    """List the presets.

    \b
    Examples:
      bmerge weights list
    """
    presets: Mapping[str, tuple[float, ...]] = load_presets()
    if as_json:
        print_json({name: list(weights) for name, weights in presets.items()})
        return
    rows = [(name, _sketch(weights[1:])) for name, weights in presets.items()]
    print_table(("preset", "IN00 … OUT11"), rows)


def _print(shown: _Shown) -> None:
    show(f"architecture  {shown.architecture.id}\n")
    blocks = shown.blocks
    low, high = min(0.0, *blocks.values()), max(1.0, *blocks.values())
    rows = [
        (name, _number(value), "#" * round(_BAR * (value - low) / (high - low)))
        for name, value in blocks.items()
    ]
    print_table(("block", "value", ""), rows)
    if shown.weights.keys:
        show("")
        rows = [(p, _number(value), _matched(shown, p)) for p, value in shown.weights.keys.items()]
        print_table(("pattern", "value", ""), rows)


def _matched(shown: _Shown, pattern: str) -> str:
    if shown.model is None:
        return ""
    count = sum(fnmatchcase(key, pattern) for key in shown.model.tensors)
    return counted(count, "key")


def _number(value: float) -> str:
    return f"{value:.6f}"


def _sketch(weights: tuple[float, ...]) -> str:
    """Return a row of bars, one for each weight."""
    return "".join("▁▂▃▄▅▆▇█"[round(7 * min(1.0, max(0.0, weight)))] for weight in weights)
