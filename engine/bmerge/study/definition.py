"""A study's definition: all that its results depend on, and what to say when it was changed.

It is stored with a new study. A resumed one must have the same, or the trials of before and
after would not be comparable. How many trials there are is not part of it.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bmerge.errors import StudyError, redacted
from bmerge.study.completed import HASH, completed
from bmerge.study.config import StudyConfig
from bmerge.study.space import SearchSpace

__all__ = ["Ingredients", "check_definition", "definition_of"]

_logger = logging.getLogger(__name__)

_DIGITS = 12  # of a hash that are shown
_INNER = re.compile(r"(?<=^generator)\.options|(?<=^optimiser)\.options|(?<=\])\.options|\.text$")
"""Levels of the definition that a study file does not have."""


@dataclass(frozen=True, slots=True)
class Ingredients:
    """What a study file only names, as plain data with hashes of contents.

    Args:
        method: of the merge: its ``code``, if that is a plugin's.
        generator: its ``options`` on which pictures depend, and its ``code``.
        scorers: the same of each scorer, and its ``weights``.
        optimiser: as of the generator.
        others: further entries of the definition.
    """

    method: Mapping[str, Any] = field(default_factory=dict)
    generator: Mapping[str, Any] = field(default_factory=dict)
    scorers: tuple[Mapping[str, Any], ...] = ()
    optimiser: Mapping[str, Any] = field(default_factory=dict)
    others: Mapping[str, Any] = field(default_factory=dict)


def definition_of(
    config: StudyConfig,
    search: SearchSpace,
    models: Sequence[str],
    ingredients: Ingredients | None = None,
) -> dict[str, Any]:
    """Return the definition as plain data that survives JSON unchanged.

    Args:
        config: the study file.
        search: its search space.
        models: identity of each input: the sha256 of its bytes.
        ingredients: what the file only names; options of plugins are taken from it alone,
            because an address or a batch size may change between runs.
    """
    named = ingredients or Ingredients()
    merge = asdict(replace(config.merge, models=()))
    optimiser = asdict(replace(config.optimiser, options={}))
    del optimiser["n_iters"], optimiser["limits"], optimiser["least_gain"]
    scorers = [asdict(replace(scorer, options={})) for scorer in config.scorers]
    sections = named.scorers or ({},) * len(scorers)
    definition = {
        "merge": {**merge, "models": list(models), **named.method},
        "space": search.describe(),
        "payloads": [asdict(payload) for payload in config.payloads],
        "generator": {"name": config.generator.name, **named.generator},
        "scorers": [{**one, **more} for one, more in zip(scorers, sections, strict=True)],
        **config.objectives.describe(),
        "optimiser": {**optimiser, **named.optimiser},
        "baselines": config.baselines,
        "try": [each for each in config.attempts if not isinstance(each, Path)],
        **named.others,
    }
    # A password may change between runs, and must not be stored: plugins may take addresses, too.
    plain: dict[str, Any] = json.loads(redacted(json.dumps(definition, default=str)))
    return plain


def check_definition(
    stored: Mapping[str, Any],
    wanted: Mapping[str, Any],
    folder: Path,
    *,
    what: str = "study",
    accept_changes: bool = False,
) -> dict[str, Any]:
    """Refuse to continue with a study, or ``what`` it is, under another definition.

    Args:
        stored: the definition that it was begun with.
        wanted: the present one.
        folder: where it is.
        what: it is.
        accept_changes: whether another content of a file, of weights or of code is only told.
            Nobody but the user can know whether it matters.

    Returns:
        The definition to be stored from now on: what an earlier release has not recorded is
        taken from ``wanted``.

    Raises:
        StudyError: that names the first difference and what to do.
    """
    known = completed(stored, wanted)
    if known.get("bmerge") != wanted.get("bmerge"):
        message = "the %s in %s was begun with bmerge %s, this is %s: scores may differ for that"
        _logger.warning(message, what, folder, known["bmerge"], wanted["bmerge"])
    own = {key: wanted[key] for key in ("bmerge", "plugins") if key in wanted}
    for place, before, now in _differences(known | own, wanted, ""):
        shown = f"{_INNER.sub('', place)}: {_short(before)}, now {_short(now)}"
        message = f"the {what} in {folder} was made with different {shown}"
        content = HASH in str(before) and HASH in str(now)
        if not (content and accept_changes):
            ways = "set it back, or start a new {} with another --out"
            more = "; --accept-changes continues anyway" if content and what == "study" else ""
            raise StudyError(message, hint=ways.format(what) + more)
        _logger.warning("%s", message)
    return {**wanted, **{key: known[key] for key in ("bmerge",) if key in known}}


def _differences(before: Any, now: Any, place: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield place, old and new value of everything that differs."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys((*before, *now)):
            inner = f"{place}.{key}" if place else str(key)
            yield from _differences(before.get(key), now.get(key), inner)
    elif _is_list(before) and _is_list(now) and len(before) == len(now):
        for index, pair in enumerate(zip(before, now, strict=True)):
            yield from _differences(*pair, f"{place}[{index}]")
    elif before != now:
        yield place, before, now


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)


def _short(value: object) -> str:
    """Return ``value`` as text that fits a line."""
    text = f"{len(value)} entries" if isinstance(value, list | tuple) else repr(value)
    text = re.sub(rf"({HASH}\w{{{_DIGITS}}})\w+", r"\1", text)
    return text if len(text) <= 60 else text[:57] + "..."
