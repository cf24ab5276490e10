"""What a merged file says of itself: its recipe, its inputs' hashes and their own ancestry.

The first model's entries are carried over as far as they are true of the merge.

Nothing in it depends on the time, the machine or the place of a file, so that equal merges give
equal bytes: inputs are named by their file name and SHA-256.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from bmerge.architectures.patterns import Contents
from bmerge.formats import Checkpoint, leading
from bmerge.lora.patched import loras_of
from bmerge.plan import OutputTensor, Plan, PlannedStep
from bmerge.recipe import ModelRef, Recipe, Step, lora_data, recipe_data
from bmerge.recipe.ancestry import FOREIGN, RECIPE_KEY, VERSION, Ancestors, distances, shortened
from bmerge.version import __version__

__all__ = ["build_metadata", "fitted", "model_of", "origin_text"]

_TRUE = frozenset(
    f"modelspec.{name}"
    for name in (
        "architecture", "implementation", "prediction_type", "resolution", "encoder_layer",
        "timestep_range", "license", "tags", "usage_hint", "trigger_phrase", "predict_key",
        "preprocessor", "unet_dtype", "vae_dtype",
    )
)  # fmt: skip
"""What stays true of a merge if it is true of its first input."""
_ITS_OWN = frozenset(
    {"format", "_quantization_metadata", "sshs_model_hash", "sshs_legacy_hash", *FOREIGN}
)
"""What is true of a file alone, or is kept within the ancestry."""
_BY_VARIANT = frozenset({"modelspec.architecture", "modelspec.prediction_type"})
"""What the keys of the output may tell better than its first input."""
_CONFIG = "config"
"""What some models are made of, as JSON."""
_LARGEST = 99_000_000
"""Bytes of a header; the format has a million more."""
_ROW = len(':{"dtype":"F8_E4M3FNUZ","shape":[],"data_offsets":[,]},')
"""Bytes of a tensor there, beside its name and its numbers."""


def build_metadata(plan: Plan, hashes: Mapping[Path, str] | None) -> dict[str, str]:
    """Return the string map for a merged file.

    Its length does not depend on what the hashes are.

    Args:
        plan: the merge.
        hashes: path of each input → its SHA-256; None leaves them out.
    """
    names = list(dict.fromkeys(checkpoint.path.name for checkpoint in plan.inputs))
    return {
        "format": "pt",
        RECIPE_KEY: origin_text(_origin(plan, hashes)),
        "bmerge.version": __version__,
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.title": f"{plan.title} of {', '.join(names)}",
        "modelspec.merged_from": ", ".join(names),
        **_carried(plan),
    }


def _carried(plan: Plan) -> dict[str, str]:
    """Return what the output's own variant says, and what the first model does.

    Where they differ, the first model is right, who may know what no key tells; unless the output
    is of a variant that has a name of its own, or no longer of the one that the first model names.
    """
    architecture, first = plan.architecture, leading(plan.checkpoints)
    spec = dict(architecture.modelspec)
    if architecture.variants:  # or there is no need to go through all keys
        contents = Contents({output.key: output for output in plan.outputs})
        spec = architecture.modelspec_of(contents)
    found = {**spec, **_inherited(first)}
    for key in _BY_VARIANT & spec.keys():
        named = [each for each in architecture.variants if key in each.modelspec]
        also = {each.modelspec[key]: each.also for each in named}
        if found[key] in also.get(spec[key], ()):
            continue
        special = {*also, *chain.from_iterable(also.values())}
        if spec[key] != architecture.modelspec.get(key) or found[key] in special:
            found[key] = spec[key]
    if _CONFIG not in found:  # loaders of video models ask for it
        configs = [each.metadata.get(_CONFIG) for each in plan.checkpoints]
        config = next((text for text in configs if text is not None), None)
        found |= {} if config is None else {_CONFIG: config}
    return found


def fitted(
    metadata: Mapping[str, str], plan: Plan, *, largest: int = _LARGEST
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return metadata that a header has room for beside the tensors.

    Its ancestry is shortened first, from the far end; then what the first model brings along.

    Args:
        metadata: from :func:`build_metadata`.
        plan: the merge.
        largest: bytes of a header.

    Returns:
        The metadata, and notes about what was left out.
    """
    room = largest - _length_of_rows(plan.outputs)
    found, notes = dict(metadata), []
    if _length(found) > room and RECIPE_KEY in found:
        origin = json.loads(found[RECIPE_KEY])
        back = distances(origin)
        most = max(back.values(), default=0)
        while _length(found) > room and most > 0:
            most //= 2
            found[RECIPE_KEY] = origin_text(shortened(origin, most))
        left = sum(steps > most for steps in back.values())
        if left:
            notes.append(f"the header has no room for {left} of {len(back)} ancestors")
    carried = sorted(
        _inherited(leading(plan.checkpoints)), key=lambda key: -len(found.get(key, ""))
    )
    for key in carried:
        if key in found and _length(found) > room:
            del found[key]
            notes.append(
                f"the header has no room for {key!r} of {leading(plan.checkpoints).path.name}"
            )
    return found, tuple(notes)


def _length_of_rows(outputs: Sequence[OutputTensor]) -> int:
    """Return how many bytes the tensors take in a header, or some more."""
    end = sum(out.nbytes for out in outputs)
    length = sum(len(_quoted(out.key)) + len(str(out.shape)) for out in outputs)
    return length + len(outputs) * (_ROW + 2 * len(str(end)))


def origin_text(origin: Mapping[str, Any]) -> str:
    """Return an origin as the metadata has it."""
    data = {"version": VERSION, **origin}
    if not data.get("ancestors"):
        data.pop("ancestors", None)
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False)


def model_of(
    checkpoint: Checkpoint, hashes: Mapping[Path, str], ancestors: Ancestors
) -> dict[str, Any]:
    """Return what a file made of a checkpoint tells of it: name, hash and how it was made.

    Args:
        checkpoint: the input.
        hashes: path of each input → its SHA-256.
        ancestors: of the file; the checkpoint's own join them.
    """
    data: dict[str, Any] = {"name": checkpoint.path.name}
    if checkpoint.path in hashes:
        data["sha256"] = hashes[checkpoint.path]
    number = ancestors.add(checkpoint.metadata)
    return data if number is None else {**data, "ancestor": number}


_quoted = json.encoder.encode_basestring_ascii


def _length(metadata: Mapping[str, str]) -> int:
    """Return the bytes that metadata takes in a header."""
    return len(json.dumps(metadata, ensure_ascii=False).encode("utf-8", "surrogatepass"))


def _inherited(first: Checkpoint) -> dict[str, str]:
    """Return what the first model says that is true of the merge, or that nobody here knows."""
    return {
        key: text
        for key, text in first.metadata.items()
        if (key in _TRUE or not key.startswith(("modelspec.", "bmerge."))) and key not in _ITS_OWN
    }


def _origin(plan: Plan, hashes: Mapping[Path, str] | None) -> dict[str, Any]:
    """Return the recipe as data, complete, with what is known of its inputs."""
    ancestors = Ancestors()
    data = recipe_data(_complete(plan))
    refs = plan.recipe.models
    models = [
        _input(ref, checkpoint, hashes or {}, ancestors)
        for ref, checkpoint in zip(refs, plan.checkpoints, strict=True)
    ]
    named = dict(zip((ref.name for ref in refs), models, strict=True))
    known = models if plan.recipe.result is None else named
    return {**data, "models": known, "ancestors": ancestors.entries}


def _complete(plan: Plan) -> Recipe:
    """Return the recipe with its defaults written out: they may change one day."""
    known = {planned.step.name: planned for planned in plan.steps}
    plugins = (replace(p, path=Path(p.path).name if p.path else None) for p in plan.recipe.plugins)
    recipe = replace(plan.recipe, architecture=plan.architecture.id, plugins=tuple(plugins))
    if plan.recipe.result is None:
        only = _spelt_out(known[""])
        return replace(
            recipe, method=only.method, hyperparameters=only.hyperparameters, options=only.options
        )
    steps = (_spelt_out(known[s.name]) if s.name in known else s for s in recipe.steps)
    return replace(recipe, steps=tuple(steps))


def _spelt_out(planned: PlannedStep) -> Step:
    options = {option.name: option.default for option in planned.method.options}
    return replace(
        planned.step,
        method=planned.method.name,
        hyperparameters=planned.weights,
        options={**options, **planned.step.options},
    )


def _input(
    ref: ModelRef, checkpoint: Checkpoint, hashes: Mapping[Path, str], ancestors: Ancestors
) -> dict[str, Any]:
    """Return an input with what the recipe says of it, and the LoRAs on it."""
    data = model_of(checkpoint, hashes, ancestors)
    loras = [
        {
            **model_of(applied.lora.checkpoint, hashes, ancestors),
            "weight": lora_data(lora)["weight"],
        }
        for lora, applied in zip(ref.loras, loras_of(checkpoint), strict=True)
    ]
    if loras:
        data["loras"] = loras
    return data if ref.content == "model" else {**data, "content": ref.content}
