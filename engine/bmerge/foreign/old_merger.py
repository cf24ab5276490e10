"""sd-webui-bayesian-merger's configuration as a study.

Its parameters are ``base_alpha`` and ``block_0_alpha`` … ``block_24_alpha`` (IN00 … IN11, M00,
OUT00 … OUT11), and the same for beta; each is searched from 0 to 1 unless the guide says otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bmerge.errors import RecipeError
from bmerge.foreign.old_files import OldFolder
from bmerge.foreign.old_parts import a1111, scorers, shared
from bmerge.foreign.old_settings import Settings
from bmerge.method import MergeMethod

__all__ = ["study_of_merger"]

_PARAMETER = re.compile(r"(?:base|block_(?P<number>\d+))_(?P<letter>\w+)")
_BLOCKS = (*(f"IN{i:02}" for i in range(12)), "M00", *(f"OUT{i:02}" for i in range(12)))
_MODELS = ("model_a", "model_b", "model_c", "model_d", "model_e")
_OPTIMISERS = {"bayes": "bayes", "tpe": "tpe", "atpe": "tpe"}


def study_of_merger(folder: OldFolder, method: MergeMethod) -> dict[str, Any]:
    """Return the study file's data.

    Args:
        folder: the configuration; what it cannot carry over is put on its list.
        method: the merge method that it names.

    Raises:
        RecipeError: if it names fewer models than the method takes, or a value cannot be right.
    """
    return {
        "name": method.name,
        "merge": _merge(folder, method),
        "space": _space(folder, method),
        "payloads": shared(folder),
        "generator": a1111(folder),
        "scorers": list(scorers(folder)),
        "optimiser": _optimiser(folder),
    }


def _merge(folder: OldFolder, method: MergeMethod) -> dict[str, Any]:
    config = folder.config
    named = [config.text(key) for key in _MODELS if config.get(key)]
    count = len(method.model_names)
    if len(named) < count:
        message = f"names {len(named)} models, but {method.name} takes {count}"
        raise RecipeError(message, path=folder.path / "config.yaml")
    found: dict[str, Any] = {
        "method": method.name, "models": [str(folder.place(model)) for model in named[:count]],
        "dtype": "fp32" if config.text("best_precision") == "32" else "fp16",
    }  # fmt: skip
    if config.get("prune"):
        found["prune"] = True
    if config.get("weights_clip"):
        found["clamp"] = "ab"
    if config.get("rebasin"):
        folder.lose("rebasin: align the models before, with `bmerge rebasin`")
    if config.get("best_format") == "ckpt":
        folder.lose("best_format ckpt: `bmerge merge runs/…/best.yaml -o best.ckpt` writes one")
    return found


def _space(folder: OldFolder, method: MergeMethod) -> dict[str, Any]:
    letters = [h.name for h in method.hyperparameters if h.name in {"alpha", "beta"}]
    guided = bool(folder.config.get("guided_optimisation"))
    guide = folder.guide if guided else Settings(folder.guide.path)
    if folder.guide.data and not guided:
        folder.lose("optimisation_guide: guided_optimisation is off, so it had no effect")
        folder.guide.skip()
    space: dict[str, Any] = {letter: {"range": [0.0, 1.0]} for letter in letters}
    frozen, ranges = guide.within("frozen_params"), guide.within("custom_ranges")
    _set(folder, space, ranges, ranges.numbers)
    _set(folder, space, frozen, frozen.number)
    groups = guide.entries("groups")
    for number in groups:
        _add_group(folder, space, number, groups.texts(number), frozen, ranges)
    return space


def _set(
    folder: OldFolder,
    space: Mapping[str, Any],
    values: Settings,
    read: Callable[[object], float | list[float]],
) -> None:
    """Give blocks what the guide says of them."""
    for name in values:
        place = _place(folder, space, str(name))
        if place is not None:
            letter, block = place
            space[letter].setdefault("blocks", {})[block] = read(name)
    values.skip()  # others are told of


def _add_group(
    folder: OldFolder,
    space: Mapping[str, Any],
    number: int,
    names: Sequence[str],
    frozen: Settings,
    ranges: Settings,
) -> None:
    """Let blocks share a value; all are frozen if one is, at the first value that there is."""
    places = [place for name in names if (place := _place(folder, space, name)) is not None]
    letters = {letter for letter, _ in places}
    if len(letters) != 1:
        if letters:
            folder.lose(f"group {', '.join(names)}: it ties {' and '.join(sorted(letters))}")
        return
    own = space[letters.pop()]
    blocks = own.setdefault("blocks", {})
    fixed = [frozen.number(name) for name in names if name in frozen]
    for _, block in places:
        blocks.pop(block, None)
    if fixed:
        blocks.update(dict.fromkeys((block for _, block in places), fixed[0]))
    else:
        label = f"group{number}"
        own.setdefault("groups", {})[label] = [block for _, block in places]
        if names[0] in ranges:
            blocks[label] = ranges.numbers(names[0])
    if not blocks:
        del own["blocks"]


def _place(folder: OldFolder, space: Mapping[str, Any], name: str) -> tuple[str, str] | None:
    """Return the hyperparameter and the block of a parameter."""
    found = _PARAMETER.fullmatch(name)
    number = -1 if found is None or found["number"] is None else int(found["number"])
    if found is None or number >= len(_BLOCKS):
        folder.lose(f"{name}: there is no such parameter")
        return None
    if found["letter"] not in space:
        folder.lose(f"{name}: the method has no {found['letter']}")
        return None
    return found["letter"], "BASE" if number < 0 else _BLOCKS[number]


def _optimiser(folder: OldFolder) -> dict[str, Any]:
    config = folder.config
    old = config.text("optimiser", "bayes")
    if old not in _OPTIMISERS:
        folder.lose(f"optimiser {old}: the default takes its place")
    elif old == "atpe":
        folder.lose("optimiser atpe: tpe takes its place")
    found: dict[str, Any] = {
        "name": _OPTIMISERS.get(old, "auto"),
        "seed": 1,
        "init": "lhs" if config.get("latin_hypercube_sampling") else "random",
        "init_points": config.whole("init_points", 1),
        "n_iters": config.whole("n_iters", 1),
    }
    if config.get("bounds_transformer") and found["name"] == "bayes":  # others never had it
        found["reduce"] = True
    return found
