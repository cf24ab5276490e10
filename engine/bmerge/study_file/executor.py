"""Reading the section ``executor`` of a study file: the options of executors, and a folder."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Annotated, Any

from bmerge.errors import nearest
from bmerge.executors import ExecutorOptions
from bmerge.options import problem
from bmerge.options.about import about, bare
from bmerge.recipe.document import Node
from bmerge.study_file.config import ExecutorConfig

__all__ = ["KEYS", "key_of", "read_executor"]

_SCRATCH = "scratch"


def key_of(option: str) -> str:
    """Return the key under which a study file has an option of executors."""
    return "name" if option == "executor" else option


KEYS = (*map(key_of, ExecutorOptions.annotations()), _SCRATCH)


def read_executor(node: Node) -> ExecutorConfig:
    """Return what a study file says of the executor.

    Raises:
        RecipeError: if a key is unknown, or its value is none that the option takes.
    """
    keys = {key: item for key, item in node.mapping(KEYS).items() if item.value is not None}
    scratch = keys.get(_SCRATCH)
    return ExecutorConfig(
        ExecutorOptions(**_values(keys)),
        None if scratch is None else Path(scratch.text()).expanduser(),
    )


def _values(keys: Mapping[str, Node]) -> dict[str, Any]:
    values = {}
    for name, annotation in ExecutorOptions.annotations().items():
        if (node := keys.get(key_of(name))) is None:
            continue
        values[name] = value = node.plain()
        wanted = _given(annotation)
        if wrong := problem(value, wanted):
            choices = typing.get_args(bare(wanted)) if isinstance(value, str) else ()
            raise node.error(f"{node.name} must be {wrong}", nearest(str(value), choices))
    return values


def _given(annotation: Any) -> Any:
    """Return what a value must be that is given: null has been taken for an option left out."""
    inner = bare(annotation)
    if not isinstance(inner, types.UnionType) and typing.get_origin(inner) is not typing.Union:
        return annotation
    kept = [one for one in typing.get_args(inner) if one is not type(None)]
    return Annotated[reduce(or_, kept), about(annotation)]
