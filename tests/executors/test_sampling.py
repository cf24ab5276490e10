"""What executors tell of the changes that rounding leaves, against numpy in float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bmerge.executors import NativeExecutor
from bmerge.executors.sampling import samples_of
from bmerge.executors.torch import TorchExecutor
from bmerge.plan import Jobs
from bmerge_plugins.methods.slerp import slerp
from bmerge_plugins.methods.weighted_sum import weighted_sum
from raw_plans import make_job, make_plan, run, store, value_of

EXECUTORS = {
    "native": NativeExecutor(threads=1), "native 3": NativeExecutor(threads=3, memory=1 << 20),
    "torch": TorchExecutor("cpu"),
}  # fmt: skip
SHAPES = [(700, 900), (33, 65), (1,), ()]


def plan_of(tmp_path, method, dtype, alpha=0.01, **changes):
    """Return a plan that changes the first of two models, and both models' values."""
    random = np.random.default_rng(5)
    arrays = [random.standard_normal(shape).astype("f4") for shape in SHAPES]
    others = [a + 0.1 * random.standard_normal(a.shape).astype("f4") for a in arrays]
    a, values = store(tmp_path / "a.bin", arrays, dtype)
    b, other = store(tmp_path / "b.bin", others, "F32")
    graph = method.graph(2)
    jobs = [
        replace(make_job(one.key, graph, (one, two), (alpha,), dtype=dtype), base=one)
        for one, two in zip(a, b, strict=True)
    ]
    plan = make_plan(jobs)
    recipe = replace(plan.recipe, **changes)
    return replace(plan, recipe=recipe), list(zip(values, other, strict=True))


@pytest.mark.parametrize("dtype", ["F16", "BF16", "F8_E4M3", "F8_E5M2"])
@pytest.mark.parametrize("executor", EXECUTORS)
def test_sums_are_those_of_elements_in_the_middle(tmp_path, executor, dtype):
    plan, values = plan_of(tmp_path, weighted_sum, dtype)
    sink, report = run(EXECUTORS[executor], plan)
    assert [each.key for each in report.rounded] == [job.key for job in plan.merges]
    for index, (job, found) in enumerate(zip(plan.merges, report.rounded, strict=True)):
        base, other = (each.ravel() for each in values[index])
        written = value_of(sink.bytes_of(job.key), dtype, job.shape).ravel()
        begin, end = samples_of(plan)[index].range
        assert end - begin == min(job.numel, (1 << 18) // len(SHAPES))
        assert begin + end in {job.numel, job.numel - 1}
        part, scale = slice(begin, end), job.numel / (end - begin)
        change = 0.01 * (other - base)[part]
        near = pytest.approx
        assert (found.key, found.dtype) == (job.key, dtype)
        assert found.change == near(scale * (change**2).sum(), rel=1e-3)
        after = (written - base)[part]
        assert found.arrived == near(scale * (change * after).sum(), rel=1e-3, abs=1e-9)
        assert found.size == near(scale * (base[part] ** 2).sum(), rel=1e-9)


def test_executors_tell_the_same_of_a_method_that_needs_whole_tensors(tmp_path):
    plan, _ = plan_of(tmp_path, slerp, "BF16")
    reports = [run(executor, plan)[1].rounded for executor in EXECUTORS.values()]
    for one in zip(*reports, strict=True):
        assert len({each.key for each in one}) == 1
        for name in ("change", "arrived", "size"):
            assert [getattr(each, name) for each in one] == pytest.approx(
                [getattr(one[0], name)] * len(one), rel=1e-6
            )


@pytest.mark.parametrize("executor", EXECUTORS)
def test_nothing_is_told_of_what_is_not_rounded_to_nearest(tmp_path, executor):
    plan, _ = plan_of(tmp_path, weighted_sum, "F32")
    assert run(EXECUTORS[executor], plan)[1].rounded == ()
    plan, _ = plan_of(tmp_path, weighted_sum, "BF16", rounding="stochastic")
    assert run(EXECUTORS[executor], plan)[1].rounded == ()
    plan, _ = plan_of(tmp_path, weighted_sum, "BF16")
    jobs = tuple(replace(job, base=None) for job in plan.merges)
    assert run(EXECUTORS[executor], replace(plan, jobs=Jobs.of(jobs)))[1].rounded == ()


def test_of_many_tensors_some_are_looked_at(tmp_path):
    plan, _ = plan_of(tmp_path, weighted_sum, "BF16")
    many = replace(plan, jobs=Jobs.of(plan.merges[:1] * 1000))
    samples = samples_of(many)
    assert len(samples) == 250
    assert list(samples)[:3] == [0, 4, 8]
    assert {sample.count for sample in samples.values()} == {(1 << 18) // 250}
