"""``bmerge bench``: the group of the benchmarks."""

from __future__ import annotations

import click

from bmerge.cli import bench_executors, bench_methods, bench_optimisers
from bmerge.cli.session import shared_options

__all__ = ["command"]


@click.group("bench")
@shared_options
def command() -> None:
    """Compare merge methods, optimisers or executors.

    \b
    Examples:
      bmerge bench methods
      bmerge bench optimisers
      bmerge bench executors ties base.safetensors a.safetensors b.safetensors
    """


command.add_command(bench_methods.command)
command.add_command(bench_optimisers.command)
command.add_command(bench_executors.command)
