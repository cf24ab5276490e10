"""Evaluators on other machines: what they need to rebuild a study from its file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bmerge.executors import ExecutorOptions
from bmerge.host.registry import Registry
from bmerge.recipe import Recipe
from bmerge.study.study import PreparedStudy
from bmerge.study_file.config import ConfirmConfig, StudyConfig

__all__ = ["with_remote_evaluators"]


def with_remote_evaluators(
    study: PreparedStudy, config: StudyConfig, registry: Registry, where: ExecutorOptions
) -> PreparedStudy:
    """Return a study with the evaluators that its file wants elsewhere, if it wants any.

    Args:
        study: that was built of the file.
        config: what the file says.
        registry: the plugins of this process.
        where: options of the command line.
    """
    if config.ray is None:
        return study
    from bmerge.host.ray_evaluators import RayCrew
    from bmerge.host.remote_worker import Job

    merge = _with_hashes(config.merge, study.definition.merge.models)
    stripped = replace(
        config, merge=merge, ray=None, warm_start=None, attempts=(), confirm=ConfirmConfig(0)
    )
    named = {(config.path.parent / ref.path).resolve() for ref in config.plugins if ref.path}
    plugins = {Path(ref.path).resolve() for ref in registry.files if ref.path}
    job = Job(
        config=stripped,
        plugins=tuple(map(str, sorted(plugins - named))),
        definition=study.definition.of_evaluators,
        places=config.ray.models,
        where=where,
    )
    return replace(study, remote=RayCrew(config.ray, job))


def _with_hashes(recipe: Recipe, identities: Sequence[str]) -> Recipe:
    """Return a recipe that insists on its inputs, by what a definition calls them."""
    models = []
    for model, identity in zip(recipe.models, identities, strict=True):
        own, *others = (part.partition(" * ")[0] for part in identity.split(" + "))
        loras = tuple(
            replace(lora, sha256=digest) for lora, digest in zip(model.loras, others, strict=True)
        )
        models.append(replace(model, sha256=own, loras=loras))
    return replace(recipe, models=tuple(models))
