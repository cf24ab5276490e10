"""The torch executor by itself: parts, budgets, what it reports, and what it refuses."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from bmerge import ops
from bmerge.errors import ExecutorError
from bmerge.executors import NativeExecutor, NonFinite
from bmerge.executors.device import CpuDevice, open_device
from bmerge.executors.torch import TorchExecutor
from bmerge.expr import trace
from bmerge.plan import CopyJob, FillJob
from raw_plans import make_job, make_plan, run, store, value_of


class SmallDevice(CpuDevice):
    """A device that takes few elements at a time."""

    def __init__(self, part_elements):
        self.part_elements = part_elements


def small(part_elements, **options):
    return TorchExecutor(open_device=lambda _: SmallDevice(part_elements), **options)


def _store(path, *shapes, dtype="F16"):
    random = np.random.default_rng(5)
    return store(path, [random.standard_normal(s).astype(np.float32) for s in shapes], dtype)[0]


BODIES = {
    "elements": lambda a, b: a + 0.25 * (b - a),
    "rows": lambda a, b: ops.where(ops.row_index(a) < ops.rows(a) * 0.4, a, b),
    "size": lambda a, b: a + b / ops.numel(a),
    "random": lambda a, b: a + b * ops.random_normal(a) + ops.random_uniform(b, stream=1),
    "reduction": lambda a, b: a + ops.max(b) - ops.min(b, axis=0),
    "constant": lambda a, b: 3,
    "per tensor": lambda a, b: ops.max(a),
    "per column": lambda a, b: ops.max(a, axis=0),
}


@pytest.mark.parametrize("elements", [1, 7, 100])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_parts_of_any_size_give_the_same_bytes(tmp_path, body, elements):
    infos = _store(tmp_path / "a.bin", (13, 3, 5), (13, 3, 5))
    plan = make_plan([make_job("t", trace(body, 2, []), infos, dtype="BF16", seed=99)])
    whole = run(TorchExecutor(), plan)[0]
    assert run(small(elements), plan)[0].buffer == whole.buffer
    assert run(NativeExecutor(), plan)[0].buffer == whole.buffer


def test_parts_keep_to_the_budget(tmp_path):
    taken = []

    class Counting(SmallDevice):
        def host_buffer(self, nbytes):
            taken.append(nbytes)
            return super().host_buffer(nbytes)

    infos = _store(tmp_path / "a.bin", (100_000,), (100_000,), dtype="F32")
    plan = make_plan([make_job("t", trace(BODIES["elements"], 2, []), infos)])
    executor = TorchExecutor(memory=200_000, open_device=lambda _: Counting(1 << 30))
    run(executor, plan)
    assert max(taken) * 4 <= 200_000
    assert sum(taken) == 800_000


class AheadDevice(SmallDevice):
    """As a GPU does: it begins with a part before it hands over the results of the one before."""

    ahead = 1

    def __init__(self, part_elements):
        super().__init__(part_elements)
        self.events = []

    def upload(self, host):
        self.events.append("upload")
        return super().upload(host)

    def download(self, values):
        device, values = self, values.clone()

        class Later:
            def result(self):
                device.events.append("result")
                return values

        return Later()


def test_device_computes_ahead_within_its_budget(tmp_path):
    infos = _store(tmp_path / "a.bin", (1000,), (1000,))
    plan = make_plan([make_job("t", trace(BODIES["elements"], 2, []), infos)])
    expected = run(TorchExecutor(), plan)[0].buffer

    def events(**options):
        device = AheadDevice(500)
        found, report = run(TorchExecutor(open_device=lambda _: device, **options), plan)
        assert found.buffer == expected
        assert report.bytes_read == 4000
        return device.events

    two_inputs, two_results = ["upload"] * 2, ["result"] * 2
    assert events() == [*two_inputs, *two_inputs, *two_results, *two_results]
    whole = make_plan([make_job("t", trace(BODIES["reduction"], 2, []), infos)] * 2)
    device = AheadDevice(500)
    run(TorchExecutor(memory=30_000, open_device=lambda _: device), whole)
    assert device.events == [*two_inputs, *two_results] * 2


def test_reduction_of_a_tensor_beyond_the_budget_is_refused(tmp_path):
    infos = _store(tmp_path / "a.bin", (100_000,), (100_000,))
    plan = make_plan([make_job("t", trace(BODIES["reduction"], 2, []), infos)])
    with pytest.raises(ExecutorError, match="'t' must be in memory as a whole") as caught:
        run(TorchExecutor(memory=100_000), plan)
    assert "native" in caught.value.hint


def test_copies_and_fills_are_carried_out_and_counted(tmp_path):
    a, b, c = _store(tmp_path / "a.bin", (30,), (30,), (40,))
    merge = make_job("merged", trace(BODIES["elements"], 2, []), [a, b])
    plan = make_plan([merge], copies=[CopyJob("copied", c, "")], fills=[FillJob("filled", b"abc")])
    seen = []
    sink, report = run(TorchExecutor(), plan, progress=seen.append)
    raw = (tmp_path / "a.bin").read_bytes()
    assert sink.bytes_of("copied") == raw[c.offset : c.offset + c.nbytes]
    assert sink.bytes_of("filled") == b"abc"
    assert sink.buffer[-8:] == b"\xaa" * 8
    expected = ("torch (cpu)", (), 120, 120, 80, (), None, None, None)
    assert dataclasses.astuple(report) == expected
    assert (seen[-1].bytes_done, seen[-1].bytes_total) == (200, 200)
    assert (seen[-1].tensors_done, seen[-1].tensors_total) == (3, 3)
    assert [p.bytes_done for p in seen] == sorted(p.bytes_done for p in seen)


def test_inputs_that_are_not_needed_are_not_read(tmp_path):
    a, b = _store(tmp_path / "a.bin", (30,), (30,))
    missing = dataclasses.replace(a, file=tmp_path / "missing.bin")
    plan = make_plan([make_job("t", trace(lambda a, b: b * 2, 2, []), [missing, b])])
    assert run(TorchExecutor(), plan)[1].bytes_read == 60


NONFINITE = {
    "input": ([1.0, np.nan, 2.0], [0.0, 1.0, np.inf], "F32", (0, 1)),
    "second input": ([1.0, 2.0, 3.0], [0.0, -np.inf, 1.0], "F32", (1,)),
    "overflow of float16": ([6e4, 0.0, 0.0], [6e4, 0.0, 0.0], "F16", (None,)),
    "limit of float8": ([6e4, 0.0, 0.0], [6e4, 0.0, 0.0], "F8_E4M3", ()),
    "overflow of float32": ([3e38, 0.0, 0.0], [3e38, 0.0, 0.0], "F8_E5M2", (None,)),
}


@pytest.mark.parametrize(("a", "b", "dtype", "found"), NONFINITE.values(), ids=NONFINITE)
@pytest.mark.parametrize("executor", [small(2), NativeExecutor()], ids=["torch", "native"])
def test_nonfinite_values_are_reported_or_stop_the_merge(tmp_path, executor, a, b, dtype, found):
    infos = store(tmp_path / "a.bin", [np.array(a), np.array(b)], "F32")[0]
    jobs = [make_job("t", trace(lambda a, b: a + b, 2, []), infos, dtype=dtype)]
    _, report = run(executor, make_plan(jobs, on_nonfinite="report"))
    assert report.nonfinite == tuple(NonFinite("t", index) for index in found)
    if found:
        with pytest.raises(ExecutorError, match="'t'") as caught:
            run(executor, make_plan(jobs))
        assert caught.value.key == "t"


@pytest.mark.parametrize("cut", [0, 50, 119])
def test_file_that_became_shorter_is_an_error(tmp_path, cut):
    infos = _store(tmp_path / "a.bin", (30,), (30,))
    plan = make_plan([make_job("t", trace(BODIES["elements"], 2, []), infos)])
    with (tmp_path / "a.bin").open("r+b") as file:
        file.truncate(cut)
    with pytest.raises(ExecutorError, match="shorter than it was"):
        run(small(4), plan)


def test_missing_file_is_an_error(tmp_path):
    infos = _store(tmp_path / "a.bin", (30,), (30,))
    plan = make_plan([make_job("t", trace(BODIES["elements"], 2, []), infos)])
    (tmp_path / "a.bin").unlink()
    with pytest.raises(ExecutorError, match="No such file"):
        run(TorchExecutor(), plan)


def test_what_progress_raises_stops_the_merge(tmp_path):
    def stop(progress):
        raise KeyboardInterrupt

    infos = _store(tmp_path / "a.bin", (30,), (30,))
    plan = make_plan([make_job("t", trace(BODIES["elements"], 2, []), infos)])
    with pytest.raises(KeyboardInterrupt):
        run(small(1), plan, progress=stop)


def test_unknown_device_is_an_error():
    with pytest.raises(ExecutorError, match="no device cuda:999 that torch can use") as caught:
        open_device("cuda:999")
    assert "native" in caught.value.hint


def test_values_are_those_of_the_formula(tmp_path):
    a, b = _store(tmp_path / "a.bin", (4,), (4,), dtype="F32")
    x, y = np.fromfile(tmp_path / "a.bin", "<f4").reshape(2, 4)
    plan = make_plan([make_job("t", trace(BODIES["elements"], 2, []), [a, b])])
    merged = value_of(run(TorchExecutor(), plan)[0].bytes_of("t"), "F32", (4,))
    np.testing.assert_array_equal(merged, x + np.float32(0.25) * (y - x))
