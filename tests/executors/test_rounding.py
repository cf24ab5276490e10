"""Stochastic rounding: the same bytes everywhere, unbiased, and exact where nothing is to round."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bmerge.executors import NativeExecutor
from bmerge.executors.torch import TorchExecutor
from bmerge.expr import trace
from raw_plans import TORCH, make_job, make_plan, run, store, value_of

NARROW = ("F16", "BF16", "F8_E4M3", "F8_E5M2")
LARGEST = {"F16": 65504.0, "BF16": 255 * 2.0**120, "F8_E4M3": 448.0, "F8_E5M2": 57344.0}
COPY = trace(lambda a: a, 1, [])
EXECUTORS = {
    "native 1": NativeExecutor(threads=1),
    "native 3": NativeExecutor(threads=3, memory=1 << 20),
    "torch": TorchExecutor("cpu"),
    "torch in small parts": TorchExecutor("cpu", memory=40_000),
}


def _stochastic(jobs):
    plan = make_plan(jobs, on_nonfinite="report")
    return replace(plan, recipe=replace(plan.recipe, rounding="stochastic"))


def _round(executor, infos, dtype, seed=5):
    """Round the tensors of a file; return the numbers of each and the report."""
    jobs = [make_job(i.key, COPY, [i], dtype=dtype, seed=seed + n) for n, i in enumerate(infos)]
    sink, report = run(executor, _stochastic(jobs))
    return [value_of(sink.bytes_of(j.key), dtype, j.shape) for j in jobs], report, sink.buffer


def _hard_numbers():
    """Return numbers of every magnitude, and what narrow formats make special."""
    random = np.random.default_rng(0)
    wide = random.integers(0, 2**32, 1 << 16, dtype=np.uint32).view(np.float32)
    near = np.ldexp(random.standard_normal(1 << 16), random.integers(-30, 17, 1 << 16))
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 65504, 65519.99, 65520, 448, 449, 57344, 6e4]
    special += [2.0**-24, 2.0**-25, 2.0**-9, 2.0**-10, 1e-40, 3.39e38, 3.4e38]
    special = np.array(special).astype(np.float32)
    return np.concatenate([wide, near.astype(np.float32), special, -special])


@pytest.mark.parametrize("dtype", NARROW)
def test_bytes_are_the_same_on_every_executor(tmp_path, dtype):
    arrays = [_hard_numbers(), np.ones((3, 1029)) / 3, np.ones(()) / 3, np.ones(0)]
    infos, _ = store(tmp_path / "a.bin", arrays, "F32")
    results = {name: _round(executor, infos, dtype) for name, executor in EXECUTORS.items()}
    first = results.pop("native 1")
    nan = [np.isnan(values) for values in first[0]]
    for values, report, _ in results.values():
        for one, other, where in zip(first[0], values, nan, strict=True):
            np.testing.assert_array_equal(np.isnan(other), where)
            assert np.where(where, 0, one).tobytes() == np.where(where, 0, other).tobytes()
        assert report.nonfinite == first[1].nonfinite


@pytest.mark.parametrize("dtype", NARROW)
def test_result_is_one_of_the_two_neighbours(tmp_path, dtype):
    values = _hard_numbers()
    infos, _ = store(tmp_path / "a.bin", [values], "F32")
    (rounded,), _, _ = _round(NativeExecutor(), infos, dtype)
    nearest = torch.from_numpy(values).to(TORCH[dtype]).double().numpy()
    inside = np.abs(values) <= LARGEST[dtype]
    exact = values[inside].astype(float)
    assert np.all(np.abs(rounded[inside] - exact) < _unit(exact, dtype))
    assert np.all(np.signbit(rounded[~np.isnan(values)]) == np.signbit(values[~np.isnan(values)]))
    if dtype in {"F16", "BF16"}:  # what nearest makes infinite is; nothing else is
        np.testing.assert_array_equal(np.isinf(rounded), np.isinf(nearest))
    else:
        over = ~inside & ~np.isnan(values)
        assert np.all(np.abs(rounded[over]) == LARGEST[dtype])


def _unit(values, dtype):
    """Return the distance of the format's numbers on both sides of each value."""
    forms = {"F16": (10, -14), "BF16": (7, -126), "F8_E4M3": (3, -6), "F8_E5M2": (2, -14)}
    bits, least = forms[dtype]
    exponent = np.maximum(np.frexp(np.abs(values))[1] - 1, least)
    return np.ldexp(1.0, exponent - bits)


@pytest.mark.parametrize("dtype", NARROW)
@settings(max_examples=15, derandomize=True, database=None)
@given(value=st.floats(-440, 440, width=32), seed=st.integers(0, 2**64 - 1))
def test_mean_of_many_roundings_is_the_value(tmp_path_factory, dtype, value, seed):
    count = 40_000
    path = tmp_path_factory.mktemp("rounding") / "a.bin"
    infos, (exact,) = store(path, [np.full(count, value)], "F32")
    (rounded,), _, _ = _round(NativeExecutor(), infos, dtype, seed=seed % 2**64)
    unit = _unit(exact[0], dtype)
    share = exact[0] / unit % 1  # of roundings upwards
    deviation = np.sqrt(share * (1 - share) / count) + 1 / count
    assert abs(rounded.mean() - exact[0]) <= 6 * deviation * unit


@pytest.mark.parametrize("dtype", NARROW)
def test_numbers_of_the_format_stay(tmp_path, dtype):
    width = 1 if dtype.startswith("F8") else 2
    data = np.arange(256**width, dtype=f"<u{width}").tobytes()
    (tmp_path / "a.bin").write_bytes(data)
    infos, _ = store(tmp_path / "empty.bin", [np.empty(256**width)], "F32")
    info = replace(infos[0], dtype=dtype, file=tmp_path / "a.bin", nbytes=len(data))
    (rounded,), _, _ = _round(NativeExecutor(), [info], dtype)
    expected = value_of(data, dtype, rounded.shape)
    inside = np.isfinite(expected)
    assert rounded[inside].tobytes() == expected[inside].tobytes()


def test_draws_follow_the_seed_and_are_no_method_s(tmp_path):
    infos, _ = store(tmp_path / "a.bin", [np.full(4096, 1 / 3)], "F32")
    one, again, other = (_round(NativeExecutor(), infos, "BF16", seed=s)[2] for s in (1, 1, 2))
    assert one == again
    assert one != other
    from bmerge.expr import philox

    draws = philox.rounding(1, 0, 4096), philox.uniform(1, 0, 0, 4096)
    assert abs(np.corrcoef(*draws)[0, 1]) < 0.1


@pytest.mark.parametrize("dtype", ["F32", "F64"])
def test_wide_formats_are_not_rounded(tmp_path, dtype):
    infos, (exact,) = store(tmp_path / "a.bin", [np.full(100, 1 / 3)], "F32")
    for executor in EXECUTORS.values():
        np.testing.assert_array_equal(_round(executor, infos, dtype)[0][0], exact)
