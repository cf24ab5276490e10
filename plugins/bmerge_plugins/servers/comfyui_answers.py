"""Reads what ComfyUI answers: lists of choices, errors of nodes, the pictures of a prompt."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from bmerge import GeneratorError
from bmerge_plugins.servers.faults import StatusError, one_line

__all__ = ["choices", "only_image", "prompt_error", "queue_ids", "raise_if_failed"]


def choices(info: Any, node: str, entry: str) -> list[str]:
    """Return what an input of a node can be, from the answer to ``object_info``.

    Raises:
        GeneratorError: if the server does not know the node.
    """
    if not isinstance(info, dict) or node not in info:
        hint = "install the custom node on the server, or use another workflow"
        raise GeneratorError(f"the server has no node {node!r}", hint=hint)
    inputs = info[node].get("input") or {}
    both = {**(inputs.get("optional") or {}), **(inputs.get("required") or {})}
    spec = both.get(entry) or [[]]
    if isinstance(spec[0], list):
        return [str(choice) for choice in spec[0]]
    options = spec[1] if len(spec) > 1 and isinstance(spec[1], dict) else {}  # ["COMBO", {…}]
    return [str(choice) for choice in options.get("options") or []]


def queue_ids(queue: Any) -> tuple[set[str], set[str]]:
    """Return the ids of the prompts that run and of those that wait."""
    parts = queue if isinstance(queue, dict) else {}
    running, pending = (parts.get(name) or [] for name in ("queue_running", "queue_pending"))
    return {str(item[1]) for item in running}, {str(item[1]) for item in pending}


def prompt_error(error: StatusError, what: str) -> GeneratorError:
    """Say in one line which nodes the server did not like, if that is what its answer says."""
    try:
        nodes = json.loads(error.body).get("node_errors") or {}
    except (ValueError, AttributeError):
        nodes = {}
    reasons = "; ".join(_node_reasons(nodes))
    if not reasons:
        return error
    return GeneratorError(f"{what}: {one_line(reasons)}", hint="the workflow does not fit")


def raise_if_failed(entry: Mapping[str, Any], what: str) -> None:
    """Raise the error of a prompt that ended with one.

    Raises:
        GeneratorError: transient, if somebody interrupted it or memory was short.
    """
    status = entry.get("status") or {}
    for kind, message in status.get("messages") or []:
        if kind == "execution_interrupted":
            raise GeneratorError(f"{what}: interrupted on the server", transient=True)
        if kind == "execution_error":
            node = f"node {message.get('node_id')} ({message.get('node_type')})"
            reason = f"{message.get('exception_type')}: {message.get('exception_message')}"
            passing = "OutOfMemory" in reason
            raise GeneratorError(f"{what}: {node}: {one_line(reason)}", transient=passing)
    if status.get("status_str") == "error":
        raise GeneratorError(f"{what}: the server says 'error' and no more", transient=True)


def only_image(entry: Mapping[str, Any], output: str | None, what: str) -> dict[str, str]:
    """Return the query for ``/view`` that gets a prompt's picture.

    Saved pictures go before previews; a node that is named ``output`` goes before all.

    Raises:
        GeneratorError: if there is no picture, or it is not clear which one is meant.
    """
    outputs = entry.get("outputs") or {}
    images = [
        (str(node), image)
        for node, content in outputs.items()
        for image in content.get("images") or []
    ]
    if output is not None:
        images = [(node, image) for node, image in images if node == output]
    elif any(image.get("type") == "output" for _, image in images):
        images = [(node, image) for node, image in images if image.get("type") == "output"]
    if not images:
        raise GeneratorError(f"{what}: the workflow gave no picture")
    if len(images) > 1:
        nodes = ", ".join(dict.fromkeys(node for node, _ in images))
        message = f"{what}: the workflow gave {len(images)} pictures (nodes {nodes}), not one"
        raise GeneratorError(message, hint="set batch_size to 1; title one node 'output'")
    image = images[0][1]
    return {name: str(image.get(name) or "") for name in ("filename", "subfolder", "type")}


def _node_reasons(nodes: Mapping[str, Any]) -> Iterator[str]:
    for node, content in nodes.items():
        for error in content.get("errors") or []:
            reason = f"{error.get('message')}: {error.get('details')}"
            yield f"node {node} ({content.get('class_type')}): {reason}"
