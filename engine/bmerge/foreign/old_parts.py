"""What sd-webui-bayesian-merger and sd-optim configure in the same way, as parts of a study."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bmerge.foreign.old_files import OldFolder

__all__ = ["a1111", "scorers", "shared"]

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
    methods = config.get("scorer_method") or ["manual"]
    methods = methods if isinstance(methods, list) else [methods]
    weights, devices = config.get("scorer_weight") or {}, config.get("scorer_device") or {}
    for key in ("scorer_average_type", "img_average_type"):
        if config.get(key, "arithmetic") != "arithmetic":
            folder.lose(f"{key} {config[key]}: means are arithmetic here")
    if any((config.get("scorer_filters") or {}).values()):
        folder.lose("scorer_filters: `only` of a scorer names the payloads that it judges")
    seen: set[str] = set()
    for name in map(str, methods):
        device = devices.get(name) if isinstance(devices, dict) else devices
        scorer = _scorer(folder, name, device or config.get("scorer_default_device"))
        if scorer["name"] in seen:
            if scorer["name"] == "person":
                continue
            scorer["label"] = name
        seen.add(scorer["name"])
        yield {**scorer, "weight": float(weights[name])} if name in weights else scorer


def _scorer(folder: OldFolder, old: str, device: object) -> dict[str, Any]:
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
        weights = folder.config.get("scorer_model_dir")
        if weights and _PLACEHOLDER not in str(weights):
            found["scorer_model_dir"] = str(folder.place(weights))
        if device:
            found["device"] = str(device)
    return found


def shared(folder: OldFolder, *, count: object) -> dict[str, Any]:
    """Return the payloads: the tool's own file, read as it is, and seeds for those that have none.

    Args:
        folder: the configuration.
        count: how many pictures were made of each payload.
    """
    pictures = max(1, int(count)) if isinstance(count, (int, float)) else 1
    prompts: list[Any] = [{"from": str(folder.payloads)}] if folder.payloads else ["a photo"]
    if folder.payloads is None:
        folder.lose("payloads: the configuration names no file of them; write prompts instead")
    found: dict[str, Any] = {"seeds": {"start": 0, "count": pictures}, "prompts": prompts}
    wildcards = folder.config.get("wildcards_dir")
    if wildcards and _PLACEHOLDER not in str(wildcards):
        place = folder.place(wildcards)
        if place.is_dir():
            found["wildcards"] = str(place)
        else:
            folder.lose(f"wildcards_dir {place}: there is no such folder")
    return found


def a1111(folder: OldFolder, url: object) -> dict[str, Any]:
    """Return the generator: the web UI, which merged in memory and is now handed files."""
    folder.lose("the web UI's folder of models: fill in `models_dir` of the generator")
    return {"name": "a1111", "addresses": [str(url or "http://127.0.0.1:7860").rstrip("/")]}
