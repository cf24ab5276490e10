"""From a checkpoint's layout to a pipeline whose parameters are what a merge writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bmerge import GeneratorError, ParameterPlace, PipelineParts, pipeline_parts
from bmerge_plugins.pipelines.live import LiveWeights, Parameter

__all__ = ["live_weights", "parts_of"]

Layout = Mapping[str, tuple[int, ...]]

_PROJECTION = "text_projection.weight"
_HEADS = (("text_model.", ""), ("", "text_model."), ("model.language_model.", "model."),
          ("", "model."), ("language_model.", "model."), ("model.", ""),
          ("encoder.embed_tokens.", "shared."))  # fmt: skip
"""How names of text encoders begin in one version of transformers, and in another or a file."""


def parts_of(layout: Layout) -> PipelineParts:
    """Return what of a pipeline a checkpoint has.

    Raises:
        GeneratorError: if it is of no kind that is known.
    """
    parts = pipeline_parts(layout)
    if parts is None:
        raise GeneratorError(
            "the merge is not a checkpoint of a kind that bmerge knows in diffusers",
            blame="study",
            hint="'bmerge inspect' tells what it is; convert has --layout for kinds that are known",
        )
    return parts


def live_weights(pipeline: Any, parts: PipelineParts, layout: Layout) -> LiveWeights:
    """Tie the pipeline's parameters to tensors with the checkpoint's keys.

    Args:
        pipeline: whose textual inversions are loaded, and whose LoRAs are not.
        parts: what of it the checkpoint has.
        layout: key → shape of the checkpoint.

    Raises:
        GeneratorError: if the two do not fit together.
    """
    weights = LiveWeights(_parameters(pipeline, parts), layout)
    unused = set(weights.unused)
    places = parts.components[parts.picture].values()
    lost = [key for place in places for key, _, _ in place.pieces if key in unused]
    if lost:
        raise GeneratorError(
            f"the pipeline has no place for {lost[0]!r} and {len(lost) - 1} other tensors",
            blame="study",
            hint="set config to a folder with the configuration of this model",
        )
    return weights


def _parameters(pipeline: Any, parts: PipelineParts) -> Iterator[Parameter]:
    import torch

    for component, places in parts.components.items():
        module = getattr(pipeline, component, None)
        if module is None:
            continue  # the configuration does without
        for names, parameter in _named(module):
            where = f"{component}.{names[0]}"
            place = next((found for name in names if (found := _find(places, name))), None)
            if place is not None:
                yield where, parameter, place
            elif names[0] == _PROJECTION:
                parameter.data.copy_(torch.eye(*parameter.shape))  # the original code's
            else:
                message = f"the merge has nothing for the pipeline's {where}"
                hint = "set config to a folder with the configuration of this model"
                raise GeneratorError(message, blame="study", hint=hint)


def _named(module: Any) -> Iterator[tuple[list[str], Any]]:
    """Yield each parameter of a module with all names that it has there."""
    names: dict[int, tuple[list[str], Any]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), ([], parameter))[0].append(name)
    yield from names.values()


def _find(places: Mapping[str, ParameterPlace], name: str) -> ParameterPlace | None:
    """Return the place of a parameter."""
    if name in places:
        return places[name]
    others = (new + name.removeprefix(old) for old, new in _HEADS if name.startswith(old))
    return next((places[other] for other in others if other in places), None)
