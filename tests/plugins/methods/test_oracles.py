"""Every method on every executor, and as the plain function it is, against float64 oracles."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import oracle
from bmerge.executors import NativeExecutor
from bmerge.executors.torch import TorchExecutor
from method_cases import CASES, OFFERED, assert_close, expected
from raw_plans import make_job, make_plan, run, store, value_of

SEED = 11
SHAPES = {name: shape for name, shape in oracle.SHAPES.items() if name != "1000x3"}


def _models(case, shape):
    """Return fine-tunes of one base: near to each other, with changes of all sizes."""
    random = np.random.default_rng(len(shape) + 3)
    base = random.standard_normal(shape)
    changes = [random.standard_normal(shape) * 0.4 for _ in range(case.count)]
    return [(base + change).astype(np.float32) for change in changes]


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_method_matches_the_oracle_on_every_executor(tmp_path, case, dtype):
    stored = [
        store(tmp_path / f"{index}.bin", tensors, dtype)
        for index, tensors in enumerate(
            zip(*(_models(case, s) for s in SHAPES.values()), strict=True)
        )
    ]
    jobs = [
        make_job(
            name, case.method.graph(case.count, case.options), [infos[i] for infos, _ in stored],
            case.scalars, dtype=dtype, seed=SEED,
        )
        for i, name in enumerate(SHAPES)
    ]  # fmt: skip
    plan = make_plan(jobs)
    results = {"torch": run(TorchExecutor("cpu"), plan)[0]}
    if not case.method.opaque:
        results |= {f"native {n}": run(NativeExecutor(threads=n), plan)[0] for n in (1, 3)}
        assert results["native 1"].buffer == results["native 3"].buffer
    for index, job in enumerate(jobs):
        exact = expected(case, [rounded[index] for _, rounded in stored], SEED)
        for label, sink in results.items():
            result = value_of(sink.bytes_of(job.key), dtype, job.shape)
            try:
                assert_close(result, exact, case, dtype)
            except AssertionError as error:
                raise AssertionError(f"{label}, {job.key}: {error}") from error


@pytest.mark.parametrize("case", CASES, ids=str)
def test_method_as_a_function_matches_the_oracle(case):
    models = _models(case, (5, 7))
    tensors = [torch.from_numpy(model) for model in models]
    result = case.method(*tensors, **case.values, **case.options, **case.statistics)
    assert_close(result.expand(5, 7).numpy(), expected(case, models, 0), case, "F32")


def test_every_method_has_a_case():
    assert {case.name for case in CASES} == set(OFFERED) - set(oracle.METHODS)


def test_every_option_of_every_method_has_a_case():
    tried = {(c.name, o, v) for c in CASES for o, v in c.options.items()}
    missing = {
        (method.name, option.name, choice)
        for method in OFFERED.values()
        for option in method.options
        for choice in option.choices
        if choice != option.default and (method.name, option.name, choice) not in tried
    }
    assert missing <= {("breadcrumbs", "normalize", True), ("dare_ties", "normalize", True)}
