"""What sd-webui-bayesian-merger and sd-optim configure in the same way, as parts of a study."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bmerge.foreign.old_files import OldFolder

__all__ = ["a1111", "address_of", "scorers", "shared"]

_SCORERS: dict[str, dict[str, Any]] = {
    "laion": {"name": "laion_aesthetic"},
    "chad": {"name": "laion_aesthetic", "head": "chad"},
    "imagereward": {"name": "imagereward"},
    "clip": {"name": "clip_score"},
    "hpsv21": {"name": "hps"},
    "hpsv2": {"name": "hps", "version": "v2"},
    "pick": {"name": "pickscore"},
    "aestheticv25": {"name": "aesthetic_v2_5"},
    "manual": {"name": "person"},
}
_OLD_CHAD = "ava+logos"
"""What sd-webui-bayesian-merger calls chad; sd-optim means the head that is called so since."""
_CLASSIFIERS = {"cafe", "class", "anime", "shadowv2"}
_WITHOUT_WEIGHTS = {"person"}
_PLACEHOLDER = "path/to"


def scorers(folder: OldFolder) -> Iterator[dict[str, Any]]:
    """Yield the scorers: one, or a list of them with weights and devices by name."""
    config = folder.config
    several = isinstance(config.get("scorer_method"), list)
    methods = config.texts("scorer_method") if several else [config.text("scorer_method")]
    weights = config.within("scorer_weight")
    of_each = isinstance(config.get("scorer_device"), dict)
    devices = config.within("scorer_device") if of_each else None
    for key in ("scorer_average_type", "img_average_type"):
        if config.text(key, "arithmetic") != "arithmetic":
            folder.lose(f"{key} {config.text(key)}: means are arithmetic here")
    if any(config.within("scorer_filters").data.values()):
        folder.lose("scorer_filters: `only` of a scorer names the payloads that it judges")
    for unused in (config.within("scorer_filters"), weights, *([devices] if devices else ())):
        unused.skip()  # what is said of scorers that are not asked
    seen: set[str] = set()
    for name in filter(None, methods or ["manual"]):
        device = config.text("scorer_device") if devices is None else devices.text(name)
        scorer = _scorer(folder, name, device or config.text("scorer_default_device"))
        if scorer["name"] in seen:
            if scorer["name"] == "person":
                continue
            scorer["label"] = name
        seen.add(scorer["name"])
        yield {**scorer, "weight": weights.number(name)} if name in weights else scorer


def _scorer(folder: OldFolder, old: str, device: str) -> dict[str, Any]:
    """Return a scorer; a person takes the place of one that is not known here.

    Args:
        folder: the configuration.
        old: the tool's name for it.
        device: that it ran on.
    """
    found = dict(_SCORERS.get(old, {"name": "person"}))
    if old in _CLASSIFIERS:
        folder.lose(f"scorer {old}: `image_classifier` scores with its folder; you are asked now")
    elif old not in _SCORERS:
        folder.lose(f"scorer {old}: it is not known here; you are asked instead (`person`)")
    elif old == "chad" and not folder.is_optim:
        found["head"] = _OLD_CHAD
    if found["name"] not in _WITHOUT_WEIGHTS:
        weights = folder.config.text("scorer_model_dir")
        if weights and _PLACEHOLDER not in weights:
            found["scorer_model_dir"] = str(folder.place(weights))
        if device:
            found["device"] = device
    return found


def shared(folder: OldFolder) -> dict[str, Any]:
    """Return the payloads: the tool's own file, read as it is, and seeds for those that have none.

    Args:
        folder: the configuration.
    """
    pictures = max(1, folder.config.whole("batch_size", 1))
    prompts: list[Any] = [{"from": str(folder.payloads)}] if folder.payloads else ["a photo"]
    if folder.payloads is None:
        folder.lose("payloads: the configuration names no file of them; write prompts instead")
    found: dict[str, Any] = {"seeds": {"start": 0, "count": pictures}, "prompts": prompts}
    wildcards = folder.config.text("wildcards_dir")
    if wildcards and _PLACEHOLDER not in wildcards:
        place = folder.place(wildcards)
        if place.is_dir():
            found["wildcards"] = str(place)
        else:
            folder.lose(f"wildcards_dir {place}: there is no such folder")
    return found


def a1111(folder: OldFolder) -> dict[str, Any]:
    """Return the generator: the web UI, which merged in memory and is now handed files."""
    folder.lose("the web UI's folder of models: fill in `models_dir` of the generator")
    return {"name": "a1111", "addresses": [address_of(folder)]}


def address_of(folder: OldFolder) -> str:
    """Return the address of the server that paints."""
    return (folder.config.text("url") or "http://127.0.0.1:7860").rstrip("/")
