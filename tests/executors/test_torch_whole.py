"""Methods of whole tensors: who runs them, with what memory, and with which random numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from bmerge import PerModel, Weight, ops, tensor_method
from bmerge.errors import ExecutorError
from bmerge.executors import (
    DeviceMemory,
    ExecutorOptions,
    NativeExecutor,
    choose_executor,
    working_set,
)
from bmerge.executors.torch import TorchExecutor
from bmerge.expr import Composition, trace
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
    choice = choose_executor(
        plan, options=ExecutorOptions(executor=executor, memory=1000), probe=FakeProbe(None)
    )
    assert choice.executor == TorchExecutor("cpu", memory=working_set(plan.merges[0]))
    assert choice.reason.startswith("torch on the CPU: sort_rows needs whole tensors, the largest")


def test_choice_is_the_gpu_if_it_holds_a_tensor(tmp_path):
    plan, _ = _plan(tmp_path, (1000, 100))
    plan = _named(plan)
    need = working_set(plan.merges[0])
    assert choose_executor(plan, probe=FakeProbe(need * 2)).executor.name == "torch (cuda)"
    assert choose_executor(plan, probe=FakeProbe(need)).executor.name == "torch (cpu)"
    on_cpu = ExecutorOptions(device="cpu")
    choice = choose_executor(plan, options=on_cpu, probe=FakeProbe(need * 2))
    assert choice.executor.device == "cpu"


def test_choice_of_native_is_an_error(tmp_path):
    plan, _ = _plan(tmp_path, (5, 3))
    with pytest.raises(ExecutorError, match="sort_rows needs whole tensors") as error:
        choose_executor(_named(plan), options=ExecutorOptions(executor="native"))
    assert error.value.hint == "use --executor torch, or auto"
    with pytest.raises(ExecutorError, match="there is no device cuda:1"):
        choose_executor(
            _named(plan), options=ExecutorOptions(device="cuda:1"), probe=FakeProbe(None)
        )


def _named(plan):
    """Return the plan with its step, which raw plans lack."""
    step = PlannedStep(Step("", sort_rows.name, ()), sort_rows, {}, plan.merges[0].graph)
    return replace(plan, steps=(step,))


def test_gpu_is_left_where_main_memory_does_not_hold_a_tensor_that_it_needs_whole(tmp_path):
    random = np.random.default_rng(0)
    infos, _ = store(tmp_path / "a.bin", [random.standard_normal(10_000)], "F16")
    plan = make_plan([make_job("0", trace(lambda a: a / ops.max(a), 1, []), infos, dtype="F16")])
    probe = FakeProbe(1 << 30)
    choice = choose_executor(plan, options=ExecutorOptions(memory=120_000), probe=probe)
    assert choice.executor.name == "torch (cuda)"
    choice = choose_executor(plan, options=ExecutorOptions(memory=119_999), probe=probe)
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


def _fails(a):
    message = "no such\nluck"
    raise RuntimeError(message)


RETURNS = {
    "part": (lambda a: a.flatten()[:1], r"a tensor of shape \[1\], not \[4, 3\]"),
    "number": (lambda a: a.mean(), r"a tensor of shape \[\], not \[4, 3\]"),
    "turned": (lambda a: a.T, r"a tensor of shape \[3, 4\], not \[4, 3\]"),
    "more": (lambda a: a[None], r"a tensor of shape \[1, 4, 3\], not \[4, 3\]"),
    "flat": (lambda a: a.flatten(), r"a tensor of shape \[12\], not \[4, 3\]"),
    "nothing": (lambda a: None, "None, not a tensor"),
    "float": (lambda a: float(a.mean()), "a float, not a tensor"),
    "pair": (lambda a: (a, a), "a tuple, not a tensor"),
    "array": (lambda a: a.numpy(), "a ndarray, not a tensor"),
    "complex": (torch.fft.fft2, "a tensor of complex64, not of floats"),
    "integers": (lambda a: a.long(), "a tensor of int64, not of floats"),
    "mask": (lambda a: a > 0, "a tensor of bool, not of floats"),
    "elsewhere": (lambda a: a.to("meta"), "a tensor on meta, not on cpu"),
    "sparse": (lambda a: a.to_sparse(), "a sparse tensor"),
    "nan": (lambda a: a * torch.nan, "nothing but NaN, though the models are finite"),
}


@pytest.mark.parametrize(("body", "problem"), RETURNS.values(), ids=RETURNS)
@pytest.mark.parametrize("on_nonfinite", ["error", "report"])
def test_what_is_no_merged_tensor_is_refused(tmp_path, body, problem, on_nonfinite):
    def spoiled(a):
        """Spoil."""
        return body(a)

    plan, _ = _plan(tmp_path, (4, 3), method=tensor_method(spoiled), scalars=())
    plan = replace(plan, recipe=replace(plan.recipe, on_nonfinite=on_nonfinite))
    with pytest.raises(ExecutorError, match=f"^merging '0': spoiled returns {problem}$") as caught:
        run(TorchExecutor(), plan)
    assert caught.value.key == "0"
    assert __file__ in str(caught.value.hint)
    assert str(caught.value.hint).endswith("must return floats of the models' shape, [4, 3]")


def test_what_is_no_merged_tensor_is_refused_within_a_larger_graph(tmp_path):
    """A step's method is one node among others where there are several."""
    composition = Composition()

    def spoiled(a):
        return a.flatten()[:1]

    graph = tensor_method(spoiled).graph(1)
    result = composition.inline(graph, [composition.input(0)], [])
    again = composition.inline(noise.graph(1), [result], [])
    infos, _ = store(tmp_path / "a.bin", [np.zeros((4, 3))], "F32")
    plan = make_plan([make_job("0", composition.graph(again, 1), infos)])
    with pytest.raises(ExecutorError, match="merging '0': spoiled returns a tensor of shape"):
        run(TorchExecutor(), plan)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_results_of_other_floats_are_taken(tmp_path, dtype):
    def narrowed(a):
        """Compute in another dtype."""
        return a.to(dtype)

    plan, values = _plan(tmp_path, (4, 3), method=tensor_method(narrowed), scalars=())
    sink, _ = run(TorchExecutor(), plan)
    expected = torch.from_numpy(values[0]).to(dtype).half().double()
    assert np.array_equal(
        value_of(sink.bytes_of("0"), plan.merges[0].dtype, (4, 3)), expected.numpy()
    )


def test_failure_of_a_function_names_method_key_and_line(tmp_path):
    method = tensor_method(_fails)
    plan, _ = _plan(tmp_path, (4, 3), method=method, scalars=())
    with pytest.raises(ExecutorError) as caught:
        run(TorchExecutor(), plan)
    line = _fails.__code__.co_firstlineno + 2
    expected = f"merging '0': _fails fails: RuntimeError: no such luck ({__file__}:{line})"
    assert str(caught.value) == expected
    assert isinstance(caught.value.__cause__.__cause__, RuntimeError)


def test_only_what_is_not_finite_may_be_impossible_to_decompose(tmp_path):
    def spoiled(a):
        """Fail as torch does for a matrix without a decomposition."""
        torch.linalg.inv(torch.zeros(2, 2))
        return a

    graph = tensor_method(spoiled).graph(1)
    for value, fails in ((1.0, True), (np.inf, False)):
        infos, _ = store(tmp_path / "a.bin", [np.full((4, 3), value)], "F32")
        plan = make_plan([make_job("0", graph, infos)], on_nonfinite="report")
        if fails:
            with pytest.raises(ExecutorError, match="merging '0': spoiled fails: _LinAlgError"):
                run(TorchExecutor(), plan)
            continue
        sink, _ = run(TorchExecutor(), plan)
        assert np.isnan(value_of(sink.bytes_of("0"), "F32", (4, 3))).all()


def test_nan_of_models_may_make_nothing_but_nan(tmp_path):
    infos, _ = store(tmp_path / "a.bin", [np.full((4, 3), np.nan)], "F32")
    plan = make_plan([make_job("0", noise.graph(1), infos)])
    plan = replace(plan, recipe=replace(plan.recipe, on_nonfinite="report"))
    sink, _ = run(TorchExecutor(), plan)
    assert np.isnan(value_of(sink.bytes_of("0"), plan.merges[0].dtype, (4, 3))).all()
