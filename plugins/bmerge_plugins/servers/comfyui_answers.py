"""Reads what ComfyUI answers: lists of choices, errors of nodes, the pictures of a prompt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bmerge import Blame, GeneratorError
from bmerge_plugins.servers.faults import blame_of, one_line

__all__ = ["choices", "only_image", "queue_ids", "raise_if_failed", "refusal"]


def choices(info: Any, node: str, entry: str) -> list[str]:
    """Return what an input of a node can be, from the answer to ``object_info``.

    Raises:
        GeneratorError: if the server does not know the node.
    """
    if not isinstance(info, dict) or node not in info:
        hint = "install the custom node on the server, or use another workflow"
        raise GeneratorError(f"the server has no node {node!r}", blame="study", hint=hint)
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


def refusal(answer: Any, checkpoint: str, what: str) -> GeneratorError | None:
    """Say in one line which nodes the server did not like, if that is what its answer says.

    A server that leaves out a part of a workflow, and runs the rest, says so in the same way as
    one that refuses it all.

    Args:
        answer: to a prompt.
        checkpoint: the merge's; where only that is missing, the server does not see its folder.
        what: the picture, for messages.
    """
    nodes = answer.get("node_errors") if isinstance(answer, dict) else None
    reasons = list(_node_reasons(nodes)) if isinstance(nodes, dict) else []
    if not reasons:
        return None
    message = f"{what}: {one_line('; '.join(reasons))}"
    if all(repr(checkpoint) in reason for reason in reasons):
        hint = "is the folder that it was put into still there for the server?"
        return GeneratorError(message, blame="surroundings", hint=hint)
    return GeneratorError(message, blame="study", hint="the workflow does not fit this server")


def raise_if_failed(entry: Mapping[str, Any], what: str, *, loader: str, worked: bool) -> None:
    """Raise the error of a prompt that ended with one.

    Args:
        entry: the history's.
        what: the picture, for messages.
        loader: the class of the node that loads the checkpoint.
        worked: whether the workflow has made a picture before, so that it is not to blame.

    Raises:
        GeneratorError: transient, if somebody interrupted it or memory was short.
    """
    status = entry.get("status") or {}
    for kind, message in status.get("messages") or []:
        if kind == "execution_interrupted":
            raise GeneratorError(f"{what}: interrupted on the server", transient=True)
        if kind == "execution_error":
            raise _node_failure(message, what, loader=loader, worked=worked)
    if status.get("status_str") == "error":
        raise GeneratorError(f"{what}: the server says 'error' and no more", transient=True)


def _node_failure(
    message: Mapping[str, Any], what: str, *, loader: str, worked: bool
) -> GeneratorError:
    node = f"node {message.get('node_id')} ({message.get('node_type')})"
    reason = f"{message.get('exception_type')}: {message.get('exception_message')}"
    blame = blame_of(reason)
    if blame is None and worked:
        # It has loaded other checkpoints; and other nodes have worked with them.
        blame = "merge" if message.get("node_type") == loader else "surroundings"
    text = f"{what}: {one_line(f'{node}: {reason}')}"
    return GeneratorError(text, transient=blame == "surroundings", blame=blame or "study")


def only_image(
    entry: Mapping[str, Any], output: str | None, what: str, *, culprit: Blame
) -> dict[str, str]:
    """Return the query for ``/view`` that gets a prompt's picture.

    Saved pictures go before previews; a node that is named ``output`` goes before all.

    Args:
        entry: the history's.
        output: that node, if there is one.
        what: the picture, for messages.
        culprit: who is to blame if there is none.

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
        raise GeneratorError(f"{what}: the workflow gave no picture", blame=culprit)
    if len(images) > 1:
        nodes = ", ".join(dict.fromkeys(node for node, _ in images))
        message = f"{what}: the workflow gave {len(images)} pictures (nodes {nodes}), not one"
        hint = "set batch_size to 1; title one node 'output'"
        raise GeneratorError(message, blame="study", hint=hint)
    image = images[0][1]
    return {name: str(image.get(name) or "") for name in ("filename", "subfolder", "type")}


def _node_reasons(nodes: Mapping[str, Any]) -> Iterator[str]:
    for node, content in nodes.items():
        for error in content.get("errors") or []:
            reason = f"{error.get('message')}: {error.get('details')}"
            yield f"node {node} ({content.get('class_type')}): {reason}"
