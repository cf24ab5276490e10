"""What a study file says, as data. Reading one is in :mod:`bmerge.study_file.load`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, Literal

from bmerge.evaluate.protocols import Payload
from bmerge.executors import ExecutorOptions
from bmerge.recipe.schema import PluginRef, Recipe
from bmerge.records import dataclass
from bmerge.space.choices import Choices
from bmerge.study_file.space_entry import HyperparameterSpace
from bmerge.trials.limits import UNLIMITED, Limits
from bmerge.trials.objective import Objectives
from bmerge.trials.tally import Tally

__all__ = [
    "ConfirmConfig",
    "ExecutorConfig",
    "GeneratorConfig",
    "InitialDesign",
    "OptimiserConfig",
    "Racing",
    "RayConfig",
    "ScorerConfig",
    "StudyConfig",
    "WarmStartConfig",
]

InitialDesign = Literal["random", "lhs", "sobol"]
Racing = Literal["auto", "on", "off"]


@dataclass(frozen=True, slots=True)
class GeneratorConfig:
    """Which generator, with which options.

    Args:
        name: of the plugin.
        options: all other keys of the section.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ScorerConfig:
    """One scorer.

    Args:
        name: of the plugin.
        label: by which its scores are stored and shown; the name, if it is not given.
        weight: of its mean in the objective; 0 records it without optimising it.
        only: patterns of ids and tags of the payloads that it judges; empty for all.
        tally: how its scores of a trial's pictures become one number.
        options: all other keys of the section.
    """

    name: str
    label: str
    weight: float = 1.0
    only: tuple[str, ...] = ()
    tally: Tally = "mean"
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OptimiserConfig:
    """Which optimiser, how many trials, and how they begin.

    Args:
        name: of the plugin.
        seed: of the initial design and of the optimiser.
        init: the design of the initial points.
        init_points: how many of them.
        n_iters: how many trials the optimiser proposes after them; None for as many as there may
            be by ``limits``.
        limits: trials, pictures and minutes that the search may take in all.
        least_gain: the search ends once the optimiser expects less of its next proposal.
        options: all other keys of the section.
    """

    name: str = "auto"
    seed: int = 0
    init: InitialDesign = "sobol"
    init_points: int = 10
    n_iters: int | None = 40
    limits: Limits = UNLIMITED
    least_gain: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ConfirmConfig:
    """Fresh pictures on which the winner is compared with its rivals, after the search.

    Args:
        pictures: for all of them together; None for an eighth of the search's, 64 at most; 0 for
            none.
        models: absolute paths of further rivals: models, such as a base, or recipes.
    """

    pictures: int | None = None
    models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RayConfig:
    """Evaluators on a Ray cluster.

    Args:
        number: how many there are.
        address: of the cluster; ``auto`` finds the one that this machine is part of, ``local``
            starts one here.
        cpus: cores that each takes.
        gpus: GPUs that each takes.
        models: folders in which inputs are looked for that do not lie where they lie here.
    """

    number: int
    address: str = "auto"
    cpus: float = 1.0
    gpus: float = 0.0
    models: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class WarmStartConfig:
    """Another study whose best merges are tried first.

    Args:
        study: its folder, as written.
        trials: how many of its merges.
    """

    study: Path
    trials: int = 5


@dataclass(frozen=True, slots=True)
class ExecutorConfig:
    """How merges are executed.

    Args:
        options: those of executors, as on the command line.
        scratch: folder of merged checkpoints for generators that need a file, or None.
    """

    options: ExecutorOptions = field(default_factory=ExecutorOptions)
    scratch: Path | None = None


@dataclass(frozen=True, slots=True)
class StudyConfig:
    """A study file.

    Args:
        path: the file.
        name: of the study.
        merge: method, models (with absolute paths) and the rest of a recipe, without
            hyperparameters.
        space: hyperparameter → what is searched of it.
        choices: what of the merge itself is searched, or None.
        payloads: the pictures of every trial.
        generator: what makes them.
        scorers: what judges them.
        objectives: what is maximised.
        optimiser: what proposes merges.
        baselines: whether the pure models and the centre of the space come first.
        attempts: merges that are tried next: hyperparameter → weights as a recipe has them; or the
            absolute path of a model or a recipe.
        out: the study's folder, as written.
        storage: URL of an Optuna database; None keeps one in the folder.
        executor: what merges.
        plugins: that are loaded for it.
        patience: minutes for which a run waits for a server, a disk or the like.
        racing: whether trials that fall behind the best one are stopped.
        confirm: how the winner is compared with others on fresh pictures.
        evaluators: for each place where trials are evaluated, options of the generator that differ
            there.
        ray: evaluators on a cluster, instead of those; None for none.
        warm_start: another study whose best merges are tried first, or None.
    """

    path: Path
    name: str
    merge: Recipe
    space: Mapping[str, HyperparameterSpace]
    payloads: tuple[Payload, ...]
    generator: GeneratorConfig
    scorers: tuple[ScorerConfig, ...]
    objectives: Objectives
    optimiser: OptimiserConfig
    choices: Choices | None = None
    baselines: bool = True
    attempts: tuple[Mapping[str, Any] | Path, ...] = ()
    out: Path = Path("runs")
    storage: str | None = None
    executor: ExecutorConfig = field(default_factory=ExecutorConfig)
    plugins: tuple[PluginRef, ...] = ()
    patience: float = 30.0
    racing: Racing = "auto"
    confirm: ConfirmConfig = field(default_factory=ConfirmConfig)
    evaluators: tuple[Mapping[str, Any], ...] = ({},)
    ray: RayConfig | None = None
    warm_start: WarmStartConfig | None = None
