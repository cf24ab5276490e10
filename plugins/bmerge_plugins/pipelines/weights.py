"""From a checkpoint's layout to a pipeline whose parameters are what a merge writes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from bmerge import GeneratorError
from bmerge_plugins.pipelines.family import Family
from bmerge_plugins.pipelines.live import LiveWeights, Parameter

__all__ = ["live_weights", "parts_in"]


def parts_in(family: Family, keys: Collection[str]) -> list[str]:
    """Return the components that a checkpoint has weights of."""
    return [
        name
        for name, part in family.parts.items()
        if any(key.startswith(part.prefix) for key in keys)
    ]


def live_weights(
    pipeline: Any, family: Family, parts: Collection[str], layout: Mapping[str, tuple[int, ...]]
) -> LiveWeights:
    """Tie the pipeline's parameters to tensors with the checkpoint's keys.

    Args:
        pipeline: whose textual inversions are loaded, and whose LoRAs are not.
        family: of the checkpoint.
        parts: the components that it has weights of.
        layout: key → shape of the checkpoint.

    Raises:
        GeneratorError: if the two do not fit together.
    """
    weights = LiveWeights(_parameters(pipeline, family, parts, layout), layout)
    lost = [key for key in weights.unused if key.startswith("model.diffusion_model.")]
    if lost:
        raise GeneratorError(
            f"the pipeline has no place for {lost[0]!r} and {len(lost) - 1} other tensors",
            hint="set config to a folder with the configuration of this model",
        )
    return weights


def _parameters(
    pipeline: Any, family: Family, parts: Collection[str], layout: Mapping[str, tuple[int, ...]]
) -> Iterator[Parameter]:
    for component in parts:
        module = getattr(pipeline, component)
        for name, parameter in module.named_parameters():
            where = f"{component}.{name}"
            try:
                source = family.parts[component].source(name, module.config, layout)
            except KeyError:
                message = f"bmerge does not know where a checkpoint has {where}"
                raise GeneratorError(message) from None
            yield where, parameter, source
