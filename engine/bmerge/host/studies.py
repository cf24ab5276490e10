"""From a study file's names to a study that can run: models opened, plugins constructed.

Everything that can be wrong with a study is found here, before any work is done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from bmerge.architectures import Architecture
from bmerge.errors import PluginError, StudyError
from bmerge.evaluate.evaluation import Evaluator
from bmerge.executors import Executor
from bmerge.formats import Checkpoint, checkpoint_sha256
from bmerge.host.choosing import chosen_data, merger_maker, search_space
from bmerge.host.ingredients import block_map, code_of
from bmerge.host.merges import inputs_of, open_models, with_hashes
from bmerge.host.outside import outside_plan, outside_recipe
from bmerge.host.registry import Registry
from bmerge.host.study_kinds import StudyKinds
from bmerge.host.study_queue import given_proposals, queue_of, weights_of_try, whole_recipes
from bmerge.lora.patched import loras_of
from bmerge.pipeline import TAKES, Merger
from bmerge.plan import Plan, build_plan, match_tensors
from bmerge.recipe import PluginRef
from bmerge.storage.definition import definition_of
from bmerge.storage.sections import ArchitectureDefinition
from bmerge.storage.stored import read_study
from bmerge.storage.warm import warm_points
from bmerge.study.study import PreparedStudy, Workplace
from bmerge.study_file.config import StudyConfig

__all__ = ["build_evaluator", "build_study", "model_identity", "stored_plugins", "take_up"]


def build_study(
    config: StudyConfig,
    registry: Registry,
    *,
    folder: Path,
    choose: Callable[[Plan], Executor],
    evaluator: Evaluator | None = None,
) -> PreparedStudy:
    """Make the study that a study file describes.

    Args:
        config: what the file says.
        registry: where its names are looked up.
        folder: where the study is stored.
        choose: picks the executor, given the plan of one of its merges.
        evaluator: to use instead of making the file's own.

    Raises:
        BmergeError: for whatever is wrong with the file, the models or the plugins.
        MissingExtraError: if a library is not installed, before anything is done.
    """
    folder = folder.absolute()  # a plugin may change the working directory
    kinds = StudyKinds(config, registry)
    home = config.path.parent
    inputs = inputs_of(config.merge, open_models(config.merge.models, home), registry, home)
    checkpoints, architecture = inputs.checkpoints, inputs.architecture
    identities = [*map(model_identity, checkpoints)]
    matching = match_tensors(config.merge, checkpoints, architecture, method=kinds.methods)
    search = search_space(config, matching, registry)
    kinds.check_space(search.space)
    kinds.optimiser(search.space, config.optimiser.seed, 1)  # or complain
    warm = warm_points(config.warm_start, folder, search)
    plugins = registry.plugins_of(kinds.methods, architecture.id)
    merge = replace(with_hashes(config.merge, checkpoints), plugins=plugins)
    wholes = tuple(whole_recipes(merge, matching))
    given = tuple(given_proposals(config, architecture, search, registry, warm, wholes))
    recorded = replace(
        kinds.recorded(plugins),
        architecture=_architecture_data(architecture, checkpoints[0], registry),
        tried=tuple(weights_of_try(given)),
        warm=tuple(warm) or None,
        choose=tuple(chosen_data(config.choices, registry)) if config.choices else None,
    )
    plain = partial(
        Merger,
        merge,
        method={TAKES: registry.method(TAKES), **kinds.methods},
        checkpoints=checkpoints,
        architecture=architecture,
        executor=choose(build_plan(config.merge, matching=matching)),
        scratch=config.executor.scratch or folder / "scratch",
        plugins_of_wholes=registry.plugins_of([TAKES], architecture.id),
        plan_other=partial(outside_plan, registry=registry),
        on_start=lambda plan: registry.observe("bmerge_merge_started", plan=plan),
        matching=matching,
    )
    merger = merger_maker(plain, config, search, registry)
    first, *more = [evaluator] if evaluator else kinds.evaluators()
    return PreparedStudy(
        name=config.name,
        folder=folder,
        search=search,
        merger=merger(),
        evaluator=first,
        others=tuple(Workplace(each, merger()) for each in more),
        objectives=config.objectives,
        optimiser=kinds.optimiser,
        optimiser_name=config.optimiser.name,
        seed=config.optimiser.seed,
        queue=queue_of(config, search, given),
        n_iters=config.optimiser.n_iters,
        limits=config.optimiser.limits,
        least_gain=config.optimiser.least_gain,
        definition=definition_of(config, search, identities, kinds.ingredients(recorded)),
        storage=config.storage,
        patience=config.patience,
        racing=config.racing,
        confirm=config.confirm.pictures,
        rivals={name: outside_recipe(Path(name), registry) for name in config.confirm.models},
        file=config.path,
    )


def _architecture_data(
    architecture: Architecture, checkpoint: Checkpoint, registry: Registry
) -> ArchitectureDefinition:
    """Return what results depend on of an architecture: its block map, and a plugin's code."""
    known = registry.architectures
    code = code_of(known, architecture.id) if architecture.id in known else {}
    blocks = block_map(architecture, checkpoint.tensors)
    return ArchitectureDefinition(blocks["id"], blocks["blocks"], code.get("code"))


def model_identity(checkpoint: Checkpoint) -> str:
    """Return the SHA-256 of a model, and that of each LoRA on it with its weights."""
    parts = [checkpoint_sha256(checkpoint)]
    for applied in loras_of(checkpoint):
        digest = checkpoint_sha256(applied.lora.checkpoint)
        parts.append(f"{digest} * {dict(applied.weights)}")
    return " + ".join(parts)


def build_evaluator(config: StudyConfig, registry: Registry) -> Evaluator:
    """Make the generator and the scorers that a study file describes.

    Raises:
        BmergeError: for whatever is wrong with the plugins that the file names.
    """
    return StudyKinds(config, registry).evaluator()


def take_up(registry: Registry, folder: Path) -> tuple[str, ...]:
    """Load the plugins that the study in a folder was begun with, where nobody has named them.

    Args:
        registry: that they are added to.
        folder: of the study, which need not have begun.

    Returns:
        A warning for each that cannot be had.

    Raises:
        StudyError: as :func:`stored_plugins`.
    """
    given = {Path(ref.path).name for ref in registry.files if ref.path}
    warnings = []
    for ref in stored_plugins(folder):
        if ref.path and Path(ref.path).name in given:
            continue  # whether it is the same, the study's definition tells
        try:
            registry.require([ref], f"the study in {folder}")
        except PluginError as error:
            warnings.append(f"{error} ({error.hint})" if error.hint else str(error))
    return tuple(warnings)


def stored_plugins(folder: Path) -> tuple[PluginRef, ...]:
    """Return the plugins that the study in a folder was begun with; none where there is no study.

    A storage that cannot be read says nothing here: whoever opens the study will complain.

    Raises:
        StudyError: if it is locked or does not answer, which has been waited for.
    """
    try:
        return read_study(folder).definition.recorded.plugins or ()
    except StudyError as error:
        if error.blame == "surroundings":
            raise
        return ()
