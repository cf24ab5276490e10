"""Reading a study file, strictly: unknown keys and wrong types are errors with their line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from bmerge.evaluate.payloads import Witnesses
from bmerge.recipe.document import Node, parse_document, read_document
from bmerge.recipe.settings import read_plugins
from bmerge.space.choices import Choices
from bmerge.study_file.choices import read_choices
from bmerge.study_file.config import (
    ConfirmConfig,
    ExecutorConfig,
    GeneratorConfig,
    InitialDesign,
    OptimiserConfig,
    Racing,
    StudyConfig,
)
from bmerge.study_file.evaluators import read_evaluators, read_ray, read_warm_start
from bmerge.study_file.executor import read_executor
from bmerge.study_file.merge import absolute, read_merge
from bmerge.study_file.payloads import read_payloads
from bmerge.study_file.scorers import read_objectives, read_scorers
from bmerge.study_file.space import read_space
from bmerge.trials.limits import UNLIMITED, Limits

__all__ = ["GENERATOR", "OPTIMISER", "TOP", "load_study"]

T = TypeVar("T")

TOP = (
    "name", "merge", "space", "payloads", "generator", "scorers", "normalise", "objectives",
    "optimiser", "baselines", "try", "out", "storage", "executor", "plugins", "patience",
    "racing", "confirm", "evaluators", "choose", "warm_start", "constraints",
)  # fmt: skip
GENERATOR = ("name",)
OPTIMISER = (
    *("name", "seed", "init", "init_points", "n_iters", "trials", "pictures", "minutes"),
    "least_gain",
)
"""Keys of the sections that are not options of plugins."""


def load_study(path: str | Path, text: str | None = None) -> StudyConfig:
    """Read a study file.

    Args:
        path: a YAML file; paths of models in it are relative to its folder, the study's own
            folder (``out``) is relative to the working directory.
        text: what the file is to hold, if it is not to be read.

    Raises:
        RecipeError: if it is not a valid study, with file and line.
    """
    path = Path(path)
    if text is None:
        node = read_document(path, name="the study")
    else:
        node = parse_document(text, path=path, name="the study")
    keys = node.mapping(TOP)
    name = _get(keys, "name", Node.text, path.stem)
    payloads = read_payloads(_need(node, "payloads"), path.parent)
    scorers = read_scorers(_need(node, "scorers"), payloads, weighted="objectives" not in keys)
    return StudyConfig(
        path=path,
        name=name,
        merge=read_merge(_need(node, "merge"), path.parent, spare="choose" in keys),
        choices=_maybe(keys, "choose", partial(_choices, merge=keys["merge"], folder=path.parent)),
        space=_get(keys, "space", read_space, {}),
        payloads=payloads,
        generator=_generator(_need(node, "generator")),
        scorers=scorers,
        objectives=replace(read_objectives(keys, scorers), witnesses=Witnesses.of(payloads)),
        optimiser=_get(keys, "optimiser", _optimiser, OptimiserConfig()),
        baselines=_get(keys, "baselines", Node.boolean, default=True),
        attempts=tuple(_get(keys, "try", partial(_attempts, folder=path.parent), [])),
        out=Path(_get(keys, "out", Node.text, f"runs/{name}")).expanduser(),
        storage=_maybe(keys, "storage", Node.text),
        executor=_get(keys, "executor", read_executor, ExecutorConfig()),
        plugins=_get(keys, "plugins", read_plugins, ()),
        patience=_get(keys, "patience", _minutes, 30.0),
        racing=_get(keys, "racing", _racing, "auto"),
        confirm=_get(keys, "confirm", partial(_confirm, folder=path.parent), ConfirmConfig()),
        evaluators=_get(keys, "evaluators", read_evaluators, ({},)),
        ray=_maybe(keys, "evaluators", read_ray),
        warm_start=_maybe(keys, "warm_start", read_warm_start),
    )


def _need(node: Node, key: str) -> Node:
    """Return the node of a key that must be there."""
    keys = node.mapping()
    if key not in keys:
        raise node.error(f"{node.name} needs the key {key!r}")
    return keys[key]


def _maybe(keys: Mapping[str, Node], key: str, read: Callable[[Node], T]) -> T | None:
    """Read a key; None where it is absent or null."""
    node = keys.get(key)
    return None if node is None or node.value is None else read(node)


def _get(keys: Mapping[str, Node], key: str, read: Callable[[Node], T], default: T) -> T:
    """Read a key; ``default`` where it is absent or null."""
    value = _maybe(keys, key, read)
    return default if value is None else value


def _choices(node: Node, merge: Node, folder: Path) -> Choices:
    return read_choices(node, merge, partial(read_merge, folder=folder, spare=True))


def _generator(node: Node) -> GeneratorConfig:
    return GeneratorConfig(_need(node, "name").text(), _options(node, GENERATOR))


def _optimiser(node: Node) -> OptimiserConfig:
    keys = node.mapping()
    default = OptimiserConfig()
    limits = Limits(
        trials=_maybe(keys, "trials", _one_or_more),
        pictures=_maybe(keys, "pictures", _one_or_more),
        minutes=_maybe(keys, "minutes", _minutes),
    )
    design = _maybe(keys, "init", lambda n: n.text(("random", "lhs", "sobol")))
    return OptimiserConfig(
        name=_get(keys, "name", Node.text, default.name),
        seed=_get(keys, "seed", _count, default.seed),
        init=cast("InitialDesign", design or default.init),
        init_points=_get(keys, "init_points", _count, default.init_points),
        n_iters=_maybe(keys, "n_iters", _count)
        if limits != UNLIMITED or "n_iters" in keys
        else default.n_iters,
        limits=limits,
        least_gain=_maybe(keys, "least_gain", _least_gain),
        options=_options(node, OPTIMISER),
    )


def _count(node: Node) -> int:
    return node.integer(least=0)


def _one_or_more(node: Node) -> int:
    return node.integer(least=1)


def _least_gain(node: Node) -> float:
    gain = node.number()
    if not gain > 0:
        raise node.error(f"{node.name} must be above 0, not {gain:g}")
    return gain


def _minutes(node: Node) -> float:
    minutes = node.number()
    if not minutes >= 0:
        raise node.error(f"{node.name} must be 0 or more, not {minutes:g}")
    return minutes


def _confirm(node: Node, folder: Path) -> ConfirmConfig:
    keys = node.mapping(("pictures", "models"))
    models = _maybe(keys, "models", Node.texts) or ()
    return ConfirmConfig(
        pictures=_maybe(keys, "pictures", _count),
        models=tuple(absolute(model, folder) for model in models),
    )


def _racing(node: Node) -> Racing:
    if isinstance(node.value, bool):  # what YAML makes of the words on and off
        return "on" if node.value else "off"
    return cast("Racing", node.text(("auto", "on", "off")))


def _attempts(node: Node, folder: Path) -> list[Mapping[str, Any] | Path]:
    return [_attempt(item, folder) for item in node.sequence()]


def _attempt(node: Node, folder: Path) -> Mapping[str, Any] | Path:
    """Return hyperparameters; or the file of a model or a recipe, which stands as a text alone."""
    if isinstance(node.value, str):
        return Path(absolute(node.text(), folder))
    return {key: item.plain() for key, item in node.mapping().items()}


def _options(node: Node, known: tuple[str, ...]) -> dict[str, Any]:
    """Return the other keys as a plugin's options; the plugin's signature judges them."""
    return {key: n.plain() for key, n in node.mapping().items() if key not in known}
