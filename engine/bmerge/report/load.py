"""From a study's folder to :class:`~bmerge.report.data.ReportData`.

The only place of the report that knows how studies are stored. It reads while a run may still
be writing; trials in flight are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bmerge.architectures import builtin
from bmerge.evaluate.pictures import PictureFinder
from bmerge.findings.understanding import understand
from bmerge.recipe.schema import BlockWeights
from bmerge.records import dataclass
from bmerge.report.data import Candidate, ReportData, Role, Shot, TrialRow, WeightMap
from bmerge.report.provenance import (
    commands,
    family,
    hashes,
    is_of,
    model_names,
    stored_recipe,
    versions,
)
from bmerge.space.expected import expected
from bmerge.storage.stored import StoredStudy, read_study
from bmerge.trials.certainty import score_of
from bmerge.trials.comparison import Comparison, comparison
from bmerge.trials.folder import RECIPE
from bmerge.trials.objective import Objective, Objectives, Scale
from bmerge.trials.picture_record import PictureRecord
from bmerge.trials.proof import load_proof
from bmerge.trials.times import time_of_a_trial, times_in_words
from bmerge.trials.trial import Trial, best_of, front_of
from bmerge.trials.winner import winner_of

__all__ = ["load_report_data"]

_FEWEST = 8  # pictures, for an interval to mean something
_PAIRS = 4  # pictures, for a comparison to mean something


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
    definition = study.definition
    trials = [trial for trial in study.trials.values() if trial.state != "running"]
    best = winner_of(study.trials, study.objectives)
    lost: list[str] = []
    stored = stored_recipe(study_dir, lost)
    recipe = stored if is_of(stored, best, definition.merge.models) else None
    names = model_names(definition, recipe, best)
    scale = study.objectives.scale(study.trials)
    prompts = {payload.id: payload.prompt for payload in definition.payloads}
    reader = _Reader(study, names, scale, PictureFinder(study.folder), prompts, lost)
    known = understand(study)
    data = ReportData(
        title=study.name,
        method=definition.merge.method,
        objective=_objective(study.objectives),
        models=reader.models,
        candidates=tuple(reader.candidates(trials, best)),
        trials=tuple(reader.rows(trials, best)),
        blocks=_blocks(definition.space.blocks),
        weights=tuple(reader.weights(best, trials)) if best else (),
        recipe=(study_dir / RECIPE).read_text(encoding="utf-8") if recipe else "",
        versions=versions(),
        commands=tuple(commands(study_dir, study, has_recipe=recipe is not None)),
        objectives=reader.objectives,
        winner=best.number if best else None,
        proof=load_proof(study_dir, reader.scale),
        importances=known.importances,
        curves=known.curves,
        pairs=known.pairs,
        hashes=tuple(hashes(definition, reader.models)),
        lineage=family(study_dir) if recipe else None,
        times=times_in_words(time_of_a_trial(study.trials.values())),
    )
    return replace(data, lost=tuple(dict.fromkeys(lost)))


@dataclass(frozen=True, slots=True)
class _Reader:
    """A stored study with what is needed to name its parts."""

    study: StoredStudy
    models: tuple[str, ...]
    scale: Scale
    pictures: PictureFinder
    prompts: Mapping[str, str]
    lost: list[str]

    @property
    def objectives(self) -> tuple[str, ...]:
        """Names of the objectives, where there are several."""
        names = self.study.objectives.names
        return names if len(names) > 1 else ()

    def rows(self, trials: Sequence[Trial], best: Trial | None) -> Iterable[TrialRow]:
        """Yield the trials as the table and the gallery show them."""
        front = {trial.number for trial in front_of(self.study.trials)}
        own = {p["id"]: p for p in best.pictures} if best else {}
        for trial in trials:
            row = _row(trial, dict(zip(self.objectives, trial.scores, strict=False)))
            behind = self._behind(own, trial) if trial is not best else None
            shots = self._shots(trial)
            yield replace(row, front=trial.number in front, shots=shots, behind=behind)

    def _behind(self, best: Mapping[str, PictureRecord], trial: Trial) -> Comparison | None:
        """Return how far the best is ahead of a complete trial on the pictures that both have."""
        if trial.state != "complete":
            return None
        own = {p["id"]: p for p in trial.pictures}
        common = [id_ for id_ in best if id_ in own]
        if len(common) < _PAIRS:
            return None
        pairs = [best[i] for i in common], [own[i] for i in common]
        found = comparison(f"trial {trial.number}", self.scale, *pairs)
        return found if found.high < math.inf else None

    def candidates(self, trials: Sequence[Trial], best: Trial | None) -> Iterable[Candidate]:
        """Yield the parents, the best uniform merge that is not a parent, and the best merge."""
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
        space = self.study.definition.space
        values = [weights.default] if not weights.blocks else list(weights.blocks.values())
        for source in space.blocks[name].values():
            values += space.parameters[source] if isinstance(source, str) else [source]
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
        return Candidate(role, label, trial.score, self._shots(trial), self._interval(trial))

    def _shots(self, trial: Trial) -> dict[str, Shot]:
        shots = {}
        for picture in trial.pictures:
            file = self.pictures.find(picture["file"])
            if file is None:
                self.lost.append(picture["file"])
                continue
            prompt, own = self.prompts[picture["id"]], self.scale.picture(picture)
            shots[picture["id"]] = Shot(prompt, picture["seed"], own, file, picture["file"])
        return shots

    def _interval(self, trial: Trial) -> tuple[float, float] | None:
        """Return the 95 % confidence interval of a score, by the spread over its prompts."""
        if len(trial.pictures) < _FEWEST:
            return None
        low, high = score_of(self.scale, trial.pictures).interval
        return (low, high) if high < math.inf else None


def _row(trial: Trial, objectives: Mapping[str, float]) -> TrialRow:
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
        pruned=len(trial.pictures) if trial.state == "pruned" else None,
        broken=trial.broken,
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
    tallies = "".join(f", {tally} of {label}" for label, tally in objectives.tallies.items())
    return " and ".join(texts) + words[objectives.normalise] + tallies


def _formula(objective: Objective) -> str:
    return " + ".join(
        label if weight == 1 else f"{weight:g} × {label}"
        for label, weight in objective.weights.items()
        if weight
    )
