"""``python -m bmerge.bench.worker``: carries out one merge and tells what it took.

Reads a job as JSON from standard input and writes what it found as JSON to standard output; see
:func:`bmerge.bench.cost.measure`, its only caller.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from bmerge.bench.cost import Where
from bmerge.errors import BmergeError
from bmerge.executors import ExecutorOptions
from bmerge.host import load_registry
from bmerge.host.merges import open_models, plan_merge
from bmerge.pipeline import merge_to_file
from bmerge.recipe import load_recipe
from bmerge.system import peak_memory

__all__ = ["main"]

_ENOUGH = 1.0  # seconds after which a merge is not repeated


def main() -> None:
    """Answer one job."""
    job = json.load(sys.stdin)
    try:
        answer = _merge(job)
    except BmergeError as error:
        answer = {"error": str(error)}
    json.dump(answer, sys.stdout)


def _merge(job: dict[str, Any]) -> dict[str, Any]:
    options = ExecutorOptions(**job["where"].pop("options"))
    where = Where(options, **job["where"])
    registry = load_registry(where.plugins, blocked=where.blocked)
    recipe = load_recipe(Path(job["recipe"]))
    plan = plan_merge(recipe, open_models(recipe.models, Path()), registry)
    executor = where.choose(plan)
    if executor.name.startswith("torch"):
        import torch  # noqa: F401 - before the clock starts

    runs: list[tuple[float, float]] = []
    while len(runs) < job["repeats"] and sum(seconds for seconds, _ in runs) < _ENOUGH:
        clock, cpu = time.perf_counter(), time.process_time()
        report = merge_to_file(
            plan, Path(job["output"]), executor=executor, hashes=False, sync=False
        )
        runs.append((time.perf_counter() - clock, time.process_time() - cpu))
    seconds, spent = min(runs)
    return {
        "seconds": seconds,
        "cpu": spent,
        "peak": peak_memory(),
        "executor": report.execution.executor,
        "nbytes": report.nbytes,
    }


if __name__ == "__main__":
    main()
