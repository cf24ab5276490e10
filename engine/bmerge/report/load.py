"""From a study's folder to :class:`~bmerge.report.data.ReportData`.

The only place of the report that knows how studies are stored. It reads while a run may still
be writing; trials in flight are left out.
"""

from __future__ import annotations

import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from bmerge.architectures import builtin
from bmerge.errors import BmergeError
from bmerge.evaluate.pictures import picture_file
from bmerge.pipeline import model_taken
from bmerge.recipe import load_recipe
from bmerge.recipe.schema import BlockWeights, ModelRef, Recipe
from bmerge.report.data import Candidate, ReportData, Role, Shot, TrialRow, WeightMap
from bmerge.study.baselines import model_name
from bmerge.study.best import front_recipe
from bmerge.study.choices import PREFIX
from bmerge.study.expected import expected
from bmerge.study.importance import importances
from bmerge.study.objective import Objective, Objectives, Scale
from bmerge.study.proof import load_proof
from bmerge.study.stored import StoredStudy, read_study
from bmerge.study.trial import Trial, best_of, front_of
from bmerge.study.winner import winner_of

__all__ = ["load_report_data"]

_FEWEST = 8  # pictures, for an interval to mean something
_RECIPE = Path("best", "recipe.yaml")
_DISTRIBUTIONS = ("bmerge", "torch", "optuna", "nevergrad", "bayesian-optimization", "numpy")


def load_report_data(study_dir: Path) -> ReportData:
    """Read a study's folder.

    Args:
        study_dir: the folder; its study may be running or finished.

    Raises:
        StudyError: if the folder holds no study, or not one as bmerge stores it.
    """
    study = read_study(study_dir)
    with expected(f"the study in {study_dir}"):
        return _data(study_dir, study)


def _data(study_dir: Path, study: StoredStudy) -> ReportData:
    definition = study.attributes["definition"]
    trials = [trial for trial in study.trials.values() if trial.state != "running"]
    best = winner_of(study.trials, study.objectives)
    lost: list[str] = []
    stored = _stored_recipe(study_dir, lost)
    recipe = stored if _is_of(stored, best, definition["merge"]["models"]) else None
    names = _model_names(definition, recipe, best)
    reader = _Reader(study, definition, names, study.objectives.scale(study.trials), lost)
    return ReportData(
        title=study.name,
        method=definition["merge"]["method"],
        objective=_objective(study.objectives),
        models=reader.models,
        candidates=tuple(reader.candidates(trials, best)),
        trials=tuple(reader.rows(trials)),
        blocks=_blocks(definition["space"]["blocks"]),
        weights=tuple(reader.weights(best, trials)) if best else (),
        recipe=(study_dir / _RECIPE).read_text(encoding="utf-8") if recipe else "",
        versions=_versions(),
        commands=tuple(_commands(study_dir, study, has_recipe=recipe is not None)),
        objectives=reader.objectives,
        lost=tuple(dict.fromkeys(lost)),
        winner=best.number if best else None,
        proof=load_proof(study_dir, reader.scale),
        importances=importances(trials, best, _numbers(definition["space"])) if best else (),
    )


@dataclass(frozen=True, slots=True)
class _Reader:
    """A stored study with what is needed to name its parts."""

    study: StoredStudy
    definition: Mapping[str, Any]
    models: tuple[str, ...]
    scale: Scale
    lost: list[str]

    @property
    def objectives(self) -> tuple[str, ...]:
        """Names of the objectives, where there are several."""
        names = self.study.objectives.names
        return names if len(names) > 1 else ()

    def rows(self, trials: Sequence[Trial]) -> Iterable[TrialRow]:
        """Yield the trials as the table shows them."""
        front = {trial.number for trial in front_of(self.study.trials)}
        for trial in trials:
            objectives = dict(zip(self.objectives, trial.scores, strict=False))
            yield _row(trial, objectives, on_front=trial.number in front)

    def candidates(self, trials: Sequence[Trial], best: Trial | None) -> Iterable[Candidate]:
        """Yield the parents, the best uniform merge that is no parent, and the best merge."""
        parents = [t for t in trials if _parent(t) is not None and t.state == "complete"]
        for trial in parents:
            yield self._candidate("parent", self._parent_label(trial), trial)
        uniform = {t.number: t for t in trials if _uniform(t) and _parent(t) is None}
        if (middle := best_of(uniform)) is not None:
            values = (f"{w.default:g}" for w in middle.proposal.weights.values())
            yield self._candidate("uniform", f"uniform {', '.join(values)}", middle)
        if best is not None:
            yield self._candidate("best", "best", best)

    def weights(self, best: Trial, trials: Sequence[Trial]) -> Iterable[WeightMap]:
        """Yield each hyperparameter of the best trial with its colour scale."""
        for name, weights in best.proposal.weights.items():
            low, high = self._range(name, weights)
            means = self._meanings(name, trials)
            yield WeightMap(name, weights, low, high, means.get(low, ""), means.get(high, ""))

    def _range(self, name: str, weights: BlockWeights) -> tuple[float, float]:
        """Return the least and greatest value that the study could give a hyperparameter."""
        bounds = self.definition["space"]["parameters"]
        values = [weights.default] if not weights.blocks else list(weights.blocks.values())
        for source in self.definition["space"]["blocks"][name].values():
            values += bounds[source] if isinstance(source, str) else [source]
        return min(values), max(values)

    def _meanings(self, name: str, trials: Sequence[Trial]) -> dict[float, str]:
        """Return the values of the only hyperparameter at which the merge is a pure model."""
        return {
            trial.proposal.weights[name].default: self._parent_label(trial)
            for trial in trials
            if _parent(trial) is not None and list(trial.proposal.weights) == [name]
        }

    def _parent_label(self, trial: Trial) -> str:
        index = _parent(trial)
        if index is None or index >= len(self.models):
            return trial.proposal.source
        return self.models[index]

    def _candidate(self, role: Role, label: str, trial: Trial) -> Candidate:
        assert trial.score is not None
        payloads = {payload["id"]: payload for payload in self.definition["payloads"]}
        shots = {}
        for picture in trial.pictures:
            file = picture_file(self.study.folder, picture["file"])
            if file is None:
                self.lost.append(picture["file"])
                continue
            prompt, own = payloads[picture["id"]]["prompt"], self.scale.picture(picture)
            shots[picture["id"]] = Shot(prompt, picture["seed"], own, file, picture["file"])
        return Candidate(role, label, trial.score, shots, self._interval(trial))

    def _interval(self, trial: Trial) -> tuple[float, float] | None:
        """Return the 95 % confidence interval of a score, by the spread of its pictures'."""
        if len(trial.pictures) < _FEWEST:
            return None
        parts = self.scale.shares(trial.pictures)
        unit = max(map(abs, parts)) or 1.0  # squares of the numbers themselves might overflow
        parts = [part / unit for part in parts]
        margin = 1.96 * statistics.stdev(parts) / len(parts) ** 0.5
        mean = statistics.fmean(parts)
        return (mean - margin) * unit, (mean + margin) * unit


def _row(trial: Trial, objectives: Mapping[str, float], *, on_front: bool) -> TrialRow:
    proposal = trial.proposal
    phase = {"baseline": "baseline", "try": "tried by hand"}.get(proposal.phase, proposal.source)
    return TrialRow(
        number=trial.number,
        phase=phase,
        score=trial.score,
        scores=trial.means,
        parameters=proposal.values or _uniform_values(trial),
        reason=trial.reason,
        objectives=objectives,
        front=on_front,
        pruned=len(trial.pictures) if trial.state == "pruned" else None,
    )


def _parent(trial: Trial) -> int | None:
    """Return the index of the input that a trial is, if it is one."""
    proposal = trial.proposal
    kind, _, letter = proposal.source.partition(" ")
    if proposal.phase != "baseline" or kind != "model":
        return None
    # Earlier releases had hyperparameters that mean the model, and its letter.
    return ord(letter[:1] or "a") - ord("a") if proposal.model is None else proposal.model


def _uniform(trial: Trial) -> bool:
    """Tell whether every block has the same weights."""
    own = trial.proposal.recipe is None
    return own and all(weights.is_uniform for weights in trial.proposal.weights.values())


def _uniform_values(trial: Trial) -> dict[str, float]:
    """Return the hyperparameters of a trial that lies outside the search space."""
    return {name: w.default for name, w in trial.proposal.weights.items() if not w.blocks}


def _numbers(space: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Return parameter → range, of those that are numbers and no choices."""
    kinds = space.get("kinds", {})
    return {
        name: (low, high)
        for name, (low, high) in space["parameters"].items()
        if kinds.get(name, ["float"])[0] not in ("categorical", "simplex")
    }


def _blocks(space: Mapping[str, Mapping[str, object]]) -> tuple[str, ...]:
    """Return the study's blocks, in the order of the smallest architecture that has them all."""
    present = list(dict.fromkeys(block for blocks in space.values() for block in blocks))
    fitting = [a.blocks for a in builtin() if set(present) <= set(a.blocks)]
    order = min(fitting, key=len, default=tuple(present))
    return tuple(block for block in order if block in present)


def _objective(objectives: Objectives) -> str:
    """Return the objectives as formulas over scorers' labels."""
    words = {"none": "", "zscore": ", scores as z-scores", "rank": ", scores as ranks"}
    texts = [_formula(one) for one in objectives.sums]
    if len(texts) > 1:
        texts = [f"{one.name} ({text})" for one, text in zip(objectives.sums, texts, strict=True)]
    return " and ".join(texts) + words[objectives.normalise]


def _formula(objective: Objective) -> str:
    return " + ".join(
        label if weight == 1 else f"{weight:g} × {label}"
        for label, weight in objective.weights.items()
        if weight
    )


def _stored_recipe(study_dir: Path, lost: list[str]) -> Recipe | None:
    """Return the recipe in the folder; one that cannot be read, or lies elsewhere, is lost."""
    path = study_dir / _RECIPE
    if not path.is_file():
        return None
    try:
        if path.resolve().is_relative_to(study_dir.resolve()):
            return load_recipe(path)
    except BmergeError:
        pass
    lost.append(_RECIPE.as_posix())
    return None


def _is_of(recipe: Recipe | None, best: Trial | None, models: Sequence[str]) -> bool:
    """Tell whether a stored recipe is the best trial's; an unfinished run may have an old one.

    Args:
        recipe: the stored one.
        best: the best trial.
        models: the inputs' identities, which begin with their SHA-256.
    """
    if recipe is None or best is None:
        return False
    if best.proposal.recipe is not None:
        return recipe == best.proposal.recipe
    if best.proposal.model is None:
        # choices travel with the weights; the recipe has them where they belong
        weights = best.proposal.weights
        own = {name: w for name, w in weights.items() if not name.startswith(PREFIX)}
        given = dict(recipe.hyperparameters)
        return given == (own if len(own) == len(weights) else {n: own.get(n) for n in given})
    taken = model_taken(recipe)
    return taken is not None and models[best.proposal.model].startswith(taken.sha256 or "unknown")


def _model_names(
    definition: Mapping[str, Any], recipe: Recipe | None, best: Trial | None
) -> tuple[str, ...]:
    """Return the inputs' short names: their files', if the recipe tells, else their letters."""
    count = len(definition["merge"]["models"])
    names = [f"model {model_name(index)}" for index in range(count)]
    if recipe is None or best is None or best.proposal.recipe is not None:
        return tuple(names)
    if best.proposal.model is None:
        return tuple(map(_model_name, recipe.models))
    names[0] = _model_name(recipe.models[0])  # of a model as it is, the recipe has no others
    if best.proposal.model:
        names[best.proposal.model] = _model_name(recipe.models[-1])
    return tuple(names)


def _model_name(model: ModelRef) -> str:
    return " + ".join(
        Path(path).stem for path in (model.path, *(lora.path for lora in model.loras))
    )


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in _DISTRIBUTIONS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _commands(folder: Path, study: StoredStudy, *, has_recipe: bool) -> Iterable[tuple[str, str]]:
    if has_recipe:
        command = f"bmerge merge {folder / _RECIPE} -o best.safetensors"
        yield "The best checkpoint again, the same bytes:", command
    for trial in front_of(study.trials):
        if (path := front_recipe(folder, trial)).is_file():
            text = f"Trial {trial.number} of the front:"
            yield text, f"bmerge merge {path} -o trial-{trial.number}.safetensors"
    yield "This page again:", f"bmerge report {folder}"
