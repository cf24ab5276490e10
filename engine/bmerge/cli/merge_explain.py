"""``bmerge merge --explain``: how a merge is carried out, and what was measured for that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from bmerge.cli.output import human_bytes, show
from bmerge.executors import ExecutionReport, program_of
from bmerge.plan import MergeJob, Plan, describe

__all__ = ["explanation", "show_explanation"]

_SHOWN = ("merged", "copied", "repaired")


def explanation(plan: Plan, execution: ExecutionReport) -> dict[str, Any]:
    """Return how a plan was carried out, as plain data.

    Args:
        plan: what was asked for.
        execution: what was done.

    Returns:
        ``jobs``: how many tensors of each kind; ``passes``: how often inputs are read, at most, and
        of how many tensors (a number as text → a number); ``expected``: bytes of the inputs and the
        outputs, each once; ``done``: bytes that were read, every pass counted, written and copied;
        ``reading``, ``writing`` and ``processor`` as the executor's report has them.
    """
    described = describe(plan)
    return {
        "executor": execution.executor,
        "jobs": {name: described[name] for name in _SHOWN},
        "passes": _passes(plan),
        "expected": {"read": described["bytes_read"], "written": described["bytes_written"]},
        "done": {
            "read": execution.bytes_read,
            "written": execution.bytes_written,
            "copied": execution.bytes_copied,
        },
        **{
            name: asdict(found) if (found := getattr(execution, name)) else None
            for name in ("reading", "writing", "processor")
        },
    }


def _passes(plan: Plan) -> dict[str, int]:
    """Return how often the inputs of merged tensors are streamed."""
    counts: Counter[str] = Counter()
    for job in plan.jobs:
        if isinstance(job, MergeJob) and not job.graph.is_opaque:
            counts[str(program_of(job.graph).passes)] += 1
    return dict(sorted(counts.items()))


def show_explanation(data: dict[str, Any]) -> None:
    """Print it, one line for each thing."""
    for name, text in _lines(data):
        show(f"{name:<10}  {text}")


def _lines(data: dict[str, Any]) -> Iterator[tuple[str, str]]:
    done, expected = data["done"], data["expected"]
    yield "executor", data["executor"]
    yield "jobs", ", ".join(f"{count} {name}" for name, count in data["jobs"].items())
    for passes, count in data["passes"].items():
        yield "passes", f"{passes} over the inputs of {count} tensors"
    yield (
        "reads",
        f"{human_bytes(expected['read'])} of inputs; {human_bytes(done['read'])} in all passes",
    )
    written, copied = human_bytes(done["written"]), human_bytes(done["copied"])
    yield (
        "writes",
        f"{human_bytes(expected['written'])}: {written} computed, {copied} copied",
    )
    if (processor := data["processor"]) is not None:
        memory = human_bytes(processor["memory"])
        yield (
            "with",
            f"{processor['threads']} threads, {processor['vectors']} vectors, {memory} of buffers",
        )
        yield "reading", _reading(data["reading"])
        yield "writing", _writing(data["writing"])


def _reading(found: dict[str, Any] | None) -> str:
    if found is None:
        return "nothing measured: one way was asked for, or there is too little to read"
    costs = f"{found['read']:.3f} ns per byte by reads, {found['mmap']:.3f} by maps"
    return f"by {'maps' if found['faster'] == 'mmap' else 'reads'}: {costs}"


def _writing(found: dict[str, Any] | None) -> str:
    if found is None:
        return "nothing measured: there is too little to write"
    costs = f"{found['large']:.3f} ns per byte by large ones, {found['small']:.3f} by small ones"
    return f"in calls of {human_bytes(found['nbytes'])}: {costs}"
