"""Reading the ``payloads`` section of a study file: prompts of all sources, seeds, settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bmerge.errors import RecipeError
from bmerge.evaluate.payloads import Prompt, Witnesses, make_payloads
from bmerge.evaluate.protocols import Payload
from bmerge.evaluate.wildcards import Wildcards, wildcards_in
from bmerge.logs import logger
from bmerge.recipe.document import Node
from bmerge.study_file.infotext import read_picture
from bmerge.study_file.payload_files import read_payload_file
from bmerge.study_file.payload_settings import (
    MOST_PICTURES,
    SETTINGS,
    Draft,
    combined,
    read_seed,
    read_seeds,
    read_settings,
)
from bmerge.study_file.prompt_texts import read_prompt_texts

__all__ = ["read_payloads"]

_KEYS = ("defaults", "seeds", "prompts", "wildcards")
_PROMPT = ("prompt", "from", "seed", "seeds")
_READERS: Mapping[str, Callable[[Path], list[Draft]]] = {
    ".txt": read_prompt_texts,
    ".yaml": read_payload_file,
    ".yml": read_payload_file,
    ".png": lambda file: [read_picture(file)],
}


def read_payloads(node: Node, folder: Path) -> tuple[Payload, ...]:
    """Read the section.

    Args:
        node: the section.
        folder: that paths in it are relative to.

    Raises:
        RecipeError: for an unknown key, a wrong type, no prompt, or only weights of 0.
    """
    keys = node.mapping(_KEYS)
    defaults = read_settings(keys["defaults"].mapping(SETTINGS)) if "defaults" in keys else {}
    seeds = read_seeds(keys["seeds"]) if "seeds" in keys else (0,)
    if "prompts" not in keys:
        raise node.error("payloads needs the key 'prompts'")
    given = keys.get("wildcards")
    literal = given is not None and given.value is False
    wildcards = None if literal else _wildcards(given, folder)
    drafts = [draft for item in keys["prompts"].sequence() for draft in _drafts(item, folder)]
    prompts = [_prompt(draft, defaults, seeds, literal=literal) for draft in drafts]
    count = sum(len(seeds if prompt.seeds is None else prompt.seeds) for prompt in prompts)
    if count > MOST_PICTURES:
        raise node.error(f"{count} are more than the {MOST_PICTURES} pictures of a trial")
    for draft, prompt in zip(drafts, prompts, strict=True):
        _check_wildcards(draft.place, prompt, wildcards)
    payloads = make_payloads(prompts, seeds, wildcards)
    _tell_repeated(payloads)
    if not any(payload.weight > 0 for payload in payloads):
        raise node.error("payloads must hold at least one prompt with a weight above 0")
    return payloads


def _tell_repeated(payloads: Sequence[Payload]) -> None:
    """Say how many pictures of a trial are there already, under another prompt of the file."""
    first = Witnesses.of(payloads).pictures
    repeated = [payload for payload in payloads if first[payload.id] != payload.id]
    if repeated:
        one = repeated[0]
        logger(__name__).warning(
            "the picture %s of %r is %s again%s: give a prompt once, with all its seeds or a "
            "weight; what is painted twice costs twice, and tells no more",
            one.id,
            one.prompt,
            first[one.id],
            f" ({len(repeated)} of {len(payloads)} repeat others)" if len(repeated) > 1 else "",
        )


def _wildcards(node: Node | None, folder: Path) -> Wildcards | None:
    """Return the wildcards of the folder that is given, or of the usual one if it is there."""
    if node is None or node.value is None:
        usual = folder / "wildcards"
        return Wildcards(usual) if usual.is_dir() else None
    try:
        return Wildcards(folder / Path(node.text()).expanduser())
    except RecipeError as error:
        raise (error if error.path else node.error(str(error), error.hint)) from error


def _drafts(node: Node, folder: Path) -> list[Draft]:
    """Return what one entry of ``prompts`` stands for."""
    if not isinstance(node.value, dict):
        return [Draft(node, node.text())]
    keys = node.mapping((*_PROMPT, *SETTINGS))
    if ("prompt" in keys) == ("from" in keys):
        found = "both" if "prompt" in keys else "neither"
        raise node.error(f"give the key 'prompt' or the key 'from', not {found}")
    if "seed" in keys and "seeds" in keys:
        raise keys["seed"].error("give either seed or seeds")
    settings, seeds = read_settings(keys), _own_seeds(keys)
    if "prompt" in keys:
        return [Draft(keys["prompt"], keys["prompt"].text(), settings, seeds)]
    return [
        Draft(
            draft.place,
            draft.prompt,
            combined({"tags": (file.stem,)}, draft.settings, settings),
            seeds or draft.seeds,
            None if seeds else draft.count,
            draft.literal,
        )
        for file in _files(keys["from"], folder)
        for draft in _READERS[file.suffix.lower()](file)
    ]


def _files(node: Node, folder: Path) -> list[Path]:
    """Return the file that is meant, or those in the folder that is."""
    path = folder / Path(node.text()).expanduser()
    if not path.exists():
        raise node.error(f"there is no file or folder {str(path)!r}")
    inside = sorted(path.iterdir()) if path.is_dir() else [path]
    files = [
        file
        for file in inside
        if file.suffix.lower() in _READERS and not file.stem.endswith(".tmpl")
    ]
    if not files:
        raise node.error(f"{str(path)!r} holds no prompts", f"known are {', '.join(_READERS)}")
    return files


def _own_seeds(keys: Mapping[str, Node]) -> tuple[int, ...] | None:
    if "seed" in keys:
        return (read_seed(keys["seed"]),)
    return read_seeds(keys["seeds"]) if "seeds" in keys else None


def _prompt(
    draft: Draft, defaults: Mapping[str, Any], seeds: tuple[int, ...], *, literal: bool
) -> Prompt:
    payload = Payload(id="", prompt=draft.prompt, **combined(defaults, draft.settings))
    own = draft.seeds
    if draft.count is not None:
        own = tuple(range(seeds[0], seeds[0] + draft.count))
    return Prompt(payload, own, literal or draft.literal)


def _check_wildcards(place: Node, prompt: Prompt, wildcards: Wildcards | None) -> None:
    if prompt.literal:
        return
    for text in (prompt.payload.prompt, prompt.payload.negative_prompt):
        if wildcards is not None:
            try:
                wildcards.check(text)
            except RecipeError as error:
                raise (error if error.path else place.error(str(error), error.hint)) from error
        elif names := wildcards_in(text):
            raise place.error(
                f"the prompt has the wildcard __{names[0]}__, but there is no wildcards folder",
                "set wildcards to a folder, or to false to take prompts as they are",
            )
