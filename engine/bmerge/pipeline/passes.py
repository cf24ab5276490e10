"""The passes of a merge, in their one order: what lies between its plan and what executors run.

Two come before there are jobs, of the models' tables of contents, once for all trials of a study:
:func:`bmerge.plan.inputs.in_one_form` decodes and lays out. The others take a plan and give one:

- align: models whose channels are in another order, in that of the first (git re-basin);
- measure: what a method must know of whole models, into the jobs that need it;
- encode: weights that become codes with scales, where the output has such;
- split: jobs for some channels of a tensor, taken apart into two merges;
- patch: jobs of tensors that the executor cannot read or write, set apart until all else is done.

Each does nothing where nothing asks for it, so merges into files and into live tensors, those of
studies and benchmarks too, go by the same list. The last two are also for what passes themselves
run: :data:`.execute.LAST`.
"""

from __future__ import annotations

from bmerge.errors import ExecutorError
from bmerge.executors import ExecutionReport
from bmerge.pipeline.execute import LAST, run
from bmerge.pipeline.lowering import Lowering, Pass
from bmerge.pipeline.measure import Statistics
from bmerge.plan import Plan

__all__ = ["PASSES", "carry_out"]


def carry_out(plan: Plan, work: Lowering) -> tuple[Plan, ExecutionReport]:
    """Run a plan; return what it was before the last passes, and what the executor did.

    Raises:
        ExecutorError: if it cannot be carried out.
        ArchitectureError: if models cannot be aligned.
    """
    for each in PASSES:
        plan = each(plan, work)
    return plan, run(plan, work)


def _align(plan: Plan, work: Lowering) -> Plan:
    if not plan.recipe.rebasin:
        return plan
    from bmerge.pipeline.aligned import aligned  # few models need it

    if work.folder is None:
        message = "models are aligned in files only, not for a merge into live tensors"
        raise ExecutorError(message, hint="write an aligned file first: bmerge rebasin A B -o FILE")
    return aligned(plan, work.folder, work)


def _measure(plan: Plan, work: Lowering) -> Plan:
    return (work.fill or Statistics(work.executor).fill)(plan, work.progress)


def _encode(plan: Plan, work: Lowering) -> Plan:
    return plan if work.encode is None else work.encode(plan)


PASSES: tuple[Pass, ...] = (_align, _measure, _encode, *LAST)
