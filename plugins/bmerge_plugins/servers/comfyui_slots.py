"""Finds the places of a ComfyUI workflow that a payload's values go to: its slots.

Three ways, the first that names a slot wins: the user's mapping (``prompt: "6.text"``); a node
whose title is made of slots' names (``prompt``, ``seed steps cfg``); and the workflow itself:
where exactly one sampler and one loader of a model are, the sampler's links lead to the rest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bmerge import GeneratorError

__all__ = ["INPUTS", "Slot", "find_slots", "parse_slot"]

Graph = Mapping[str, Mapping[str, Any]]

_TEXTS = ("text", "text_g", "text_l", "clip_l", "t5xxl", "prompt", "value", "string")
_CONDITIONED = (("prompt", "positive"), ("prompt", "conditioning"), ("negative", "negative"))
INPUTS: dict[str, tuple[str, ...]] = {
    "checkpoint": ("ckpt_name", "unet_name", "model_name"),
    "prompt": _TEXTS,
    "negative": _TEXTS,
    "seed": ("seed", "noise_seed", "value"),
    "steps": ("steps", "value"),
    "cfg": ("cfg", "guidance", "value"),
    "width": ("width", "value"),
    "height": ("height", "value"),
    "sampler": ("sampler_name",),
    "scheduler": ("scheduler",),
}
"""Slot → the inputs that it can mean in a node that is named for it."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One input of one node."""

    node: str
    input: str


def find_slots(graph: Graph, mapping: Mapping[str, str | Sequence[str]]) -> dict[str, list[Slot]]:
    """Return the places of each slot that the workflow has.

    Args:
        graph: the workflow.
        mapping: slot → ``node.input``, or several; the node by number or title.

    Raises:
        GeneratorError: if the mapping names what is not there.
    """
    found = _by_links(graph) | _by_titles(graph)
    for name, places in mapping.items():
        if name not in INPUTS:
            known = ", ".join(INPUTS)
            raise GeneratorError(
                f"slots has an unknown slot {name!r}", blame="study", hint=f"known: {known}"
            )
        texts = [places] if isinstance(places, str) else list(places)
        found[name] = [parse_slot(graph, text) for text in texts]
    return found


def parse_slot(graph: Graph, text: str) -> Slot:
    """Read ``node.input``; the node by number or title.

    Raises:
        GeneratorError: if there is no such node or input.
    """
    name, _, entry = text.rpartition(".")
    nodes = [name] if name in graph else [node for node in graph if _title(graph[node]) == name]
    if len(nodes) != 1 or entry not in graph[nodes[0]]["inputs"]:
        hint = 'write "node.input", the node by its number or title: "6.text"'
        raise GeneratorError(f"the workflow has no input {text!r}", blame="study", hint=hint)
    return Slot(nodes[0], entry)


def _by_titles(graph: Graph) -> dict[str, list[Slot]]:
    found: dict[str, list[Slot]] = {}
    for node, content in graph.items():
        words = re.split(r"[\s,+/]+", _title(content).strip().lower())
        if all(word in INPUTS for word in words):
            for word in words:
                found.setdefault(word, []).extend(_literals(node, content, INPUTS[word]))
    return {name: slots for name, slots in found.items() if slots}


def _by_links(graph: Graph) -> dict[str, list[Slot]]:
    found = {"checkpoint": _loader(graph)}
    samplers = [node for node in graph if _is_sampler(graph[node])]
    if len(samplers) == 1:
        found |= _of_sampler(graph, samplers[0])
    return {name: slots for name, slots in found.items() if slots}


def _loader(graph: Graph) -> list[Slot]:
    """Return the place of the model's file: of the only checkpoint, or the only diffusion model."""
    for name in ("ckpt_name", "unet_name"):
        places = [slot for node in graph for slot in _literals(node, graph[node], (name,))]
        if places:
            return places if len(places) == 1 else []
    return []


def _is_sampler(content: Mapping[str, Any]) -> bool:
    """Tell whether a node makes a picture's latents: KSampler's kind, or one of parts."""
    inputs = set(content["inputs"])
    return {"steps", "positive"} <= inputs or {"sampler", "sigmas"} <= inputs


def _of_sampler(graph: Graph, sampler: str) -> dict[str, list[Slot]]:
    """Follow a sampler's inputs; what its parts are for, other nodes may hold."""
    parts = [sampler]
    for name in ("noise", "guider", "sampler", "sigmas"):
        part = _source(graph[sampler]["inputs"].get(name))
        if part in graph:
            parts.append(str(part))
    found: dict[str, list[Slot]] = {}
    for part in parts:
        for name in ("seed", "steps", "cfg", "sampler", "scheduler", "width", "height"):
            found.setdefault(name, []).extend(_values(graph, part, INPUTS[name]))
        for name, entries in (
            ("prompt", ("positive", "conditioning")),
            ("negative", ("negative",)),
        ):
            for entry in entries:
                found.setdefault(name, []).extend(_follow(graph, part, entry, _TEXTS))
    for name in ("width", "height"):
        found[name] += _follow(graph, sampler, "latent_image", (name,))
    return {name: list(dict.fromkeys(slots)) for name, slots in found.items()}


def _follow(graph: Graph, node: str, entry: str, wanted: tuple[str, ...]) -> list[Slot]:
    """Follow a link upwards to the first node that has one of the inputs as a plain value."""
    seen: set[str] = set()
    while (source := _source(graph[node]["inputs"].get(entry))) in graph and source not in seen:
        node = str(source)
        seen.add(node)
        if graph[node]["class_type"] == "ConditioningZeroOut":
            return []  # what comes before it has no effect
        if slots := _values(graph, node, wanted):
            return slots
        onward = (entry, "conditioning", "conditioning_1", "samples")
        entry = next((name for name in onward if name in graph[node]["inputs"]), entry)
    return []


def _values(graph: Graph, node: str, names: tuple[str, ...]) -> list[Slot]:
    """Return inputs that are plain values, in the node or in one that only holds the value."""
    slots = _literals(node, graph[node], names)
    for name in names:
        holder = _source(graph[node]["inputs"].get(name))
        if holder in graph and set(graph[str(holder)]["inputs"]) == {"value"}:
            slots += _literals(str(holder), graph[str(holder)], ("value",))
    return slots


def _source(value: Any) -> str | None:
    """Return the node that a link comes from; None for a plain value."""
    return str(value[0]) if isinstance(value, list) and len(value) == 2 else None


def _literals(node: str, content: Mapping[str, Any], names: tuple[str, ...]) -> list[Slot]:
    inputs = content["inputs"]
    return [
        Slot(node, name) for name in names if name in inputs and not isinstance(inputs[name], list)
    ]


def _title(content: Mapping[str, Any]) -> str:
    return str((content.get("_meta") or {}).get("title") or "")
