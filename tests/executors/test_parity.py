"""Every method on every executor: near the float64 oracle, and the same bytes everywhere."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch

import oracle
from bmerge import ops
from bmerge.executors import NativeExecutor
from bmerge.executors.torch import TorchExecutor
from bmerge.expr import trace
from raw_plans import TORCH, make_job, make_plan, run, store, value_of

CASES = [
    pytest.param(name, values, id=f"{name} {' '.join(f'{v:.2g}' for v in values.values())}")
    for name, cases in oracle.METHODS.items()
    for values in cases
]
EXECUTORS = {f"native {n}": NativeExecutor(threads=n) for n in (1, 2, 3, 4)}
EXECUTORS["torch"] = TorchExecutor("cpu")


def _graph(name):
    module = importlib.import_module(f"bmerge_plugins.methods.{name}")
    return getattr(module, name).graph(oracle.N_MODELS[name])


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
@pytest.mark.parametrize(("name", "values"), CASES)
def test_methods_match_the_oracle_on_every_executor(tmp_path, name, values, dtype):
    random = np.random.default_rng(3)
    shapes = list(oracle.SHAPES.values())
    models = [
        store(
            tmp_path / f"{model}.bin",
            [random.standard_normal(shape).astype(np.float32) for shape in shapes],
            dtype,
        )
        for model in range(oracle.N_MODELS[name])
    ]
    graph, scalars = _graph(name), tuple(values.values())
    inputs = [[infos[i] for infos, _ in models] for i in range(len(shapes))]
    jobs = [
        make_job(key, graph, tensors, scalars, dtype=dtype)
        for key, tensors in zip(oracle.SHAPES, inputs, strict=True)
    ]
    plan = make_plan(jobs)
    results = {label: run(executor, plan)[0] for label, executor in EXECUTORS.items()}
    for index, job in enumerate(jobs):
        exact = oracle.terms(name, [rounded[index] for _, rounded in models], values)
        merged = results["torch"].bytes_of(job.key)
        oracle.assert_close(value_of(merged, dtype, job.shape), exact, dtype)
    assert len({bytes(sink.buffer) for sink in results.values()}) == 1


@pytest.mark.parametrize("output", TORCH)
@pytest.mark.parametrize("source", TORCH)
def test_conversions_are_the_same_on_every_executor(tmp_path, source, output):
    width = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}.get(source, 1)
    if width <= 2:  # every number there is
        data = np.arange(256**width, dtype=f"<u{width}").tobytes()
    else:  # random bits, and ties of every narrower format
        random = np.random.default_rng(0)
        kind = "<f4" if width == 4 else "<f8"
        bits = random.integers(0, 2**32, 1 << 15, dtype=np.uint64) << np.uint64(8 * width - 32)
        exponents = random.integers(-30, 17, 1 << 15)
        ties = np.ldexp(random.integers(1, 2048, 1 << 15) / 2, exponents)
        data = bits.astype(f"<u{width}").tobytes() + ties.astype(kind).tobytes()
    (tmp_path / "a.bin").write_bytes(data)
    infos, _ = store(tmp_path / "empty.bin", [np.empty(len(data) // width)], "F32")
    info = type(infos[0])("t", source, infos[0].shape, tmp_path / "a.bin", 0, len(data))
    job = make_job("t", trace(lambda a: a, 1, []), [info], dtype=output)
    plan = make_plan([job], on_nonfinite="report")
    native, native_report = run(NativeExecutor(), plan)
    eager, eager_report = run(TorchExecutor(), plan)
    one, other = (value_of(sink.bytes_of("t"), output, job.shape) for sink in (native, eager))
    np.testing.assert_array_equal(np.isnan(one), np.isnan(other))  # a NaN's other bits are free
    assert (
        np.where(np.isnan(one), 0, one).tobytes() == np.where(np.isnan(other), 0, other).tobytes()
    )
    assert native_report.nonfinite == eager_report.nonfinite


@pytest.mark.parametrize("axis", [None, 0, -1, "filter"])
@pytest.mark.parametrize("name", ["sum", "mean", "vector_norm", "min", "max", "vecdot"])
def test_reductions_are_the_same_to_one_unit_in_float32(tmp_path, name, axis):
    def body(a, b):
        args = (a, b) if name == "vecdot" else (a,)
        return b + getattr(ops, name)(*args, axis=axis)

    random = np.random.default_rng(1)
    shapes = [shape for shape in oracle.SHAPES.values() if 0 not in shape]
    arrays = [[random.standard_normal(s).astype(np.float32) for s in shapes] for _ in range(2)]
    models = [store(tmp_path / f"{i}.bin", arrays[i], "F32")[0] for i in range(2)]
    graph = trace(body, 2, [])
    jobs = [make_job(str(i), graph, [m[i] for m in models]) for i in range(len(shapes))]
    native, eager = (
        run(executor, make_plan(jobs))[0] for executor in (NativeExecutor(), TorchExecutor())
    )
    for job in jobs:
        one, other = (value_of(s.bytes_of(job.key), "F32", job.shape) for s in (native, eager))
        np.testing.assert_array_max_ulp(one.astype(np.float32), other.astype(np.float32), maxulp=1)


def test_random_numbers_are_the_same_on_every_executor(tmp_path):
    graph = trace(lambda a: ops.random_uniform(a) + 2 * ops.random_normal(a, stream=7), 1, [])
    infos, _ = store(tmp_path / "a.bin", [np.zeros((3, 1029)), np.zeros(5)], "F32")
    jobs = [make_job(i.key, graph, [i], seed=2**63 + n) for n, i in enumerate(infos)]
    plan = make_plan(jobs)
    native = run(NativeExecutor(), plan)[0]
    eager = run(TorchExecutor(), plan)[0]
    one, other = (value_of(s.bytes_of("t0"), "F32", (3, 1029)) for s in (native, eager))
    np.testing.assert_array_max_ulp(one.astype(np.float32), other.astype(np.float32), maxulp=1)
    assert np.mean(one == other) > 0.999
    assert torch.tensor(one).std() > 1


def test_models_and_hyperparameters_may_go_unused(tmp_path):
    def body(a, b, c, *, alpha, beta):
        return b * alpha

    infos, values = store(tmp_path / "a.bin", [np.arange(5.0)] * 3, "F32")
    job = make_job("t", trace(body, 3, ["alpha", "beta"]), infos, (0.5, 9.0))
    for executor in EXECUTORS.values():
        sink, report = run(executor, make_plan([job]))
        np.testing.assert_array_equal(value_of(sink.bytes_of("t"), "F32", (5,)), values[1] / 2)
        assert report.bytes_read == infos[1].nbytes


@pytest.mark.parametrize("executor", EXECUTORS.values(), ids=EXECUTORS)
@pytest.mark.parametrize("name", ["minimum", "maximum"])
def test_the_lesser_and_the_greater_are_nan_if_either_is(tmp_path, name, executor):
    pairs = [(np.nan, 1.0), (1.0, np.nan), (np.nan, np.nan), (2.0, 1.0)]
    columns = [np.array(column, dtype=np.float32) for column in zip(*pairs, strict=True)]
    infos, _ = store(tmp_path / "x.bin", columns, "F32")
    job = make_job("t", trace(getattr(ops, name), 2, []), infos, dtype="F32")
    sink, _ = run(executor, make_plan([job], on_nonfinite="report"))
    found = value_of(sink.bytes_of("t"), "F32", job.shape)
    np.testing.assert_array_equal(found, getattr(np, name)(*columns))
