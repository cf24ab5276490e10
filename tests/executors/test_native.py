from __future__ import annotations

import os
import signal
import threading

import numpy as np
import pytest

from bmerge import _native
from bmerge.errors import ExecutorError
from bmerge.executors import NativeExecutor, NonFinite
from bmerge.formats import TensorInfo
from bmerge.plan import CopyJob, FillJob
from bmerge_plugins.methods.weighted_sum import weighted_sum
from raw_plans import make_job, make_plan, run, store

GRAPH = weighted_sum.graph(2)


def test_jobs_copies_and_fills_are_carried_out(tmp_path):
    arrays = [np.arange(6.0).reshape(2, 3), np.ones((2, 3))]
    infos, _ = store(tmp_path / "m.bin", arrays, "F32")
    plan = make_plan(
        [make_job("sum", GRAPH, infos, (0.25,))],
        copies=[CopyJob("copy", infos[1], "")],
        fills=[FillJob("fill", b"abc")],
    )
    sink, report = run(NativeExecutor(), plan)
    merged = np.frombuffer(sink.bytes_of("sum"), "<f4").reshape(2, 3)
    assert np.array_equal(merged, 0.75 * arrays[0] + 0.25)
    assert sink.bytes_of("copy") == arrays[1].astype("<f4").tobytes()
    assert sink.bytes_of("fill") == b"abc"
    assert (report.executor, report.bytes_copied, report.bytes_written) == ("native", 24, 24)


def test_copies_of_adjacent_tensors_of_many_files_are_exact(tmp_path):
    random = np.random.default_rng(1)
    copies, expected = [], b""
    for number in range(3):
        arrays = [random.standard_normal(n).astype("<f4") for n in (5, 0, 3, 7, 1)]
        infos, _ = store(tmp_path / f"{number}.bin", arrays, "F32")
        for index in (0, 1, 2, 4, 3):  # the last two are not adjacent in the file
            copies.append(CopyJob(f"{number}.{index}", infos[index], ""))
            expected += arrays[index].tobytes()
    plan = make_plan([], copies=copies)
    sink, report = run(NativeExecutor(), plan)
    assert bytes(sink.buffer[:-8]) == expected
    assert report.bytes_copied == len(expected)


def test_progress_ends_with_everything_done(tmp_path):
    infos, _ = store(tmp_path / "m.bin", [np.ones(100_000)] * 2, "F32")
    plan = make_plan(
        [make_job("sum", GRAPH, infos, (0.5,))], copies=[CopyJob("copy", infos[0], "")]
    )
    seen = []
    run(NativeExecutor(), plan, progress=seen.append)
    assert seen[-1].bytes_done == seen[-1].bytes_total == 1_200_000
    assert seen[-1].tensors_done == seen[-1].tensors_total == 2
    assert [p.bytes_done for p in seen] == sorted(p.bytes_done for p in seen)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_exception_of_progress_stops_the_run_and_its_threads(tmp_path, error):
    infos, _ = store(tmp_path / "m.bin", [np.ones(100_000)] * 2, "F32")
    plan = make_plan([make_job("sum", GRAPH, infos, (0.5,))])

    def stop(_):
        raise error

    with pytest.raises(error):
        run(NativeExecutor(), plan, progress=stop)
    assert [t.name for t in threading.enumerate() if t.name.startswith("bmerge-native")] == []


@pytest.mark.usefixtures("interruptible")
def test_interrupt_of_the_user_is_passed_on(tmp_path):
    infos, _ = store(tmp_path / "m.bin", [np.ones(100_000)] * 2, "F32")
    plan = make_plan([make_job("sum", GRAPH, infos, (0.5,))])
    with pytest.raises(KeyboardInterrupt):
        run(NativeExecutor(), plan, progress=lambda _: os.kill(os.getpid(), signal.SIGINT))


@pytest.mark.parametrize("bad", [np.nan, np.inf], ids=["nan", "inf"])
def test_nonfinite_input_is_an_error_with_key_and_file(tmp_path, bad):
    array = np.ones(5000)
    array[4321] = bad
    good, _ = store(tmp_path / "good.bin", [np.ones(5000)], "F16")
    poor, _ = store(tmp_path / "poor.bin", [array], "F16")
    job = make_job("some.weight", GRAPH, [*good, *poor], (0.5,), dtype="F16")
    with pytest.raises(ExecutorError) as caught:
        run(NativeExecutor(), make_plan([job]))
    assert str(caught.value) == "'some.weight' holds NaN or infinity in poor.bin"
    assert caught.value.key == "some.weight"
    _, report = run(NativeExecutor(), make_plan([job], on_nonfinite="report"))
    assert report.nonfinite == (NonFinite("some.weight", 1),)


def test_overflow_of_the_result_is_an_error_with_its_dtype(tmp_path):
    infos, _ = store(tmp_path / "m.bin", [np.full(3, 6e4), np.full(3, -6e4)], "F16")
    job = make_job("w", GRAPH, infos, (-1.0,), dtype="F16")
    with pytest.raises(ExecutorError, match="merging 'w' gives NaN or a value beyond F16"):
        run(NativeExecutor(), make_plan([job]))
    _, report = run(NativeExecutor(), make_plan([job], on_nonfinite="report"))
    assert report.nonfinite == (NonFinite("w", None),)


def test_input_that_vanished_is_an_executor_error(tmp_path):
    info = TensorInfo("w", "F32", (4,), tmp_path / "gone.bin", 0, 16)
    with pytest.raises(ExecutorError, match=r"gone\.bin"):
        run(NativeExecutor(), make_plan([make_job("w", GRAPH, [info, info], (0.5,))]))


def test_input_that_was_truncated_is_an_executor_error(tmp_path):
    infos, _ = store(tmp_path / "m.bin", [np.ones(1000)] * 2, "F32")
    os.truncate(tmp_path / "m.bin", 5000)
    with pytest.raises(ExecutorError, match=r"m\.bin"):
        run(NativeExecutor(), make_plan([make_job("w", GRAPH, infos, (0.5,))]))


def test_rows_of_a_header_are_taken_one_by_one():
    """Of a million tensors, a list of them would take a hundred megabytes."""
    alive = 0

    def rows(count):
        nonlocal alive
        for number in range(count):
            row = Row((f"key{number}", "F32", (1,)))
            alive = max(alive, row.count)
            yield row

    layout = _native.encode_header(rows(100), {})
    header, offsets = layout.header, layout.offsets
    assert len(offsets) == 100
    assert alive <= 2
    assert b'"key99"' in header


class Row(tuple):
    """Counts those that live at a time."""

    alive = 0
    __slots__ = ()

    def __new__(cls, values):
        Row.alive += 1
        return super().__new__(cls, values)

    @property
    def count(self):
        return Row.alive

    def __del__(self):
        Row.alive -= 1
