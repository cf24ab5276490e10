"""What mergers of the AUTOMATIC1111 family write into a merged file, as a recipe.

``sd_merge_recipe`` says what was done, by the SHA-256 of each model, ``sd_merge_models`` what these
are called: supermerger, Chattiori's merger, and the checkpoint merger of the web UI itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from bmerge.architectures import Architecture
from bmerge.errors import RecipeError
from bmerge.foreign.builder import RecipeBuilder
from bmerge.foreign.webui_elements import with_elements
from bmerge.foreign.webui_methods import CHATTIORI, MODES, SUPERMERGER, WebuiMethod
from bmerge.recipe import BlockWeights, ModelRef, Recipe, Value, parse_weights

__all__ = ["RECIPE_KEY", "read_webui"]

RECIPE_KEY = "sd_merge_recipe"
_MODELS_KEY = "sd_merge_models"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_WITHOUT_BASE = (25, 19)
_CHATTIORI_WEIGHTS = re.compile(
    r"(?:preset:\[.*?\],)?(-?[\d.]+(?:e-?\d+)?)(?:,\[\[([^\]]*)\],\[(.*)\]\])?"
)
_DTYPES = {"fp16": "F16", "bf16": "BF16", "fp8": "F8_E4M3"}
_ABC = ("primary_model_hash", "secondary_model_hash", "tertiary_model_hash")


def read_webui(
    metadata: Mapping[str, str], path: Path, architecture: Architecture, keys: Collection[str]
) -> Recipe:
    """Return the recipe that a merged file tells.

    Args:
        metadata: of the file.
        path: the file, for messages.
        architecture: of the file; the lists of weights are of its blocks.
        keys: of the file; weights of elements are of these.

    Raises:
        RecipeError: if it cannot be read, or has what has no counterpart here.
    """
    data = _json(metadata[RECIPE_KEY], path)
    names = _json(metadata.get(_MODELS_KEY, "{}"), path)
    reader = _Reader(data, names, path, architecture, keys)
    kind = data.get("type")
    if kind == "sd-webui-supermerger":
        return reader.supermerger()
    if kind == "merge-models-chattiori":
        return reader.chattiori()
    if kind == "webui":
        return reader.webui()
    raise RecipeError(f"recipes of {kind!r} are not known", path=path)


def _json(text: str, path: Path) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise RecipeError(f"the metadata's {RECIPE_KEY} cannot be read", path=path)
    return data


class _Reader:
    """Reads the recipe of one file."""

    def __init__(
        self,
        data: Mapping[str, Any],
        names: Mapping[str, Any],
        path: Path,
        architecture: Architecture,
        keys: Collection[str],
    ) -> None:
        self._data = data
        self._names = names
        self._path = path
        self._architecture = architecture
        self._keys = keys
        self._builder = RecipeBuilder()

    def supermerger(self) -> Recipe:
        """Return a recipe of supermerger."""
        calculation = str(self._data.get("calcmode") or "normal")
        mode = str(self._data.get("mode")).partition(":")[0].strip().lower()
        table, name = (MODES, mode) if calculation == "normal" else (SUPERMERGER, calculation)
        if calculation == "extract":
            hint = "'bmerge merge extract A B C --gamma VALUE' does it"
            message = "extract: the file does not tell its third value"
            raise RecipeError(message, path=self._path, hint=hint)
        known = self._known(table, name, "supermerger")
        if "cosine" in calculation and mode != "weight sum":
            raise self._error(f"{calculation} of {mode!r} has no counterpart here")
        models = self._models(["model_a", "model_b", "model_c"][: len(known.models)])
        weights = {}
        for ours, theirs in zip(known.hyperparameters, ("alpha", "beta"), strict=False):
            blocks = self._data.get(f"weights_{theirs}") if self._data.get("mbw") else None
            weights[ours] = self._weights(self._data.get(f"base_{theirs}"), blocks)
        left = (p for p in known.exclude if any(fnmatchcase(key, p) for key in self._keys))
        exclude = (*self._excluded(), *left)
        alpha = known.hyperparameters[0]
        weights[alpha] = self._with_elements(weights[alpha], exclude)
        result = self._builder.step(known.ours, models, weights, {})
        return self._builder.recipe(result, architecture=self._architecture.id, exclude=exclude)

    def chattiori(self) -> Recipe:
        """Return a recipe of Chattiori's merger, which keeps the VAE of its first model."""
        name = str(self._data.get("merge_method"))
        known = self._known(CHATTIORI, name.lower(), "Chattiori's merger")
        for key in ("calculation", "bake_in_vae", "rebasin"):
            if self._data.get(key):
                raise self._error(f"{key}: {self._data[key]} has no counterpart here")
        models = self._models(_ABC[: len(known.models)])
        weights = {}
        for ours, theirs in zip(known.hyperparameters, ("alpha", "beta"), strict=False):
            weights[ours] = self._chattiori_weights(theirs)
        parts = {"*": self._builder.step(known.ours, models, weights, {}), "vae": models[0]}
        parts |= self._outside_of_blocks(known, models, weights)
        return self._builder.recipe(
            self._builder.pick(parts),
            architecture=self._architecture.id,
            dtype="F16"
            if self._data.get("save_as_half")
            else _DTYPES.get(self._data.get("fp", "")),
            prune=bool(self._data.get("pruned")),
        )

    def webui(self) -> Recipe:
        """Return a recipe of the web UI's own merger."""
        name = str(self._data.get("interp_method")).lower()
        known = self._known(CHATTIORI, name, "the web UI")
        for key in ("bake_in_vae", "discard_weights"):
            if self._data.get(key) not in (None, "", "None", False):
                raise self._error(f"{key}: {self._data[key]} has no counterpart here")
        models = self._models(_ABC[: len(known.models)])
        weights = {"alpha": self._weights(self._data.get("multiplier"), None)}
        result = self._builder.step(known.ours, models, weights, {})
        return self._builder.recipe(result, dtype="F16" if self._data.get("save_as_half") else None)

    def _known(self, table: Mapping[str, WebuiMethod], name: str, tool: str) -> WebuiMethod:
        if name not in table:
            raise self._error(f"{name!r} of {tool} has no counterpart here")
        return table[name]

    def _models(self, keys: Sequence[str]) -> tuple[Value, ...]:
        return tuple(self._builder.model(self._model(key)) for key in keys)

    def _model(self, key: str) -> ModelRef:
        """Return a model by its hash; some versions write two hashes."""
        found = self._data.get(key)
        digest = found[0] if isinstance(found, list) and found else found
        if not isinstance(digest, str):
            raise self._error(f"{key} is missing")
        entry = self._names.get(digest)
        name = entry.get("name") if isinstance(entry, dict) else None
        path = re.sub(r" \[[0-9a-f]+\]$", "", str(name or digest))
        if not path.endswith((".safetensors", ".ckpt", ".pt")):
            path += ".safetensors"
        return ModelRef(path, digest if _SHA256.fullmatch(digest) else None)

    def _weights(self, base: object, blocks: object) -> BlockWeights:
        """Return weights of one number, or of a list, in which BASE is apart."""
        if not isinstance(base, (int, float, str)):
            raise self._error(f"{base!r} is not a weight")
        if blocks is None:
            return parse_weights(base, self._architecture)
        values = blocks.split(",") if isinstance(blocks, str) else list(blocks)  # type: ignore[call-overload]
        if len(values) in _WITHOUT_BASE:
            values = [base, *values]
        return parse_weights(values, self._architecture)

    def _with_elements(self, weights: BlockWeights, exclude: Sequence[str]) -> BlockWeights:
        """Return weights with those of elements, which supermerger has of alpha alone."""
        of = self._architecture
        left = (k for k in self._keys if not any(fnmatchcase(k, p) for p in exclude))
        keys = [key for key in left if of.block_of(key) not in exclude]
        try:
            return with_elements(weights, self._data.get("elemental_merge"), of, keys)
        except RecipeError as error:
            raise RecipeError(str(error), path=self._path, hint=error.hint) from error

    def _chattiori_weights(self, name: str) -> BlockWeights:
        text = str(self._data.get(f"{name}_info"))
        found = _CHATTIORI_WEIGHTS.fullmatch(text.replace(" ", ""))
        if found is None or found[3] not in (None, "None", ""):
            raise self._error(f"{name}_info {text!r} has no counterpart here")
        return self._weights(found[1], found[2])

    def _outside_of_blocks(
        self, known: WebuiMethod, models: Sequence[Value], weights: Mapping[str, BlockWeights]
    ) -> dict[str, Value]:
        """Return what comes before the blocks, which is at other places there than here.

        With weights of blocks, SD1's time embedding has the weight of OUT11, and SDXL's
        embeddings stay the first model's.
        """
        keys = "model.diffusion_model.time_embed.*", "model.diffusion_model.label_emb.*"
        if not self._data.get("block_weights"):
            return {}
        if "OUT11" not in self._architecture.blocks:
            return dict.fromkeys(keys, models[0])
        last = {name: BlockWeights(weight.of("OUT11")) for name, weight in weights.items()}
        return {keys[0]: self._builder.step(known.ours, tuple(models), last, {})}

    def _excluded(self) -> list[str]:
        """Return what supermerger was told to leave as it is."""
        if self._data.get("Include"):
            raise self._error("'Include' has no counterpart here")
        blocks = self._architecture.blocks
        words = [str(word) for word in self._data.get("Exclude") or []]
        if "Adjust" in words:
            raise self._error("'Adjust' has no counterpart here")
        special = {"VAE": "first_stage_model.*"}
        return [special.get(w, w if w in blocks else f"*{w}*") for w in words]

    def _error(self, message: str) -> RecipeError:
        return RecipeError(message, path=self._path)
