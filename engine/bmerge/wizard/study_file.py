"""The text of a first study: every key that a newcomer may want to change, with what it means."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from importlib import resources
from typing import Any

from bmerge.errors import StudyError
from bmerge.records import dataclass
from bmerge.wizard.models import StudyModels

__all__ = ["Answers", "fewest_trials", "study_text"]

_PLAIN = re.compile(r"[A-Za-z/~][\w .,/-]*(?<! )", re.ASCII)
_WORDS = frozenset(("true", "false", "null"))
_MEANINGS = {
    "addresses": "one, or several that share the work",
    "models_dir": "the folder that it scans for checkpoints",
    "workflow": "see docs/generators.md",
}


@dataclass(frozen=True, slots=True)
class Answers:
    """What was asked for.

    Args:
        name: of the study.
        models: that are merged.
        method: that merges them.
        generator: name of what paints.
        options: of it.
        scorers: names of what judges.
        prompts: of the pictures; none takes some of bmerge's own.
        pictures: of every trial.
        trials: in all.

    Raises:
        StudyError: if the trials that every study has leave none to the search.
    """

    name: str
    models: StudyModels
    method: str
    generator: str
    scorers: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    prompts: tuple[str, ...] = ()
    pictures: int = 12
    trials: int = 40

    def __post_init__(self) -> None:
        """Look whether the trials are enough."""
        least = fewest_trials(self.models)
        if self.trials < least:
            message = (
                f"{self.trials} trials are too few: the models as they are and their even merge"
            )
            raise StudyError(
                f"{message} take {self.baselines}, the search 2", hint=f"take {least} or more"
            )

    @property
    def baselines(self) -> int:
        """Number of trials before the search: each model, and their even merge."""
        return _baselines(self.models)


def _baselines(models: StudyModels) -> int:
    return len(models.paths) + 1


def fewest_trials(models: StudyModels) -> int:
    """Return how few trials a study may have: those before the search, and two of it."""
    return _baselines(models) + 2


def study_text(answers: Answers) -> str:
    """Return the study file; ``bmerge run`` takes it as it is.

    Args:
        answers: to be written down.
    """
    return "\n".join(
        [
            f"# A study for bmerge: which merge of {len(answers.models.paths)} models paints best?",
            "# bmerge run FILE --check looks whether all is well, bmerge run FILE runs it.",
            "# Every key: docs/files.md. An editor that knows JSON schemas completes keys by what",
            "# `bmerge schema study` prints.",
            "",
            f"name: {_word(answers.name)}  # its folder is runs/{answers.name}",
            "",
            *_merge(answers),
            "",
            *_space(answers),
            "",
            *_payloads(answers),
            "",
            *_generator(answers),
            "",
            *_scorers(answers),
            "",
            *_optimiser(answers),
            "",
        ]
    )


def _merge(answers: Answers) -> Iterator[str]:
    models = answers.models
    yield "merge:"
    yield f"  method: {answers.method}  # `bmerge methods` lists others"
    yield f"  models:  # {models.architecture.name}"
    yield from (f"    - {_word(str(path))}" for path in models.paths)
    yield "  dtype: fp16  # of the merged file"


def _space(answers: Answers) -> Iterator[str]:
    count = answers.models.blocks
    yield f"# space:  # each of the {count} blocks is searched by itself from 0 to 1; or else:"
    yield "#   alpha: {per: single}  # one value for the whole model: 10 trials may be enough"
    yield "#   alpha: {range: [0.2, 0.8]}  # not all the way to either model"


def _payloads(answers: Answers) -> Iterator[str]:
    settings = answers.models.settings
    prompts, seeds = _pictures(answers)
    yield "payloads:  # the pictures of every trial, the same for all"
    yield "  defaults:"
    yield f"    steps: {settings.steps}"
    yield f"    cfg: {settings.cfg:g}"
    yield f"    width: {settings.side}"
    yield f"    height: {settings.side}"
    if settings.negative:
        yield f"    negative_prompt: {settings.negative}"
    yield f"  seeds: {seeds}  # each prompt with each of them"
    yield "  prompts:  # what you want the merge to be good at"
    yield from (f"    - {_word(prompt)}" for prompt in prompts)


def _pictures(answers: Answers) -> tuple[Sequence[str], list[int]]:
    """Return prompts and seeds that make as many pictures as are wanted, or just more."""
    prompts: Sequence[str] = answers.prompts
    if not prompts:
        file = resources.files("bmerge.wizard").joinpath("prompts.txt")
        prompts = file.read_text(encoding="utf-8").splitlines()[: answers.pictures]
    seeds = -(-answers.pictures // len(prompts))
    return prompts, [1000 + i for i in range(max(1, seeds))]


def _generator(answers: Answers) -> Iterator[str]:
    yield "generator:  # what paints; see `bmerge generators`"
    yield f"  name: {answers.generator}"
    for name, value in answers.options.items():
        meaning = f"  # {_MEANINGS[name]}" if name in _MEANINGS else ""
        yield f"  {name}: {_word(value)}{meaning}"


def _scorers(answers: Answers) -> Iterator[str]:
    yield "scorers:  # what judges; see `bmerge scorers`"
    yield from (f"  - {{name: {name}}}" for name in answers.scorers)
    if "person" in answers.scorers:
        yield "# You judge: `bmerge rate` opens the page in the browser while the study runs."


def _optimiser(answers: Answers) -> Iterator[str]:
    searched = answers.trials - answers.baselines
    first = max(1, min(answers.trials // 4, searched - 1))
    yield "optimiser:  # what proposes merges; see `bmerge optimisers`"
    yield "  name: auto"
    yield f"  init_points: {first}  # spread evenly over all that is possible"
    yield f"  n_iters: {searched - first}  # proposed, each from all results so far"


def _word(value: Any) -> str:
    """Return a value as YAML: JSON is, and text is plain where that means the same."""
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)
