"""Which file of a folder is the model, as Hugging Face names them, and pipelines of diffusers.

The weights of a model are one file or an index of shards, as .safetensors or pickled, and perhaps
there twice: ``model.fp16.safetensors`` is a variant of ``model.safetensors``. A pipeline is a
folder of models, each in a folder of its own that ``model_index.json`` names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from bmerge.errors import FormatError
from bmerge.reading import check_regular

__all__ = ["PIPELINE", "components_of", "holds_model", "home_of", "is_index", "weights_of"]

PIPELINE = "model_index.json"
"""What a folder of diffusers has that holds a whole pipeline."""

_INDEX = r".+\.(?:safetensors|bin)\.index(?:\.[^.]+)?\.json"
_SHARD = r".*-\d{5,}-of-(\d{5,})(\..*)?\.(?:safetensors|bin)"
_USUAL = r"(?:diffusion_pytorch_model|pytorch_model|model)"
_KINDS = (
    r".+\.safetensors\.index\.json",
    rf"(?!{_USUAL}\.[^.]+\.safetensors).+\.safetensors",
    rf"{_USUAL}\.safetensors\.index\.[^.]+\.json",
    rf"{_USUAL}\.[^.]+\.safetensors",
    rf"{_USUAL}\.bin\.index\.json",
    rf"{_USUAL}(?:\.[^.]+)?\.bin",
    r".+\.gguf",
)
"""Names of what holds a model, the best first: of the first that there is, there must be one."""
_HINT = "give a .safetensors, .gguf or .ckpt file, a *.index.json, or a folder with one"
_LARGEST = 1 << 20
"""Bytes; a model_index.json has a few hundred."""
_WITHOUT = ("_", "safety_checker", "scheduler", "tokenizer", "feature_", "image_processor")
"""How entries start that have no weights, or judge finished pictures and are never merged."""
_FIRST = ("unet", "transformer")
_NAMED = 2


def is_index(path: Path) -> bool:
    """Tell whether a file is the index of shards, by its name."""
    return re.fullmatch(_INDEX, path.name) is not None


def home_of(model: Path) -> Path | None:
    """Return the folder that is one model, with what lies beside its weights; None for a file."""
    return model if model.is_dir() else model.parent if is_index(model) else None


def holds_model(folder: Path) -> bool:
    """Tell whether a path is a folder with a model in it, whole or not."""
    try:
        names = [file.name for file in folder.iterdir()] if folder.is_dir() else []
    except (OSError, ValueError):  # of a name that no file can have, too
        return False
    return PIPELINE in names or any(re.fullmatch(kind, name) for name in names for kind in _KINDS)


def weights_of(folder: Path) -> Path:
    """Return the file or index that holds the weights of the one model in a folder.

    Of the same weights, safetensors go before pickles, and full precision before variants.

    Raises:
        FormatError: if there is none, or there are several models.
    """
    names = sorted(file.name for file in folder.iterdir())
    for kind in _KINDS:
        found = [name for name in names if re.fullmatch(kind, name)]
        if len(found) == 1:
            return _whole(folder / found[0])
        if found:
            first = ", ".join(found[:3])
            message = f"{folder} holds {len(found)} checkpoints ({first}, …)"
            raise FormatError(message, path=folder, hint="name one of the files")
    raise FormatError(f"no checkpoint in folder {folder}", path=folder, hint=_HINT)


def components_of(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the models of a pipeline: name, and the file that holds its weights.

    The diffusion model is the first. What has no weights, such as a tokenizer, is left out.

    Raises:
        FormatError: if ``model_index.json`` is broken, or a model's weights are missing.
    """
    entries = _entries(folder / PIPELINE)
    names = [name for name, what in entries.items() if _is_component(name, what)]
    for name in sorted(names, key=lambda name: name not in _FIRST):
        within = folder / name
        if not within.is_dir():
            if entries[name] != [None, None]:
                message = f"{folder} has no folder {name!r}, which its {PIPELINE} names"
                raise FormatError(message, path=folder, hint="download all files of the model")
        elif (within / "config.json").exists():
            yield name, weights_of(within)


def _is_component(name: str, what: object) -> bool:
    """Tell an entry that names a library and a class of it from settings of the pipeline."""
    if not isinstance(what, list) or name.startswith(_WITHOUT):
        return False
    return len(what) == _NAMED and all(each is None or isinstance(each, str) for each in what)


def _entries(path: Path) -> Mapping[str, object]:
    try:
        check_regular(path)
        if path.stat().st_size > _LARGEST:
            raise FormatError(f"{path}: larger than {_LARGEST} bytes", path=path)
        entries = json.loads(path.read_bytes())
    except OSError as error:
        raise FormatError(f"{path}: {error.strerror}", path=path) from error
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: not JSON: {error}", path=path) from error
    if not isinstance(entries, dict):
        raise FormatError(f"{path}: not a mapping of components", path=path)
    return entries


def _whole(path: Path) -> Path:
    """Return a file that is the only one in its folder, unless others of its set are missing."""
    shard = re.fullmatch(_SHARD, path.name)
    if shard and int(shard[1]) > 1:
        message = f"{path.parent} holds {path.name}, one of {int(shard[1])} shards, and no index"
        hint = "download all files of the model, the *.safetensors.index.json too"
        raise FormatError(message, path=path.parent, hint=hint)
    return path
