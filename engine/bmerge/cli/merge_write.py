"""A merge of ``bmerge merge`` into its file, with a bar on the way."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bmerge.cli.merge_output import OutputOptions
from bmerge.cli.output import human_bytes, note, print_json, show, tell
from bmerge.cli.progress import ByteBar, LiveLine
from bmerge.executors import Executor, NonFinite
from bmerge.host import Registry
from bmerge.pipeline import MergeReport, merge_to_file
from bmerge.plan import Plan, measured
from bmerge.recipe import recipe_data

__all__ = ["measure_text", "show_written", "write"]

_SHOWN = 5


def write(
    plan: Plan,
    executor: Executor,
    target: Path,
    to: OutputOptions,
    registry: Registry,
    *,
    configs: Path | None = None,
) -> tuple[MergeReport, float]:
    """Carry out a plan into a file, with a bar, and say what there is to know of it.

    Args:
        plan: the merge, of which notes and warnings have been told.
        executor: runs it.
        target: the file, or what its shards are named after.
        to: how it is written.
        registry: whose plugins observe it.
        configs: what lies beside the weights of a folder; see :func:`merge_to_file`.

    Returns:
        The report, and how many seconds it took.
    """
    registry.observe("bmerge_merge_started", plan=plan)
    for entry in measured(plan):
        note(f"measuring {measure_text(entry)}")
    start = time.monotonic()
    with to.folder(target), LiveLine() as line:
        bar = ByteBar(line)
        report = merge_to_file(
            plan,
            target,
            executor=executor,
            progress=lambda at: bar.update(at.bytes_done, at.bytes_total),
            aligning=lambda sweep, done: line.draw(f"aligning: sweep {sweep}, {done} done"),
            metadata=to.metadata,
            hashes=to.hashes,
            overwrite=to.force,
            sync=to.sync,
            shard_size=to.shard_size,
            configs=configs,
        )
    seconds = time.monotonic() - start
    tell(report.notes[len(plan.notes) :], report.warnings[len(plan.warnings) :])
    _warn(report.execution.nonfinite)
    return report, seconds


def measure_text(entry: Mapping[str, Any]) -> str:
    """Return what a pass before the merge takes of the models."""
    names, size = ", ".join(entry["statistics"]), human_bytes(entry["bytes"])
    return f"{names} of {entry['tensors']} tensors in a pass of its own, {size}"


def _warn(found: Sequence[NonFinite]) -> None:
    """Name the tensors in which NaN or infinity was met, the first few of many."""
    keys = list(dict.fromkeys(item.key for item in found))
    if keys:
        rest = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
        note(f"warning: NaN or infinity in {', '.join(keys[:_SHOWN])}{rest}")


def show_written(
    plan: Plan, report: MergeReport, seconds: float, *, explain: bool = False, as_json: bool
) -> None:
    """Say what was written, on stdout, and how if that is asked for."""
    how = None
    if explain:
        from bmerge.cli.merge_explain import explanation, show_explanation  # few ask for it

        how = explanation(plan, report.execution)
    if as_json:
        print_json(_as_data(plan, report, seconds) | ({"explanation": how} if how else {}))
        return
    rate = human_bytes(report.nbytes / max(seconds, 1e-9))
    show(f"{report.output}  {human_bytes(report.nbytes)} in {seconds:.1f} s, {rate}/s")
    if how is not None:
        show_explanation(how)


def _as_data(plan: Plan, report: MergeReport, seconds: float) -> dict[str, Any]:
    execution = report.execution
    return {
        "output": str(report.output),
        "bytes": report.nbytes,
        "seconds": seconds,
        "executor": execution.executor,
        "bytes_read": execution.bytes_read,
        "bytes_written": execution.bytes_written,
        "bytes_copied": execution.bytes_copied,
        "reading": asdict(execution.reading) if execution.reading else None,
        "nonfinite": [asdict(item) for item in execution.nonfinite],
        "notes": list(report.notes),
        "warnings": list(report.warnings),
        "recipe": recipe_data(plan.recipe),
    }
