"""Differences and weights are float32: a narrow dtype is only how models are stored."""

from __future__ import annotations

import numpy as np
import pytest

from bmerge.executors import NativeExecutor
from bmerge.executors.torch import TorchExecutor
from method_cases import CASES
from raw_plans import make_job, make_plan, run, store

FIRST = {case.name: case for case in reversed(CASES)}


@pytest.mark.parametrize("dtype", ["BF16", "F8_E4M3"])
@pytest.mark.parametrize("case", FIRST.values(), ids=FIRST)
def test_models_of_a_narrow_dtype_merge_as_their_values_do(tmp_path, case, dtype):
    random = np.random.default_rng(8)
    base = random.standard_normal((9, 13))
    arrays = [base + random.standard_normal(base.shape) / 4 for _ in range(case.count)]
    narrow, values = store(tmp_path / "narrow.bin", arrays, dtype)
    wide, _ = store(tmp_path / "wide.bin", values, "F32")
    graph = case.method.graph(case.count, case.options)
    plans = [
        make_plan([make_job("t", graph, infos, case.scalars, seed=3)]) for infos in (narrow, wide)
    ]
    executors = [TorchExecutor("cpu"), *([] if case.method.opaque else [NativeExecutor()])]
    for executor in executors:
        one, other = (run(executor, plan)[0].buffer for plan in plans)
        assert one == other
