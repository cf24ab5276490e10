"""From a study file's names to a study that can run: models opened, plugins constructed.

Everything that can be wrong with a study is found here, before any work is done.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from bmerge import _native
from bmerge.architectures import Architecture
from bmerge.errors import BmergeError, PluginError, RecipeError, StudyError
from bmerge.evaluate.evaluation import Evaluator, WeightedScorer
from bmerge.evaluate.protocols import DependentScorer, TrialScorer
from bmerge.executors import Executor
from bmerge.expr import reduces_to_input
from bmerge.extras import require
from bmerge.formats import Checkpoint, checkpoint_sha256, in_form
from bmerge.host.ingredients import block_map, code_of, payload_files, section_of
from bmerge.host.loras import add_loras
from bmerge.host.merges import architecture_of, open_models, with_hashes
from bmerge.host.outside import outside_plan, outside_recipe
from bmerge.host.registry import Registry
from bmerge.lora.patched import loras_of
from bmerge.method import MergeMethod
from bmerge.pipeline import TAKES, Merger
from bmerge.plan import Matching, Plan, build_plan, graph_of, match_tensors
from bmerge.recipe import BlockWeights, PluginRef, load_presets, parse_weights, plugin_data
from bmerge.study.baselines import baselines, pure_models
from bmerge.study.config import StudyConfig
from bmerge.study.definition import Ingredients, definition_of
from bmerge.study.protocols import Optimiser, ParameterKind, Space
from bmerge.study.prove import check_provable
from bmerge.study.racing import check_racing
from bmerge.study.space import SearchSpace
from bmerge.study.space_config import build_space
from bmerge.study.store import read_study
from bmerge.study.study import Study, Workplace, initial_proposals
from bmerge.study.trial import Proposal

__all__ = ["build_evaluator", "build_study", "model_identity", "stored_plugins", "take_up"]

_WORDS: Mapping[ParameterKind, str] = {
    "float": "number",
    "log": "number on a logarithmic scale",
    "integer": "whole number",
    "categorical": "choice",
    "simplex": "weight of a simplex",
}


def build_study(
    config: StudyConfig,
    registry: Registry,
    *,
    folder: Path,
    choose: Callable[[Plan], Executor],
    evaluator: Evaluator | None = None,
) -> Study:
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
    kinds = _Kinds(config, registry)
    checkpoints = in_form(open_models(config.merge.models, config.path.parent), config.merge.form)
    architecture = architecture_of(config.merge.architecture, checkpoints, registry)
    checkpoints = add_loras(
        config.merge.models,
        checkpoints,
        architecture,
        config.path.parent,
        partial=config.merge.partial_loras,
    )
    matching = match_tensors(config.merge, checkpoints, architecture, method=kinds.method)
    plan = build_plan(config.merge, matching=matching)
    search = _search_space(config, kinds.method, matching)
    kinds.check_space(search.space)
    kinds.optimiser(search.space, config.optimiser.seed, 1)  # or complain
    queue = tuple(_queue(config, kinds.method, architecture, search))
    plugins = registry.plugins_of([config.merge.method], architecture.id)
    others = {
        "plugins": [plugin_data(ref) for ref in kinds.plugins(plugins)],
        "architecture": _architecture_data(architecture, checkpoints[0], registry),
        "weights of try": _weights_of_try(queue),
    }
    merger = partial(
        Merger,
        replace(with_hashes(config.merge, checkpoints), plugins=plugins),
        method={TAKES: registry.method(TAKES), config.merge.method: kinds.method},
        checkpoints=checkpoints,
        architecture=architecture,
        executor=choose(plan),
        scratch=config.executor.scratch or folder / "scratch",
        plugins_of_wholes=registry.plugins_of([TAKES], architecture.id),
        plan_other=partial(outside_plan, registry=registry),
        on_start=lambda plan: registry.observe("bmerge_merge_started", plan=plan),
    )
    first, *more = [evaluator] if evaluator else kinds.evaluators()
    return Study(
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
        queue=queue,
        n_iters=config.optimiser.n_iters,
        limits=config.optimiser.limits,
        definition=definition_of(
            config, search, [*map(model_identity, checkpoints)], kinds.ingredients(others)
        ),
        storage=config.storage,
        patience=config.patience,
        racing=config.racing,
        confirm=config.confirm.pictures,
        rivals={name: outside_recipe(Path(name), registry) for name in config.confirm.models},
        file=config.path,
    )


def _search_space(config: StudyConfig, method: MergeMethod, matching: Matching) -> SearchSpace:
    """Return what is searched: in the tensors that are made of several models."""
    count = len(config.merge.models)
    keys: dict[str, list[str]] = {}
    for match in matching.matches:
        if match.merged:
            keys.setdefault(match.block, []).append(match.output.key)
    space = method.spread(config.space, count)
    numbers = method.hyperparameters_of(count)
    return build_space(space, numbers, matching.architecture, present=keys, keys=keys)


def _weights_of_try(queue: Iterable[Proposal]) -> list[dict[str, Any]]:
    """Return the block weights of the merges that a person wants to have tried."""
    return [
        {name: weights.assignments for name, weights in proposal.weights.items()}
        for proposal in queue
        if proposal.phase == "try"
    ]


def _architecture_data(
    architecture: Architecture, checkpoint: Checkpoint, registry: Registry
) -> dict[str, Any]:
    """Return what results depend on of an architecture: its block map, and a plugin's code."""
    known = registry.architectures
    code = code_of(known, architecture.id) if architecture.id in known else {}
    return {**block_map(architecture, checkpoint.tensors), **code}


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
    return _Kinds(config, registry).evaluator()


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
        known = read_study(folder).attributes["definition"].get("plugins", ())
        return tuple(PluginRef(**entry) for entry in known)
    except StudyError as error:
        if error.blame == "surroundings":
            raise
        return ()


class _Kinds:
    """The plugins that a study names, found and their options checked, not yet constructed."""

    def __init__(self, config: StudyConfig, registry: Registry) -> None:
        require(("optuna", "scipy", "numpy", "PIL", "jinja2"), "a study")
        self._config = config
        self._registry = registry
        self.method = registry.method(config.merge.method)
        self.method.check_models(len(config.merge.models))
        self._optimiser = registry.optimiser(config.optimiser.name)
        self._generator = registry.generator(config.generator.name)
        self._scorers = [registry.scorer(scorer.name) for scorer in config.scorers]
        self._optimiser.check(config.optimiser.options)
        if len(config.objectives.sums) > 1 and not self._optimiser.several_objectives:
            able = [k.name for k in registry.optimisers.values() if k.several_objectives]
            message = f"the optimiser {self._optimiser.name!r} knows one objective only"
            raise PluginError(
                message, plugin=self._optimiser.name, hint=f"several: {', '.join(sorted(able))}"
            )
        self._generator.check(config.generator.options)
        for kind, scorer in zip(self._scorers, config.scorers, strict=True):
            kind.check(scorer.options)

    def check_space(self, space: Space) -> None:
        """Refuse an optimiser that cannot propose values of every kind in the space."""
        for p in space.parameters:
            if p.kind not in self._optimiser.takes:
                kinds = self._registry.optimisers.values()
                able = sorted(k.name for k in kinds if p.kind in k.takes)
                word = _WORDS[p.kind]
                message = f"the optimiser {self._optimiser.name!r} takes no {word}, as {p.name} is"
                hint = f"these do: {', '.join(able)}"
                raise PluginError(message, plugin=self._optimiser.name, hint=hint)

    def plugins(self, of_merges: Iterable[PluginRef]) -> tuple[PluginRef, ...]:
        """Return all plugins but bmerge's own that take part, and those given by path."""
        config, registry = self._config, self._registry
        origins = [
            registry.generators.origin(config.generator.name),
            registry.optimisers.origin(config.optimiser.name),
            *(registry.scorers.origin(scorer.name) for scorer in config.scorers),
        ]
        refs = (ref for record in origins if record and (ref := record.ref))
        return tuple(dict.fromkeys((*of_merges, *refs, *registry.files)))

    def ingredients(self, others: Mapping[str, Any]) -> Ingredients:
        """Return what the study file only names, with ``others`` that are no plugin's."""
        config, registry = self._config, self._registry
        generator, optimiser = config.generator, config.optimiser
        return Ingredients(
            method=code_of(registry.methods, config.merge.method),
            generator=section_of(registry.generators, generator.name, generator.options),
            scorers=tuple(section_of(registry.scorers, s.name, s.options) for s in config.scorers),
            optimiser=section_of(registry.optimisers, optimiser.name, optimiser.options),
            others={
                "files": payload_files(config.payloads),
                "bmerge": _native.__version__,
                **others,
            },
        )

    def optimiser(self, space: Space, seed: int, budget: int, /) -> Optimiser:
        """Construct the optimiser."""
        return self._optimiser.create(space, seed, budget, options=self._config.optimiser.options)

    def evaluators(self) -> list[Evaluator]:
        """Construct the evaluators of all places; none stays open if one cannot be made."""
        generator = self._config.generator
        section = partial(section_of, self._registry.generators, generator.name)
        every = [{**generator.options, **options} for options in self._config.evaluators]
        for number, options in enumerate(every):
            self._generator.check(options)
            if section(options) != section(generator.options):
                message = f"evaluators[{number}] would make other pictures than the others"
                raise StudyError(message, hint="let only addresses, devices and the like differ")
        made: list[Evaluator] = []
        try:
            for options in every:
                made.append(self.evaluator(options))  # noqa: PERF401  those that are made count
        except BaseException:
            for each in made:
                each.close()
            raise
        return made

    def evaluator(self, options: Mapping[str, Any] | None = None) -> Evaluator:
        """Construct the scorers, then the generator: it alone must be closed.

        Args:
            options: of the generator; None takes the study file's.
        """
        if options is None:
            options = self._config.generator.options
        scorers = tuple(
            WeightedScorer(
                scorer.label,
                math.fsum(o.weights.get(scorer.label, 0.0) for o in self._config.objectives.sums),
                kind.create(options=scorer.options),
                scorer.only,
            )
            for kind, scorer in zip(self._scorers, self._config.scorers, strict=True)
        )
        weighted = any(s.weight for s in scorers if not isinstance(s.scorer, TrialScorer))
        for entry in scorers:
            if isinstance(entry.scorer, DependentScorer):
                entry.scorer.check_others(weighted=weighted)
        if self._config.confirm.pictures:
            check_provable(scorers)
        if self._config.racing == "on":
            check_racing(scorers, self._config.objectives)
        generator = self._generator.create(options=options)
        return Evaluator(generator, scorers, self._config.payloads)


def _queue(
    config: StudyConfig, method: MergeMethod, architecture: Architecture, search: SearchSpace
) -> Iterator[Proposal]:
    """Yield the proposals that need no optimiser: baselines, attempts, initial design."""
    count = len(config.merge.models)
    if config.baselines:
        graph = graph_of(config.merge, method)
        reduces = partial(reduces_to_input, graph)
        groups = method.groups_of(count)
        pure = pure_models(groups, reduces, count, operations=len(graph.nodes))
        yield from baselines(search, pure, count)
    for number, attempt in enumerate(config.attempts, start=1):
        weights = _weights(attempt, method, count, architecture, f"try[{number - 1}]")
        yield Proposal("try", f"try {number}", _values(search, weights), weights)
    design = config.optimiser
    yield from initial_proposals(search, design.init, design.init_points, design.seed)


def _weights(
    attempt: Mapping[str, Any],
    method: MergeMethod,
    n_models: int,
    architecture: Architecture,
    place: str,
) -> dict[str, BlockWeights]:
    weights: dict[str, BlockWeights] = {}
    for name, value in attempt.items():
        try:
            weights[name] = parse_weights(value, architecture, presets=load_presets())
            for number in (weights[name].default, *weights[name].blocks.values()):
                method.validate({name: number}, n_models)
        except BmergeError as error:
            raise RecipeError(f"{place}.{name}: {error}", hint=error.hint) from error
    return method.spread(weights, n_models)


def _values(search: SearchSpace, weights: Mapping[str, BlockWeights]) -> dict[str, float]:
    """Return the point of the space that means ``weights``, or {} where it lies outside."""
    try:
        return search.values(weights)
    except StudyError:
        return {}
