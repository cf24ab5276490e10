"""What lies in a model's folder beside its weights: configurations, tokenizers, licences."""

from __future__ import annotations

import filecmp
import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from bmerge.formats import CodedTensor, leading
from bmerge.formats.folders import PIPELINE
from bmerge.plan import Plan
from bmerge.temporaries import temporary_folder

__all__ = ["companions_of", "copy_companions", "quantised_parts"]

_WEIGHTS = re.compile(
    r".+\.(?:safetensors|bin|ckpt|pth?|gguf|msgpack|h5|onnx(?:_data)?|index(?:\.[^.]+)?\.json)"
)
_CONFIG = "config.json"
_OF_CODES = "quantization_config"
"""The entry of a config by which loaders expect codes."""
_SETTINGS = frozenset({"quantize_config.json", "quant_config.json"})
"""Files that tell of codes and of nothing else."""


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


def quantised_parts(plan: Plan) -> frozenset[str]:
    """Return the first words of the keys of weights that are written as the first model has them.

    Which is as codes: what the configs beside them say of codes holds in these parts alone.
    """
    coded = [t for t in leading(plan.checkpoints).tensors.values() if isinstance(t, CodedTensor)]
    companions = {info.key for tensor in coded for _, info in tensor.others}
    kept = (output.key for output in plan.outputs if output.key in companions)
    return frozenset(key.partition(".")[0] for key in kept)


def copy_companions(
    source: Path, target: Path, components: Collection[str], quantised: Collection[str]
) -> tuple[str, ...]:
    """Copy the files beside a model's weights into another folder; those that are there stay.

    Each appears as a whole: one that is cut off would be there, and stay, in every merge after it.
    Of weights that are codes no more, their configs do not say that they are.

    Args:
        source: the folder of the model.
        target: the folder that is written.
        components: whose weights are written anew.
        quantised: see :func:`quantised_parts`.

    Returns:
        The names of those that are not copied because others are there.

    Raises:
        OSError: if one cannot be copied.
    """
    stay = []
    for relative in companions_of(source, components):
        file = target / relative
        folder = relative.parts[0] if len(relative.parts) > 1 else None
        plain = not quantised if folder is None else folder in {*components} - {*quantised}
        if plain and relative.name in _SETTINGS:
            continue
        text = _of_floats(source / relative) if plain and relative.name == _CONFIG else None
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            _appear(file, source / relative, text)
        elif not _is_copy(file, source / relative, text):
            stay.append(str(relative))
    return tuple(stay)


def _is_copy(file: Path, source: Path, text: str | None) -> bool:
    """Tell whether a file holds a text, or else what another one does."""
    if text is not None:
        return file.read_bytes() == text.encode()
    return filecmp.cmp(file, source, shallow=False)


def _appear(file: Path, source: Path, text: str | None) -> None:
    """Make a file with a text, or else the copy of another one, that appears as a whole."""
    import shutil  # most merges have none

    with temporary_folder("companion", file.parent) as staging:
        part = staging / file.name
        if text is None:
            shutil.copyfile(source, part)
        else:
            part.write_text(text, encoding="utf-8")
        part.replace(file)


def _of_floats(config: Path) -> str | None:
    """Return what a config says but that weights are codes; None if it does not say that."""
    try:
        entries = json.loads(config.read_bytes())
    except (ValueError, RecursionError):
        return None
    if not isinstance(entries, dict) or _OF_CODES not in entries:
        return None
    del entries[_OF_CODES]
    return json.dumps(entries, indent=2) + "\n"
