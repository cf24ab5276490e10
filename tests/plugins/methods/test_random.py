"""Random numbers: the same on every executor, for any threads, memory and order of work."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bmerge.executors import NativeExecutor
from bmerge.executors.torch import TorchExecutor
from bmerge.testing.merge_methods import INEXACT
from method_cases import CASES, DRAWING
from raw_plans import make_job, make_plan, run, store, value_of
from running import run_torch

SHAPES = {"long": (3, 20_011), "small": (5, 7)}
NATIVE = [NativeExecutor(threads=1), NativeExecutor(threads=2), NativeExecutor(1 << 20, threads=4)]
TORCH = [TorchExecutor("cpu"), TorchExecutor("cpu", memory=4 << 20)]
DRAWN = {str(case): case for case in CASES if case.name in DRAWING}


def _jobs(folder, case, dtype="F32"):
    random = np.random.default_rng(3)
    jobs = []
    for name, shape in SHAPES.items():
        arrays = [random.standard_normal(shape).astype("f4") for _ in range(case.count)]
        infos, _ = store(folder / name, arrays, dtype)
        graph = case.method.graph(case.count, case.options)
        jobs.append(make_job(name, graph, infos, case.scalars, dtype=dtype, seed=len(name)))
    return jobs


@pytest.mark.parametrize("case", DRAWN.values(), ids=DRAWN)
def test_numbers_do_not_depend_on_who_draws_them(tmp_path, case):
    jobs = _jobs(tmp_path, case)
    results = [run(executor, make_plan(jobs))[0] for executor in TORCH]
    exact = case.method.opaque
    if not exact:
        native = [run(executor, make_plan(jobs))[0] for executor in NATIVE]
        assert len({bytes(sink.buffer) for sink in native}) == 1
        results.append(native[0])
        exact = jobs[0].graph.ops.isdisjoint(INEXACT)
    assert results[0].buffer == results[1].buffer
    for job in jobs:
        one, other = (value_of(s.bytes_of(job.key), "F32", job.shape) for s in results[-2:])
        if exact:
            np.testing.assert_array_equal(one, other)
        else:
            np.testing.assert_allclose(one, other, rtol=3e-7, atol=3e-7)


@pytest.mark.parametrize("case", DRAWN.values(), ids=DRAWN)
def test_numbers_do_not_depend_on_the_order_of_work(tmp_path, case):
    executor = TORCH[0] if case.method.opaque else NATIVE[1]
    jobs = _jobs(tmp_path, case)
    orders = (jobs, jobs[::-1], jobs[1:])
    there, back, alone = (run(executor, make_plan(some))[0] for some in orders)
    assert there.bytes_of("long") == back.bytes_of("long")
    assert there.bytes_of("small") == back.bytes_of("small") == alone.bytes_of("small")


@pytest.mark.parametrize("name", sorted(DRAWING))
def test_numbers_follow_the_seed(tmp_path, name):
    case = next(case for case in CASES if case.name == name)
    executor = TORCH[0] if case.method.opaque else NATIVE[1]
    (job, *_) = _jobs(tmp_path, case)
    one, again, other = (
        run(executor, make_plan([replace(job, seed=seed)]))[0].buffer for seed in (1, 1, 2)
    )
    assert one == again
    assert one != other


def test_every_method_that_draws_is_tested():
    drawing = set()
    for case in CASES:
        models = [np.random.default_rng(i).standard_normal((6, 5)) for i in range(case.count)]
        models = [model.astype("f4") for model in models]
        graph = case.method.graph(case.count, case.options)
        results = [run_torch(graph, models, case.scalars, seed=seed) for seed in (1, 2)]
        if (results[0] != results[1]).any():
            drawing.add(case.name)
    assert drawing == DRAWING
    assert {case.name for case in DRAWN.values()} == DRAWING
