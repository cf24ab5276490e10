"""Where a study file has its trials evaluated, and which other study it begins with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bmerge.recipe.document import Node
from bmerge.study_file.config import RayConfig, WarmStartConfig

__all__ = ["read_evaluators", "read_ray", "read_warm_start"]

_RAY = ("name", "number", "address", "cpus", "gpus", "models")


def read_evaluators(node: Node) -> tuple[Mapping[str, Any], ...]:
    """Return the options of each; a number stands for as many without any."""
    if isinstance(node.value, dict):  # elsewhere: see read_ray
        return ({},)
    if not isinstance(node.value, list):
        return ({},) * node.integer(least=1)
    if not node.sequence():
        raise node.error(f"{node.name} is empty")
    each = (item.mapping() for item in node.sequence())
    return tuple({key: value.plain() for key, value in keys.items()} for keys in each)


def read_ray(node: Node) -> RayConfig | None:
    """Return the evaluators on a cluster; None where they are in this process."""
    if not isinstance(node.value, dict):
        return None
    keys = node.mapping(_RAY)
    for key in ("name", "number"):
        if key not in keys:
            raise node.error(f"{node.name} needs the key {key!r}")
    keys["name"].text(("ray",))
    default = RayConfig(1)
    return RayConfig(
        number=keys["number"].integer(least=1),
        address=keys["address"].text() if "address" in keys else default.address,
        cpus=_amount(keys["cpus"]) if "cpus" in keys else default.cpus,
        gpus=_amount(keys["gpus"]) if "gpus" in keys else default.gpus,
        models=_folders(keys["models"]) if "models" in keys else (),
    )


def read_warm_start(node: Node) -> WarmStartConfig:
    """Return the study's folder, alone or with how many of its merges are wanted."""
    if isinstance(node.value, str):
        return WarmStartConfig(Path(node.text()).expanduser())
    keys = node.mapping(("study", "trials"))
    if "study" not in keys:
        raise node.error(f"{node.name} needs the key 'study'")
    study = Path(keys["study"].text()).expanduser()
    if "trials" not in keys:
        return WarmStartConfig(study)
    return WarmStartConfig(study, keys["trials"].integer(least=1))


def _amount(node: Node) -> float:
    amount = node.number()
    if not amount >= 0:
        raise node.error(f"{node.name} must be 0 or more, not {amount:g}")
    return amount


def _folders(node: Node) -> tuple[Path, ...]:
    texts = (node.text(),) if isinstance(node.value, str) else node.texts()
    return tuple(Path(text).expanduser() for text in texts)
