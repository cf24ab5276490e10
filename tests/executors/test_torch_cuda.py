"""The torch executor on a GPU: the bytes of the native executor."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch

import oracle
from bmerge.executors import NativeExecutor
from bmerge.executors.torch import TorchExecutor
from raw_plans import TORCH, make_job, make_plan, run, store

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


@pytest.mark.parametrize("vram", [None, 1 << 20], ids=["whole tensors", "parts"])
@pytest.mark.parametrize("dtype", TORCH)
@pytest.mark.parametrize("name", oracle.METHODS)
def test_methods_give_the_bytes_of_the_native_executor(tmp_path, name, dtype, vram):
    random = np.random.default_rng(3)
    shapes = [*oracle.SHAPES.values(), (640, 1283)]
    models = [
        store(tmp_path / f"{model}.bin", [random.standard_normal(s) for s in shapes], dtype)[0]
        for model in range(oracle.N_MODELS[name])
    ]
    module = importlib.import_module(f"bmerge_plugins.methods.{name}")
    graph = getattr(module, name).graph(len(models))
    jobs = [
        make_job(f"{i} {values}", graph, inputs, values.values(), dtype=dtype)
        for values in oracle.METHODS[name]
        for i, inputs in enumerate(zip(*models, strict=True))
    ]
    plan = make_plan(jobs)
    native, _ = run(NativeExecutor(), plan)
    cuda, report = run(TorchExecutor("cuda", vram=vram), plan)
    assert report.executor == "torch (cuda)"
    assert cuda.buffer == native.buffer
