"""A ComfyUI workflow with named slots: read, checked, and filled in for each payload."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bmerge import GeneratorError, Payload
from bmerge_plugins.servers.comfyui_graphs import GRAPHS
from bmerge_plugins.servers.comfyui_slots import INPUTS, Graph, Slot, find_slots, parse_slot

__all__ = ["Workflow", "read_workflow"]

_NEEDED = ("checkpoint", "prompt", "seed")


class Workflow:
    """A workflow and its slots.

    Args:
        graph: in ComfyUI's API format.
        slots: slot → ``node.input``, for those that do not find themselves.
        inputs: ``node.input`` → its value in every picture.

    Raises:
        GeneratorError: if a slot that every study needs is missing, or an input is.
    """

    def __init__(
        self,
        graph: Graph,
        slots: Mapping[str, str | Sequence[str]],
        inputs: Mapping[str, Any] | None = None,
    ) -> None:
        graph = copy.deepcopy(dict(graph))
        for name, value in (inputs or {}).items():
            place = parse_slot(graph, name)
            graph[place.node]["inputs"][place.input] = value
        self._graph: Graph = graph
        self._slots = find_slots(graph, slots)
        for name in _NEEDED:
            if name not in self._slots:
                raise self._no_slot(name)

    @property
    def checkpoint(self) -> tuple[str, str]:
        """The class and the input of the node that loads the checkpoint."""
        slot = self._slots["checkpoint"][0]
        return str(self._graph[slot.node]["class_type"]), slot.input

    @property
    def own_checkpoint(self) -> str:
        """The name that the workflow had in its file."""
        slot = self._slots["checkpoint"][0]
        return str(self._graph[slot.node]["inputs"][slot.input])

    @property
    def output(self) -> str | None:
        """The node that is named ``output``, if one is."""
        for node, content in self._graph.items():
            title = (content.get("_meta") or {}).get("title")
            if node == "output" or str(title).strip().lower() == "output":
                return node
        return None

    def nodes(self) -> Iterator[tuple[str, str, dict[str, str]]]:
        """Yield each node with its class and the texts that are set in it for good."""
        filled = {(slot.node, slot.input) for slot in self._slots["checkpoint"]}
        for node, content in self._graph.items():
            yield (
                node,
                str(content["class_type"]),
                {
                    name: value
                    for name, value in content["inputs"].items()
                    if isinstance(value, str) and (node, name) not in filled
                },
            )

    def tiny(self) -> Payload:
        """Return the smallest picture that the workflow can be asked for."""
        side = 64 if {"width", "height"} <= set(self._slots) else None
        steps = 1 if "steps" in self._slots else None
        return Payload("check", "a cat", steps=steps, width=side, height=side)

    def fill(self, payload: Payload, checkpoint: str) -> dict[str, Any]:
        """Return a copy of the workflow with a payload's values.

        Args:
            payload: what it leaves out stays as the workflow has it; its extras may set
                any slot, or any input by ``node.input``.
            checkpoint: as the server spells it.

        Raises:
            GeneratorError: if the payload sets something that the workflow has no place for.
        """
        values: dict[str, Any] = {
            "checkpoint": checkpoint,
            "prompt": payload.prompt,
            "negative": payload.negative_prompt,
            "seed": payload.seed,
            "steps": payload.steps,
            "cfg": payload.cfg,
            "width": payload.width,
            "height": payload.height,
            "sampler": payload.sampler,
            **payload.extra,
        }
        if "negative" not in self._slots and not payload.negative_prompt:
            del values["negative"]
        if values["checkpoint"] != checkpoint:
            raise GeneratorError(
                f"payload {payload.id!r} names a checkpoint of its own", blame="study"
            )
        graph = copy.deepcopy(dict(self._graph))
        for name, value in values.items():
            if value is not None:
                for slot in self._places(name):
                    graph[slot.node]["inputs"][slot.input] = value
        return graph

    def checkpoints(self, graph: Any) -> set[str]:
        """Return what stands in the checkpoint slots of a workflow that a server has run."""
        return {str(graph[slot.node]["inputs"][slot.input]) for slot in self._slots["checkpoint"]}

    def _places(self, name: str) -> Sequence[Slot]:
        if name in self._slots:
            return self._slots[name]
        if name in INPUTS:
            raise self._no_slot(name)
        return [parse_slot(self._graph, name)]

    @staticmethod
    def _no_slot(name: str) -> GeneratorError:
        entry = INPUTS[name][0]
        return GeneratorError(
            f"the workflow has no slot for {name!r}",
            blame="study",
            hint=f'give a node the title {name}, or set slots: {{{name}: "NODE.{entry}"}}',
        )


def read_workflow(workflow: str) -> Graph:
    """Return a workflow that comes with bmerge, or read one from a file.

    Args:
        workflow: the name of one that comes with bmerge, or the path of a JSON file in API format.

    Raises:
        GeneratorError: if it cannot be read, or is in the other format.
    """
    if workflow in GRAPHS:
        return GRAPHS[workflow]
    path = Path(workflow).expanduser()
    try:
        # A pipe would be waited for; a directory is what reading complains of.
        text = "" if path.is_fifo() else path.read_text(encoding="utf-8")
        graph = json.loads(text)
    except OSError as error:
        reason = error.strerror or str(error)
        hint = f"a path, or one of {', '.join(GRAPHS)}"
        message = f"cannot read the workflow {workflow!r}: {reason}"
        raise GeneratorError(message, blame="study", hint=hint) from None
    except (ValueError, RecursionError) as error:
        raise GeneratorError(
            f"the workflow {workflow!r} is not JSON: {error}", blame="study"
        ) from error
    _check_format(graph, workflow)
    return dict(graph)


def _check_format(graph: Any, workflow: str) -> None:
    if isinstance(graph, dict) and "nodes" in graph and "links" in graph:
        hint = "in ComfyUI, export it with Export (API), or Save (API Format)"
        raise GeneratorError(
            f"the workflow {workflow!r} is not in API format", blame="study", hint=hint
        )
    nodes = graph.values() if isinstance(graph, dict) else [None]
    for node in nodes:
        if not (isinstance(node, dict) and {"class_type", "inputs"} <= set(node)):
            raise GeneratorError(f"{workflow!r} is not a ComfyUI workflow", blame="study")
