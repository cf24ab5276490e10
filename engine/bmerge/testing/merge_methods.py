"""What every merge method must keep to, checked on small checkpoints.

A method is written once and runs on several executors. This suite holds them against each
other: the Rust core with any number of threads, torch, and the function called as it is.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bmerge.architectures import detect
from bmerge.executors import Executor, NativeExecutor
from bmerge.formats import open_checkpoint
from bmerge.method import MergeMethod
from bmerge.pipeline import merge_to_file
from bmerge.plan import Plan, make_plan
from bmerge.recipe import BlockWeights, ModelRef, Recipe
from bmerge.testing.checkpoints import read_checkpoint, write_checkpoint

__all__ = ["check_merge_method"]

SHAPES: Mapping[str, tuple[int, ...]] = {
    "scalar": (),
    "empty": (0, 3),
    "one": (1,),
    "vector": (67,),
    "matrix": (33, 65),
    "kernel": (5, 3, 3, 3),
}
DTYPES = ("F32", "F16", "BF16")
INEXACT = frozenset(
    {"exp", "log", "sin", "cos", "acos", "tanh", "pow", "random_normal"}
    | {"sum", "mean", "vector_norm", "vecdot"}
)
"""Operations that executors may round differently, by one unit in the last place."""

Tensors = Mapping[str, np.ndarray[Any, Any]]


def check_merge_method(method: MergeMethod, *, models: int | None = None) -> None:
    """Check that a merge method can be used as all others are.

    It has a name and a summary; its body can be traced; its hyperparameters' defaults and search
    bounds give finite numbers for ordinary models; the Rust core gives the same bytes for any
    number of threads, and so does torch (within one unit in the last place, if the body has
    transcendental functions or sums).

    Args:
        method: what ``@merge_method`` made.
        models: how many input models to give it; by default as many as it names, or three if it
            takes any number.

    Raises:
        AssertionError: that says what does not hold.
        MethodError: if the body cannot be traced.
    """
    assert method.name.isidentifier(), f"{method.name!r} must be a word, to be used everywhere"
    assert method.summary, f"{method.name} has no docstring; its first line is shown in listings"
    count = models or len(method.model_names) + (3 if method.variadic else 0)
    graph = method.graph(count)
    exact = graph.ops.isdisjoint(INEXACT)
    with tempfile.TemporaryDirectory() as folder:
        for dtype in DTYPES:
            case = _Case(method, _write_models(Path(folder), count, dtype), Path(folder))
            for values in _settings(method):
                case.check(dtype, values, exact=exact)


def _write_models(folder: Path, count: int, dtype: str) -> list[Path]:
    paths = []
    for index in range(count):
        rng = np.random.default_rng(index)
        tensors = {
            f"layers.0.{name}": rng.normal(0, 0.1, shape).astype("<f4")
            for name, shape in SHAPES.items()
        }
        path = folder / f"{dtype}-{index}.safetensors"
        paths.append(write_checkpoint(path, tensors, dtype=dtype))
    return paths


def _settings(method: MergeMethod) -> Iterator[dict[str, float]]:
    """Yield the defaults, and every combination of search bounds and a value between them."""
    hyperparameters = method.hyperparameters
    yield {h.name: h.default for h in hyperparameters}
    choices = [(h.low, h.low + 0.3 * (h.high - h.low), h.high) for h in hyperparameters]
    for values in itertools.islice(itertools.product(*choices), 27):
        yield {h.name: value for h, value in zip(hyperparameters, values, strict=True)}


class _Case:
    """One method with models on disk."""

    def __init__(self, method: MergeMethod, models: Sequence[Path], folder: Path) -> None:
        self.method, self.models, self.folder = method, models, folder

    def check(self, dtype: str, values: Mapping[str, float], *, exact: bool) -> None:
        """Check one setting of the hyperparameters."""
        from bmerge.executors.torch import TorchExecutor

        where = f"{self.method.name}, {dtype}, {dict(values)}"
        plan = self._plan(values)
        native = self._run(plan, NativeExecutor(threads=1))
        for key, array in native.items():
            assert np.isfinite(array).all(), f"{where}: {key} is not finite for finite models"
        for threads in (2, 4):
            again = self._run(plan, NativeExecutor(threads=threads))
            _compare(native, again, 0, dtype, f"{where}: {threads} threads differ from one")
        torch = self._run(plan, TorchExecutor("cpu"))
        _compare(native, torch, 0 if exact else 1, dtype, f"{where}: torch differs from native")

    def _plan(self, values: Mapping[str, float]) -> Plan:
        checkpoints = [open_checkpoint(path) for path in self.models]
        recipe = Recipe(
            self.method.name,
            tuple(ModelRef(str(path)) for path in self.models),
            {name: BlockWeights(value) for name, value in values.items()},
        )
        return make_plan(
            recipe,
            method=self.method,
            checkpoints=checkpoints,
            architecture=detect(checkpoints[0].tensors, ()),
        )

    def _run(self, plan: Plan, executor: Executor) -> Tensors:
        output = self.folder / "out.safetensors"
        merge_to_file(plan, output, executor=executor, metadata=False)
        tensors = read_checkpoint(output)
        output.unlink()
        return tensors


def _compare(one: Tensors, other: Tensors, ulps: int, dtype: str, message: str) -> None:
    for key, array in one.items():
        distance = np.abs(_ordered(array, dtype) - _ordered(other[key], dtype))
        worst = int(distance.max(initial=0))
        assert worst <= ulps, f"{message}: {key} by {worst} units in the last place"


def _ordered(array: np.ndarray[Any, Any], dtype: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return integers that count representable numbers, so that neighbours differ by one."""
    bits = array.view("<i2" if dtype == "F16" else "<i4").astype(np.int64)
    if dtype == "BF16":  # read as float32, whose lower half is 0
        bits >>= 16
    least = -(1 << (31 if dtype == "F32" else 15))
    return np.where(bits < 0, least - bits, bits)
