"""A plugin of every kind as somebody types it; type checkers are run over this file, not Python."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from PIL.Image import new as image_new
from typing_extensions import assert_type

import bmerge
from bmerge.v1 import (
    Alike,
    Generator,
    GeneratorKind,
    MergedModel,
    MergeMethod,
    Optimiser,
    OptimiserKind,
    Payload,
    PerModel,
    Picture,
    Range,
    Result,
    Scorer,
    ScorerKind,
    Space,
    Statistic,
    Weight,
    hookimpl,
    merge_method,
    ops,
    tensor_method,
)


def change(a: ops.Tensor, b: ops.Tensor) -> ops.Tensor:
    return ops.vector_norm(b - a)


@merge_method
def halves(
    a: Alike, b: Alike, *, alpha: Weight = 0.5, beta: Annotated[float, Range(0, 2)] = 1.0
) -> Alike:
    return a + alpha * beta * (b - a) / 2


@merge_method(name="many", aliases=("lots",))
def many(*models: Alike, weight: PerModel[Weight] = 1.0) -> Alike:
    return ops.maximum(models[0], models[1])


@merge_method
def steady(a: Alike, b: Alike, *, typical: Annotated[float, Statistic(change, ops.mean)]) -> Alike:
    return a + (b - a) * typical


@tensor_method(needs=("scipy",))
def whole(a: ops.Tensor, b: ops.Tensor, *, alpha: Weight = 0.5) -> ops.Tensor:
    return a + alpha * b


assert_type(halves, MergeMethod)
assert_type(many, MergeMethod)
assert_type(whole, MergeMethod)
assert_type(halves.name, str)
assert_type(Statistic(change, ops.mean).name, str)


class Climb:
    def __init__(self, space: Space, seed: int, budget: int, *, step: float = 0.1) -> None:
        self.space = space

    def ask(self) -> Mapping[str, float]:
        return {p.name: (p.low + p.high) / 2 for p in self.space.parameters}

    def tell(self, result: Result) -> None:
        assert_type(result.values["x"], float)

    def replay(self, results: Sequence[Result]) -> None:
        for result in results:
            self.tell(result)


class Warmth:
    def __init__(self, *, target: float = 1.0) -> None:
        self.target = target

    def score(self, pictures: Sequence[Picture]) -> Sequence[float]:
        return [picture.image.width / self.target for picture in pictures]


class Patch:
    def load(self, model: MergedModel) -> None:
        assert_type(model.file(), Path)

    def generate(self, payloads: Sequence[Payload]) -> Iterator[Picture]:
        for payload in payloads:
            yield Picture(payload, image_new("RGB", (8, 8)))

    def close(self) -> None:
        pass


def of_kinds() -> tuple[Optimiser, Scorer, Generator]:
    """Return what must fit the protocols."""
    return Climb(Space(()), 0, 1), Warmth(), Patch()


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    return [halves, many, steady, whole]


@hookimpl
def bmerge_optimisers() -> Iterable[OptimiserKind]:
    return [OptimiserKind("climb", Climb, "one step", needs=("numpy",))]


@hookimpl
def bmerge_scorers() -> Iterable[ScorerKind]:
    return [ScorerKind("warmth", Warmth, "how warm it is", incidental=("target",))]


@hookimpl
def bmerge_generators() -> Iterable[GeneratorKind]:
    return [GeneratorKind("patch", Patch, "one colour")]


def from_python() -> None:
    """Use what a program uses."""
    assert_type(bmerge.merge("halves", "a", "b", output="c").nbytes, int)
    assert_type(bmerge.Study.load("x").run(trials=3).rows(), list[dict[str, Any]])
    assert_type(bmerge.diff("a", "b").total.relative, float | None)
