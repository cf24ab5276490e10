"""Whether a ComfyUI has what a workflow needs: its nodes, and what their inputs name.

The same that ComfyUI looks at before it runs a workflow, asked before a study starts. Only inputs
that name a file, a sampler or a schedule are compared with the server's lists: others, as those
that pictures are loaded by, nodes may judge by rules of their own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from bmerge import GeneratorError, nearest
from bmerge_plugins.servers.comfyui_answers import choices
from bmerge_plugins.servers.comfyui_workflow import Workflow
from bmerge_plugins.servers.faults import understood

__all__ = ["check_nodes", "node_route"]

_NAMED = re.compile(r"scheduler|\w+_name\d?")


def node_route(node: str) -> str:
    """Return the path under which the server tells of a class of nodes."""
    return f"/object_info/{quote(node, safe='')}"


def check_nodes(workflow: Workflow, get: Callable[[str], Any], server: str) -> None:
    """Ask for each class of nodes once.

    Args:
        workflow: what is to run.
        get: asks the server.
        server: its name, for messages.

    Raises:
        GeneratorError: which blames the study, and names what the server does not have.
    """
    told: dict[str, Any] = {}
    for node, kind, inputs in workflow.nodes():
        if "/" in kind:  # which no route can have
            continue
        if kind not in told:
            told[kind] = get(node_route(kind))
        for name, value in {"": "", **inputs}.items():  # at least once, to find the node missing
            with understood(f"{server}: what it says of {kind}"):
                known = choices(told[kind], kind, name)
            if _NAMED.fullmatch(name) and known and value not in known:
                close = nearest(value, known)
                another = f'the option inputs sets another: {{"{node}.{name}": …}}'
                raise GeneratorError(
                    f"{server}: node {node} ({kind}): the server has no {name} {value!r}",
                    blame="study",
                    hint=f"{close}; {another}" if close else another,
                )
