"""Methods of whole tensors: who runs them, with what memory, and with which random numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from bmerge import PerModel, Weight, ops, tensor_method
from bmerge.errors import ExecutorError
from bmerge.executors import DeviceMemory, NativeExecutor, choose_executor, working_set
from bmerge.executors.torch import TorchExecutor
from bmerge.expr import trace
from bmerge.plan import PlannedStep
from bmerge.recipe import Step
from raw_plans import make_job, make_plan, run, store, value_of

SEEN = []


@tensor_method
def sort_rows(a, b, *, alpha: Weight = 0.5, weight: PerModel[Weight] = 1.0):
    """Sort."""
    SEEN.append((a.dtype, tuple(a.shape), alpha, weight))
    return a.sort(dim=0).values + alpha * b


@tensor_method
def noise(a):
    """Draw."""
    return a + ops.random_normal(a)


class FakeProbe:
    def __init__(self, free):
        self.free = free

    def memory(self, device):
        del device
        return None if self.free is None else DeviceMemory("a GPU", self.free, self.free)


def _plan(tmp_path, *shapes, dtype="F16", method=sort_rows, scalars=(0.5, 1.0, 1.0)):
    random = np.random.default_rng(5)
    arrays = [random.standard_normal(s).astype(np.float32) for s in shapes]
    stored = [store(tmp_path / f"{i}.bin", arrays, dtype) for i in range(2)]
    graph = method.graph(2 if method is sort_rows else 1)
    jobs = [
        make_job(str(i), graph, [infos[i] for infos, _ in stored], scalars, dtype=dtype, seed=7)
        for i in range(len(shapes))
    ]
    return make_plan(jobs), stored[0][1]


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_function_gets_whole_float32_tensors_and_numbers(tmp_path, dtype):
    SEEN.clear()
    plan, values = _plan(tmp_path, (5, 3), (), (0, 2), (70_000,), dtype=dtype)
    sink, report = run(TorchExecutor(memory=10_000_000), plan)
    for job, value in zip(plan.merges, values, strict=True):
        expected = np.sort(np.atleast_1d(value), axis=0) + 0.5 * value
        result = value_of(sink.bytes_of(job.key), dtype, job.shape)
        np.testing.assert_allclose(result, expected.reshape(job.shape), rtol=2**-7)
    assert [
        (torch.float32, shape, 0.5, (1.0, 1.0)) for shape in [(5, 3), (1,), (70_000,)]
    ] == SEEN  # nothing is called for no elements
    assert report.bytes_written == sum(tensor.nbytes for tensor in plan.outputs)


def test_random_numbers_are_those_of_the_job(tmp_path):
    plan, values = _plan(tmp_path, (4, 5), dtype="F32", method=noise, scalars=())
    drawn = value_of(run(TorchExecutor(), plan)[0].bytes_of("0"), "F32", (4, 5)) - values[0]
    traced = make_job(
        "0", trace(lambda a: a + ops.random_normal(a), 1, []), plan.merges[0].inputs[:1], seed=7
    )
    native = run(NativeExecutor(), make_plan([traced]))[0].bytes_of("0")
    np.testing.assert_allclose(drawn, value_of(native, "F32", (4, 5)) - values[0], atol=1e-6)
    alone = noise(torch.zeros(4, 5)).numpy()  # seed 0
    assert not np.allclose(drawn, alone)


def test_memory_that_does_not_hold_a_tensor_is_an_error(tmp_path):
    plan, _ = _plan(tmp_path, (1000, 100))
    with pytest.raises(ExecutorError, match="must be in memory as a whole"):
        run(TorchExecutor(memory=1_000_000), plan)
    run(TorchExecutor(memory=working_set(plan.merges[0])), plan)


def test_native_executor_refuses(tmp_path):
    plan, _ = _plan(tmp_path, (5, 3))
    with pytest.raises(ExecutorError, match="cannot run on the native executor"):
        run(NativeExecutor(), plan)


@pytest.mark.parametrize("executor", ["auto", "torch"])
def test_choice_is_torch_with_enough_memory(tmp_path, executor):
    plan, _ = _plan(tmp_path, (1000, 100))
    plan = _named(plan)
    choice = choose_executor(plan, executor=executor, memory=1000, probe=FakeProbe(None))
    assert choice.executor == TorchExecutor("cpu", memory=working_set(plan.merges[0]))
    assert choice.reason.startswith("torch on the CPU: sort_rows needs whole tensors, the largest")


def test_choice_is_the_gpu_if_it_holds_a_tensor(tmp_path):
    plan, _ = _plan(tmp_path, (1000, 100))
    plan = _named(plan)
    need = working_set(plan.merges[0])
    assert choose_executor(plan, probe=FakeProbe(need * 2)).executor.name == "torch (cuda)"
    assert choose_executor(plan, probe=FakeProbe(need)).executor.name == "torch (cpu)"
    assert choose_executor(plan, device="cpu", probe=FakeProbe(need * 2)).executor.device == "cpu"


def test_choice_of_native_is_an_error(tmp_path):
    plan, _ = _plan(tmp_path, (5, 3))
    with pytest.raises(ExecutorError, match="sort_rows needs whole tensors") as error:
        choose_executor(_named(plan), executor="native")
    assert error.value.hint == "use --executor torch, or auto"
    with pytest.raises(ExecutorError, match="there is no device cuda:1"):
        choose_executor(_named(plan), device="cuda:1", probe=FakeProbe(None))


def _named(plan):
    """Return the plan with its step, which raw plans lack."""
    step = PlannedStep(Step("", sort_rows.name, ()), sort_rows, {}, plan.merges[0].graph)
    return replace(plan, steps=(step,))


def test_gpu_is_left_where_main_memory_does_not_hold_a_tensor_that_it_needs_whole(tmp_path):
    random = np.random.default_rng(0)
    infos, _ = store(tmp_path / "a.bin", [random.standard_normal(10_000)], "F16")
    plan = make_plan([make_job("0", trace(lambda a: a / ops.max(a), 1, []), infos, dtype="F16")])
    probe = FakeProbe(1 << 30)
    assert choose_executor(plan, memory=120_000, probe=probe).executor.name == "torch (cuda)"
    choice = choose_executor(plan, memory=119_999, probe=probe)
    assert choice.executor.name == "native"
    assert "whole tensors take 120 KB of main memory on their way to a GPU" in choice.reason


def test_program_that_is_too_long_is_an_error_of_the_executor(tmp_path):
    def many(a):
        for index in range(70_000):
            a = a + index
        return a

    infos, _ = store(tmp_path / "a.bin", [np.zeros(3)], "F32")
    plan = make_plan([make_job("0", trace(many, 1, []), infos)])
    with pytest.raises(ExecutorError, match="the native executor refuses this method"):
        run(NativeExecutor(), plan)
