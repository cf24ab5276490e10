"""A study's definition: all that its results depend on, and what to say when it was changed.

It is stored with a new study. A resumed one must have the same, or the trials of before and
after would not be comparable. How many trials there are is not part of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bmerge.errors import StudyError
from bmerge.study.config import StudyConfig
from bmerge.study.space import SearchSpace

__all__ = ["check_definition", "definition_of"]


def definition_of(
    config: StudyConfig, search: SearchSpace, models: Sequence[str]
) -> dict[str, Any]:
    """Return the definition as plain data that survives JSON unchanged.

    Args:
        config: the study file; options of the generator are left out, because an address or a
            batch size may change between runs.
        search: its search space.
        models: identity of each input: the sha256 of its bytes.
    """
    merge = asdict(replace(config.merge, models=()))
    optimiser = asdict(config.optimiser)
    del optimiser["n_iters"]
    definition = {
        "merge": {**merge, "models": list(models)},
        "space": search.describe(),
        "payloads": [asdict(payload) for payload in config.payloads],
        "generator": config.generator.name,
        "scorers": [asdict(scorer) for scorer in config.scorers],
        **config.objectives.describe(),
        "optimiser": optimiser,
        "baselines": config.baselines,
        "try": config.attempts,
    }
    plain: dict[str, Any] = json.loads(json.dumps(definition, default=str))
    return plain


def check_definition(
    stored: Mapping[str, Any], wanted: Mapping[str, Any], folder: Path, *, what: str = "study"
) -> None:
    """Refuse to go on with a study, or ``what`` it is, under another definition.

    Raises:
        StudyError: that names the first difference and what to do.
    """
    for place, before, now in _differences(stored, wanted, ""):
        message = f"the {what} in {folder} was made with another {place}: {before}, now {now}"
        raise StudyError(message, hint=f"set it back, or start a new {what} with another --out")


def _differences(before: Any, now: Any, place: str) -> Iterator[tuple[str, str, str]]:
    """Yield place, old and new value of everything that differs."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys((*before, *now)):
            inner = f"{place}.{key}" if place else str(key)
            yield from _differences(before.get(key), now.get(key), inner)
    elif _is_list(before) and _is_list(now) and len(before) == len(now):
        for index, pair in enumerate(zip(before, now, strict=True)):
            yield from _differences(*pair, f"{place}[{index}]")
    elif before != now:
        yield place, _short(before), _short(now)


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)


def _short(value: object) -> str:
    """Return ``value`` as text that fits a line."""
    text = f"{len(value)} entries" if isinstance(value, list | tuple) else repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
