"""Who made a file, by what tools write into its metadata."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["makers"]

_MERGERS = {
    "sd-webui-supermerger": "merged by supermerger",
    "merge-models-chattiori": "merged by Chattiori's merger",
    "webui": "merged by the AUTOMATIC1111 web UI",
}


def makers(metadata: Mapping[str, str]) -> list[str]:
    """Return what tools a file's metadata tells of, one line each, the last to touch it first.

    Args:
        metadata: of the file; anybody may have written anything there.
    """
    return list(dict.fromkeys(_makers(metadata)))


def _makers(metadata: Mapping[str, str]) -> Iterator[str]:
    if "bmerge.recipe" in metadata or any(key.startswith("bmerge.lora.") for key in metadata):
        yield f"made by bmerge {metadata.get('bmerge.version', '')}".rstrip()
    if "sd_merge_recipe" in metadata:
        kind = _data(metadata["sd_merge_recipe"]).get("type")
        yield _MERGERS.get(str(kind), "merged by a tool of the AUTOMATIC1111 family")
    if "mecha_recipe" in metadata:
        yield "merged by sd-mecha"
    if "mergekit" in metadata or "mergekit_config" in metadata:
        yield "merged by mergekit"
    if "workflow" in metadata or "prompt" in metadata:
        yield "saved by ComfyUI"
    yield from _trainers(metadata)
    author = metadata.get("modelspec.author")
    if author:
        yield f"by {author}"


def _trainers(metadata: Mapping[str, str]) -> Iterator[str]:
    software = _data(metadata.get("software", "")).get("name")
    if software:
        yield f"trained with {software}"
    if any(key.startswith("ot_") for key in metadata):
        yield "trained with OneTrainer"
    module = metadata.get("ss_network_module", "")
    if "ss_sd_scripts_commit_hash" in metadata:
        yield "trained with kohya's sd-scripts"
    elif "bmerge.lora.extracted" in metadata:  # called as kohya's trainers do, but not trained
        pass
    elif module.startswith("networks.") or any(key.startswith("ss_") for key in metadata):
        yield "trained with a tool of kohya's"
    if module.startswith("lycoris"):
        yield "trained with LyCORIS"


def _data(text: str) -> Mapping[str, Any]:
    """Return JSON as a mapping; nothing if it is none."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}
