"""What lies in a model's folder beside its weights: configurations, tokenizers, licences."""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from bmerge.formats import Checkpoint
from bmerge.formats.folders import PIPELINE, is_index

__all__ = ["companions_of", "copy_companions", "home_of"]

_WEIGHTS = re.compile(
    r".+\.(?:safetensors|bin|ckpt|pth?|gguf|msgpack|h5|onnx(?:_data)?|index(?:\.[^.]+)?\.json)"
)


def home_of(checkpoint: Checkpoint) -> Path | None:
    """Return the folder that is one model, with what lies beside its weights; None for a file."""
    path = checkpoint.path
    return path if path.is_dir() else path.parent if is_index(path) else None


def companions_of(folder: Path, components: Collection[str]) -> Iterator[Path]:
    """Yield the files of a folder that belong to a model, relative to it.

    Args:
        folder: of a pipeline of diffusers, or of one model.
        components: folders within it whose weights are written anew; of others, all is taken.
    """
    for path in sorted(folder.iterdir()):
        if path.is_file():
            if not (_WEIGHTS.fullmatch(path.name) or path.name.startswith(".")):
                yield path.relative_to(folder)
        elif (folder / PIPELINE).exists() and not path.name.startswith("."):
            for file in sorted(path.iterdir()):
                weights = path.name in components and _WEIGHTS.fullmatch(file.name)
                if file.is_file() and not weights and not file.name.startswith("."):
                    yield file.relative_to(folder)


def copy_companions(source: Path, target: Path, components: Collection[str]) -> int:
    """Copy the files beside a model's weights into another folder; those that are there stay.

    Args:
        source: the folder of the model.
        target: the folder that is written.
        components: whose weights are written anew.

    Returns:
        How many were copied.

    Raises:
        OSError: if one cannot be copied.
    """
    count = 0
    for relative in companions_of(source, components):
        file = target / relative
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / relative, file)
            count += 1
    return count
