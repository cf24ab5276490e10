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
from bmerge.errors import ExecutorError
from bmerge.executors import Executor, NativeExecutor
from bmerge.expr import Extent, extent_of
from bmerge.formats import open_checkpoint
from bmerge.method import TAKEN, ContentKind, MergeMethod, OptionValue
from bmerge.pipeline import merge_to_file
from bmerge.plan import Plan, make_plan
from bmerge.recipe import BlockWeights, Content, ModelRef, Recipe
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

    It has a name and a summary; what it can be told is called like no option of ``bmerge merge``,
    which would refuse it; its body can be traced; its hyperparameters' defaults and search
    bounds give finite numbers for ordinary models, one for each element; the Rust core gives the
    same bytes for any number of threads, and so does torch (within one unit in the last place, if
    the body has transcendental functions or sums). A ``@tensor_method`` runs on torch alone and
    must give the same bytes again; it returns floats of the models' shape. All forms that its
    options choose between are checked.

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
    names = [*(h.name for h in method.hyperparameters), *(o.name for o in method.options)]
    for name in names:
        message = f"{name!r} of {method.name} is an option of bmerge merge, or a keyword"
        assert name not in TAKEN, f"{message} of bmerge.merge: nobody could set it there"
    count = models or len(method.model_names) + (3 if method.variadic else 0)
    with tempfile.TemporaryDirectory() as folder:
        for dtype, options in itertools.product(DTYPES, _forms(method)):
            paths = _write_models(Path(folder), count, dtype)
            case = _Case(method, paths, Path(folder), dtype, options)
            for values in _settings(method, count):
                case.check(values)


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


def _forms(method: MergeMethod) -> Iterator[Mapping[str, OptionValue]]:
    """Yield the default options, and those with one other choice."""
    yield {}
    for option in method.options:
        yield from ({option.name: c} for c in option.choices if c != option.default)


def _settings(method: MergeMethod, count: int) -> Iterator[dict[str, float]]:
    """Yield the defaults, and combinations of search bounds and a value between them."""
    numbers = method.hyperparameters_of(count)
    yield {h.name: h.default for h in numbers}
    choices = [(h.low, h.low + 0.3 * (h.high - h.low), h.high) for h in numbers]
    for values in itertools.islice(itertools.product(*choices), 27):
        yield {h.name: value for h, value in zip(numbers, values, strict=True)}


class _Case:
    """One form of a method with models on disk."""

    def __init__(
        self,
        method: MergeMethod,
        models: Sequence[Path],
        folder: Path,
        dtype: str,
        options: Mapping[str, OptionValue],
    ) -> None:
        self.method, self.models, self.folder = method, models, folder
        self.dtype, self.options = dtype, options

    def check(self, values: Mapping[str, float]) -> None:
        """Check one setting of the hyperparameters."""
        from bmerge.executors.torch import TorchExecutor

        where = f"{self.method.name}, {self.dtype}, {dict(values)} {dict(self.options) or ''}"
        plan, torch = self._plan(values), TorchExecutor("cpu")
        result = self._run(plan, torch)
        for key, array in result.items():
            assert np.isfinite(array).all(), f"{where}: {key} is not finite for finite models"
        if self.method.opaque:
            again = self._run(plan, torch)
            _compare(result, again, 0, self.dtype, f"{where}: torch differs the second time")
            return
        native = self._run(plan, NativeExecutor(threads=1))
        graph = self.method.graph(len(self.models), self.options)
        extent = extent_of(graph)
        whole = extent is Extent.ELEMENTS
        assert whole, f"{where}: returns {extent.value}, repeated for all elements"
        exact = graph.ops.isdisjoint(INEXACT)
        ulps = 0 if exact else 1
        _compare(native, result, ulps, self.dtype, f"{where}: torch differs from native")
        for threads in (2, 4):
            more = self._run(plan, NativeExecutor(threads=threads))
            _compare(native, more, 0, self.dtype, f"{where}: {threads} threads differ from one")

    def _plan(self, values: Mapping[str, float]) -> Plan:
        checkpoints = [open_checkpoint(path) for path in self.models]
        recipe = Recipe(
            self.method.name,
            tuple(
                ModelRef(str(path), content=_content(self.method.content_of(index)))
                for index, path in enumerate(self.models)
            ),
            {name: BlockWeights(value) for name, value in values.items()},
            on_nonfinite="report",  # it is this suite that complains
            options=self.options,
            content=_content(self.method.gives),
        )
        return make_plan(
            recipe,
            method=self.method,
            checkpoints=checkpoints,
            architecture=detect(checkpoints[0].tensors, ()),
        )

    def _run(self, plan: Plan, executor: Executor) -> Tensors:
        output = self.folder / "out.safetensors"
        try:
            merge_to_file(plan, output, executor=executor, metadata=False)
        except ExecutorError as error:
            hint = f" ({error.hint})" if error.hint else ""
            message = f"{self.method.name}, {self.dtype}: {error}{hint}"
            raise AssertionError(message) from error
        tensors = read_checkpoint(output)
        output.unlink()
        return tensors


def _content(kind: ContentKind) -> Content:
    return "difference" if kind is ContentKind.DIFFERENCE else "model"


def _compare(one: Tensors, other: Tensors, ulps: int, dtype: str, message: str) -> None:
    for key, array in one.items():
        distance = np.abs(_ordered(array, dtype) - _ordered(other[key], dtype))
        # Where values cancel, a few units of theirs are many of the result's; models' are 0.1.
        unit = 4 * np.spacing(np.abs(array).max(initial=0.1).astype("<f4"))
        near = np.abs(array.astype("<f8") - other[key]) <= ulps * unit
        worst = int(distance.max(initial=0, where=~near))
        assert worst <= ulps, f"{message}: {key} by {worst} units in the last place"


def _ordered(array: np.ndarray[Any, Any], dtype: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return integers that count representable numbers, so that neighbours differ by one."""
    bits = array.view("<i2" if dtype == "F16" else "<i4").astype(np.int64)
    if dtype == "BF16":  # read as float32, whose lower half is 0
        bits >>= 16
    least = -(1 << (31 if dtype == "F32" else 15))
    return np.where(bits < 0, least - bits, bits)
