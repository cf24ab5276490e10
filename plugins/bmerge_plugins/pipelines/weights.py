"""From a checkpoint's layout to a pipeline whose parameters are what a merge writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bmerge import GeneratorError
from bmerge_plugins.pipelines.family import Family
from bmerge_plugins.pipelines.live import LiveWeights, Parameter

__all__ = ["live_weights", "prefixes_in"]

Layout = Mapping[str, tuple[int, ...]]


def prefixes_in(family: Family, layout: Layout) -> dict[str, str]:
    """Return the components that a checkpoint has weights of, each with the prefix of its keys."""
    found = ((name, part.prefix_in(layout)) for name, part in family.parts.items())
    return {name: prefix for name, prefix in found if prefix is not None}


def live_weights(pipeline: Any, family: Family, layout: Layout) -> LiveWeights:
    """Tie the pipeline's parameters to tensors with the checkpoint's keys.

    Args:
        pipeline: whose textual inversions are loaded, and whose LoRAs are not.
        family: of the checkpoint.
        layout: key → shape of the checkpoint.

    Raises:
        GeneratorError: if the two do not fit together.
    """
    prefixes = prefixes_in(family, layout)
    weights = LiveWeights(_parameters(pipeline, family, prefixes, layout), layout)
    model = next(iter(prefixes.values()))
    lost = [key for key in weights.unused if key.startswith(model)]
    if lost:
        raise GeneratorError(
            f"the pipeline has no place for {lost[0]!r} and {len(lost) - 1} other tensors",
            blame="study",
            hint="set config to a folder with the configuration of this model",
        )
    return weights


def _parameters(
    pipeline: Any, family: Family, prefixes: Mapping[str, str], layout: Layout
) -> Iterator[Parameter]:
    import torch

    for component, prefix in prefixes.items():
        module = getattr(pipeline, component)
        for name, parameter in module.named_parameters():
            where = f"{component}.{name}"
            try:
                source = family.parts[component].source(name, module.config, prefix, layout)
            except KeyError:
                message = f"bmerge does not know where a checkpoint has {where}"
                raise GeneratorError(message, blame="study") from None
            if name == "text_projection.weight" and source.key not in layout:
                parameter.data.copy_(torch.eye(*parameter.shape))  # the original code's
                continue
            yield where, parameter, source
