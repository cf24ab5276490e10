"""What one merge costs: measured in a process of its own, so that nothing else counts.

The process is :mod:`bmerge.bench.worker`. Its start and the import of torch are not part of the
time; they are part of the memory.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, field
from pathlib import Path
from typing import Any

from bmerge.errors import ExecutorError
from bmerge.executors import Executor, ExecutorOptions, choose_executor
from bmerge.plan import Plan
from bmerge.recipe import Recipe, dump_recipe
from bmerge.records import dataclass

__all__ = ["Cost", "Where", "measure"]


@dataclass(frozen=True, slots=True)
class Where:
    """How merges are executed, in a form that another process understands.

    Args:
        options: of the executor.
        plugins: files and folders whose plugins are loaded.
        blocked: names of plugins that are not.
    """

    options: ExecutorOptions = field(default_factory=ExecutorOptions)
    plugins: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()

    def choose(self, plan: Plan) -> Executor:
        """Return what merges a plan.

        Raises:
            ExecutorError: if what was asked for is not possible.
        """
        return choose_executor(plan, options=self.options).executor


@dataclass(frozen=True, slots=True)
class Cost:
    """What a merge into a file took.

    Args:
        seconds: by the clock, the least of the repeats.
        cpu: seconds of all cores in that repeat.
        peak: most bytes that its process had resident; None where the system does not tell.
        executor: that ran it.
        nbytes: of the file.
    """

    seconds: float
    cpu: float
    peak: int | None
    executor: str
    nbytes: int


def measure(recipe: Recipe, where: Where, scratch: Path, *, repeats: int = 3) -> Cost:
    """Carry out a merge in a process of its own and return what it cost.

    Args:
        recipe: the merge; its models have absolute paths.
        where: how it is executed.
        scratch: folder of the merged file, which is removed again.
        repeats: how often it is done at most; a merge of seconds is not repeated.

    Raises:
        ExecutorError: if it cannot be carried out, or its process dies.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    file, output = scratch / "recipe.yaml", scratch / "merged.safetensors"
    file.write_text(dump_recipe(recipe), encoding="utf-8")
    job: dict[str, Any] = {"recipe": str(file), "output": str(output), "repeats": repeats}
    job["where"] = asdict(where)
    try:
        answer = _ask([sys.executable, "-m", "bmerge.bench.worker"], json.dumps(job))
    finally:
        file.unlink(missing_ok=True)
        output.unlink(missing_ok=True)
    return Cost(**answer)


def _ask(command: Sequence[str], text: str) -> dict[str, Any]:
    done = subprocess.run(  # noqa: S603 - this very Python with a module of ours
        command, input=text, capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise ExecutorError(f"the merge's process ended early: {last}")
    answer: dict[str, Any] = json.loads(done.stdout)
    if "error" in answer:
        raise ExecutorError(str(answer["error"]))
    return answer
