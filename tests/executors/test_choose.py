from __future__ import annotations

import subprocess
import sys

import pytest

from bmerge.errors import ExecutorError
from bmerge.executors import (
    DeviceMemory,
    ExecutorOptions,
    SystemProbe,
    choose_executor,
    largest_working_set,
    probe,
)
from bmerge.formats import TensorInfo
from bmerge_plugins.methods.add_difference import add_difference
from bmerge_plugins.methods.weighted_sum import weighted_sum
from raw_plans import make_job, make_plan

GB = 10**9


class FakeProbe:
    """A machine with one GPU of a certain size, or none."""

    def __init__(self, free):
        self.free = free
        self.asked = []

    def memory(self, device):
        self.asked.append(device)
        index = int(device.partition(":")[2] or 0)
        if self.free is None or index > 0:
            return None
        return DeviceMemory("Fake GPU", self.free, 2 * self.free)


def plan_of(tmp_path, numel, method=weighted_sum, dtype="F16"):
    size = {"F16": 2, "F32": 4}[dtype]
    count = len(method.model_names)
    infos = [
        TensorInfo("w", dtype, (numel,), tmp_path / "x", 0, numel * size) for _ in range(count)
    ]
    return make_plan([make_job("w", method.graph(count), infos, (0.5,), dtype=dtype)])


SDXL_EMBEDDING = 49408 * 1280


def test_working_set_counts_what_is_alive_at_once(tmp_path):
    # stored: 2 x 2 bytes; float32: a, b, (1 - alpha) * a, alpha * b and their sum; the output
    assert largest_working_set(plan_of(tmp_path, 1000)) == 1000 * (4 + 6 * 4)
    three = largest_working_set(plan_of(tmp_path, 1000, add_difference))
    assert three == 1000 * (6 + 4 * (3 + 2 + 1))


@pytest.mark.parametrize(
    ("free", "vram", "expected"),
    [
        (None, None, "native"),
        (1 * GB, None, "native"),
        (2 * GB, None, "native"),
        (3 * GB, None, "torch (cuda)"),
        (24 * GB, None, "torch (cuda)"),
        (24 * GB, 1 * GB, "native"),
        (1 * GB, 2 * GB, "torch (cuda)"),
        (None, 24 * GB, "native"),
    ],
    ids=["none", "1 GB", "2 GB", "3 GB", "24 GB", "24 GB, 1 allowed", "2 allowed", "none allowed"],
)
def test_auto_takes_cuda_where_the_largest_tensor_fits(tmp_path, free, vram, expected):
    plan = plan_of(tmp_path, SDXL_EMBEDDING)
    assert largest_working_set(plan) == 28 * SDXL_EMBEDDING  # 1.77 GB
    choice = choose_executor(plan, options=ExecutorOptions(vram=vram), probe=FakeProbe(free))
    assert choice.executor.name == expected
    assert "\n" not in choice.reason
    assert not choice.reason.endswith(".")


def test_budget_is_80_percent_of_what_is_free(tmp_path):
    plan = plan_of(tmp_path, 1_000_000)
    need = largest_working_set(plan)
    enough = FakeProbe(-(-need * 10 // 8))
    assert choose_executor(plan, probe=enough).executor.name == "torch (cuda)"
    too_little = FakeProbe(need * 10 // 8 - 2)
    assert choose_executor(plan, probe=too_little).executor.name == "native"


@pytest.mark.parametrize(
    ("free", "reason"),
    [
        (None, "native streaming: there is no CUDA device"),
        (
            1 * GB,
            (
                "native streaming on the CPU: the largest tensor needs 1.8 GB and 800 MB may be "
                "used of 1.0 GB free on Fake GPU"
            ),
        ),
        (
            8 * GB,
            (
                "torch on Fake GPU: the largest tensor needs 1.8 GB and 6.4 GB may be used of "
                "8.0 GB free on Fake GPU"
            ),
        ),
    ],
    ids=["none", "small", "large"],
)
def test_reason_says_why(tmp_path, free, reason):
    plan = plan_of(tmp_path, SDXL_EMBEDDING)
    assert choose_executor(plan, probe=FakeProbe(free)).reason == reason


@pytest.mark.parametrize(
    ("executor", "device", "free", "expected"),
    [
        ("native", None, 24 * GB, "native"),
        ("native", "cpu", 24 * GB, "native"),
        ("auto", "cpu", 24 * GB, "native"),
        ("torch", "cpu", 24 * GB, "torch (cpu)"),
        ("torch", None, None, "torch (cpu)"),
        ("torch", None, 1 * GB, "torch (cpu)"),
        ("torch", None, 24 * GB, "torch (cuda)"),
        ("torch", "cuda:0", 24 * GB, "torch (cuda:0)"),
        ("auto", "cuda:0", 24 * GB, "torch (cuda:0)"),
        ("torch", "cuda", 1 * GB, "torch (cuda)"),
    ],
)
def test_what_is_asked_for_is_taken(tmp_path, executor, device, free, expected):
    plan = plan_of(tmp_path, SDXL_EMBEDDING)
    choice = choose_executor(
        plan, options=ExecutorOptions(executor=executor, device=device), probe=FakeProbe(free)
    )
    assert choice.executor.name == expected


@pytest.mark.parametrize(
    ("executor", "device", "free", "message"),
    [
        ("torch", "cuda", None, "there is no device cuda that torch can use"),
        ("auto", "cuda", None, "there is no device cuda that torch can use"),
        ("auto", "cuda:1", 24 * GB, "there is no device cuda:1 that torch can use"),
        ("native", "cuda", 24 * GB, "the native executor runs on the CPU, not on cuda"),
        ("auto", "gpu", 24 * GB, "unknown device 'gpu'"),
    ],
)
def test_what_cannot_be_had_is_an_error(tmp_path, executor, device, free, message):
    plan = plan_of(tmp_path, 1000)
    with pytest.raises(ExecutorError, match=message) as caught:
        choose_executor(
            plan, options=ExecutorOptions(executor=executor, device=device), probe=FakeProbe(free)
        )
    assert caught.value.hint


def test_native_executor_gets_its_options(tmp_path):
    plan = plan_of(tmp_path, 1000)
    choice = choose_executor(
        plan, options=ExecutorOptions(executor="native", memory=123, threads=3)
    )
    assert (choice.executor.memory, choice.executor.threads) == (123, 3)


def test_gpu_is_not_looked_for_in_vain(tmp_path):
    fake = FakeProbe(None)
    for options in (ExecutorOptions(executor="native"), ExecutorOptions(device="cpu")):
        choose_executor(plan_of(tmp_path, 1000), options=options, probe=fake)
    assert fake.asked == []


def test_machine_without_driver_is_probed_without_torch(monkeypatch):
    monkeypatch.setattr(probe, "_has_driver", lambda: False)
    assert SystemProbe().memory("cuda") is None
    code = (
        "import sys; from bmerge.executors import SystemProbe, probe;"
        "probe._has_driver = lambda: False;"
        "assert SystemProbe().memory('cuda') is None;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_memory_that_torch_keeps_of_an_earlier_merge_is_free_for_the_next(tmp_path, monkeypatch):
    import torch

    state = {"mem_get_info": (2 * GB, 24 * GB), "memory_reserved": 20 * GB, "memory_allocated": 0,
             "get_device_name": "a GPU", "is_available": True, "device_count": 1}  # fmt: skip
    for name, value in state.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)
    monkeypatch.setattr(probe, "_has_driver", lambda: True)
    found = SystemProbe().memory("cuda")
    assert (found.free, found.usable, found.total) == (22 * GB, int(17.6 * GB), 24 * GB)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 5 * GB)  # of a pipeline
    assert SystemProbe().memory("cuda").free == 17 * GB
    plan = plan_of(tmp_path, 400_000_000)
    assert choose_executor(plan, probe=SystemProbe()).executor.name == "torch (cuda)"
