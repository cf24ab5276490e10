"""Option types that several commands share: sizes in bytes, and where merges are executed."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

__all__ = ["executor_options", "parse_size"]

F = TypeVar("F", bound=Callable[..., Any])

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)


def parse_size(text: str) -> int:
    """Return a number of bytes from ``512M``, ``4G``, ``1.5GiB`` or plain digits.

    Units are powers of 1024.

    Raises:
        BadParameter: if it is not a size.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise click.BadParameter(f"{text!r} is not a size; write 512M or 4G")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def executor_options(command: F) -> F:
    """Give a command the options that say where and with how much memory merges run."""
    for option in (
        click.option(
            "--vram",
            type=parse_size,
            metavar="SIZE",
            help="GPU memory that may be used; default: what is free.",
        ),
        click.option(
            "--memory",
            type=parse_size,
            metavar="SIZE",
            default="512M",
            show_default=True,
            help="Memory that may be used.",
        ),
        click.option(
            "--device",
            metavar="NAME",
            help="cpu, cuda or cuda:N; default: a GPU if the tensors fit.",
        ),
        click.option(
            "--executor",
            type=click.Choice(["auto", "native", "torch"]),
            default="auto",
            show_default=True,
            help="What computes the merge.",
        ),
    ):
        command = option(command)
    return command
