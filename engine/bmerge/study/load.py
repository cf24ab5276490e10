"""Reading a study file, strictly: unknown keys and wrong types are errors with their line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

from bmerge.dtypes import canonical
from bmerge.errors import RecipeError
from bmerge.evaluate.protocols import Payload
from bmerge.recipe.schema import ModelRef, OnMissing, OnNonFinite, Recipe
from bmerge.study.config import (
    ExecutorConfig,
    GeneratorConfig,
    InitialDesign,
    OptimiserConfig,
    ScorerConfig,
    StudyConfig,
)
from bmerge.study.document import Section, Value, read_document
from bmerge.study.load_payloads import read_payloads
from bmerge.study.space_config import HyperparameterSpace, Range

__all__ = ["load_study"]


def load_study(path: str | Path) -> StudyConfig:
    """Read a study file.

    Args:
        path: a YAML file; paths of models in it are relative to its folder, the study's own
            folder (``out``) is relative to the working directory.

    Raises:
        RecipeError: if it is not a valid study, with file and line.
    """
    path = Path(path)
    top = read_document(path)
    name = top.get("name", Value.text, path.stem)
    config = StudyConfig(
        path=path,
        name=name,
        merge=top.need("merge", _merge),
        space=top.get("space", _space, {}),
        payloads=top.need("payloads", read_payloads),
        generator=top.need("generator", _generator),
        scorers=top.need("scorers", _scorers),
        optimiser=top.need("optimiser", _optimiser),
        baselines=top.get("baselines", Value.boolean, True),
        attempts=top.get("try", _attempts, ()),
        out=Path(top.get("out", Value.text, f"runs/{name}")),
        storage=top.get("storage", Value.text, None),
        executor=top.get("executor", _executor, ExecutorConfig()),
    )
    top.finish()
    return config


def _merge(value: Value) -> Recipe:
    section = value.section()
    folder = value.path.parent
    architecture = section.get("architecture", Value.text, "auto")
    recipe = Recipe(
        method=section.need("method", Value.text),
        models=section.need("models", lambda v: tuple(_model(m, folder) for m in v.items())),
        dtype=section.get("dtype", _dtype, None),
        architecture=None if architecture == "auto" else architecture,
        seed=section.get("seed", Value.integer, 0),
        on_missing=cast(
            "OnMissing", section.get("on_missing", lambda v: v.choice("keep", "error"), "keep")
        ),
        on_nonfinite=cast(
            "OnNonFinite",
            section.get("on_nonfinite", lambda v: v.choice("error", "report"), "error"),
        ),
    )
    section.finish()
    return recipe


def _model(value: Value, folder: Path) -> ModelRef:
    """Return a model with its absolute path; links stay as they are."""
    if not value.is_section:
        return ModelRef(os.path.abspath(folder / Path(value.text()).expanduser()))
    section = value.section()
    path = section.need("path", Value.text)
    sha256 = section.get("sha256", Value.text, None)
    section.finish()
    return ModelRef(os.path.abspath(folder / Path(path).expanduser()), sha256)


def _dtype(value: Value) -> str:
    try:
        return canonical(value.text())
    except RecipeError as error:
        raise RecipeError(
            str(error), path=value.path, line=value.line, hint=error.hint
        ) from error


def _space(value: Value) -> dict[str, HyperparameterSpace]:
    return {name: _hyperparameter(v) for name, v in value.section().rest().items()}


def _hyperparameter(value: Value) -> HyperparameterSpace:
    section = value.section()
    groups = section.get("groups", lambda v: v.section().rest(), {})
    blocks = section.get("blocks", lambda v: v.section().rest(), {})
    lines = {key: entry.line for key, entry in {**groups, **blocks}.items()}
    space = HyperparameterSpace(
        range=section.get("range", Value.pair, None),
        freeze=section.get("freeze", Value.number, None),
        single=section.get("per", lambda v: v.choice("block", "single"), "block") == "single",
        groups={name: _patterns(entry) for name, entry in groups.items()},
        blocks={name: _setting(entry) for name, entry in blocks.items()},
        path=value.path,
        lines={"": value.line, **lines},
    )
    section.finish()
    return space


def _patterns(value: Value) -> tuple[str, ...]:
    return tuple(v.text() for v in value.items()) if value.is_list else (value.text(),)


def _setting(value: Value) -> float | Range:
    return value.pair() if value.is_list else value.number()


def _generator(value: Value) -> GeneratorConfig:
    section = value.section()
    return GeneratorConfig(section.need("name", Value.text), _options(section))


def _scorers(value: Value) -> tuple[ScorerConfig, ...]:
    scorers = tuple(_scorer(v) for v in value.items())
    labels = [scorer.label for scorer in scorers]
    for entry, label in zip(value.items(), labels, strict=True):
        if labels.count(label) > 1:
            entry.fail(f"has the label {label!r}, as another does", hint="give each a label")
    if not any(scorer.weight for scorer in scorers):
        value.fail("must hold a scorer with a weight other than 0")
    return scorers


def _scorer(value: Value) -> ScorerConfig:
    section = value.section()
    name = section.need("name", Value.text)
    label = section.get("label", Value.text, name)
    weight = section.get("weight", Value.number, 1.0)
    return ScorerConfig(name, label, weight, _options(section))


def _optimiser(value: Value) -> OptimiserConfig:
    section = value.section()
    design = section.get("init", lambda v: v.choice("random", "lhs", "sobol"), "sobol")
    return OptimiserConfig(
        name=section.need("name", Value.text),
        seed=section.get("seed", Value.integer, 0),
        init=cast("InitialDesign", design),
        init_points=section.get("init_points", Value.integer, OptimiserConfig.init_points),
        n_iters=section.get("n_iters", Value.integer, OptimiserConfig.n_iters),
        options=_options(section),
    )


def _attempts(value: Value) -> tuple[dict[str, Any], ...]:
    return tuple(
        {name: v.plain() for name, v in entry.section().rest().items()} for entry in value.items()
    )


def _executor(value: Value) -> ExecutorConfig:
    section = value.section()
    config = ExecutorConfig(
        name=section.get("name", lambda v: v.choice("auto", "native", "torch"), "auto"),
        device=section.get("device", Value.text, None),
        memory=section.get("memory", _size, None),
        vram=section.get("vram", _size, None),
        threads=section.get("threads", lambda v: v.integer(least=1), None),
        scratch=section.get("scratch", lambda v: Path(v.text()).expanduser(), None),
    )
    section.finish()
    return config


def _size(value: Value) -> str:
    """Return a size as text; a bare number is bytes."""
    plain = value.plain()
    return str(plain) if isinstance(plain, int) else value.text()


def _options(section: Section) -> dict[str, Any]:
    """Return what is left as a plugin's options; the plugin's signature judges them."""
    return {name: value.plain() for name, value in section.rest().items()}
