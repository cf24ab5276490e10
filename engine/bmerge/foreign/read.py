"""Tells whose recipe a file is, and reads it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bmerge.architectures import detect, outlines
from bmerge.errors import RecipeError
from bmerge.foreign.mecha import read_mecha
from bmerge.foreign.mergekit import is_mergekit, read_mergekit
from bmerge.foreign.own import OwnFile
from bmerge.foreign.unfold import unfolded
from bmerge.foreign.webui import RECIPE_KEY as WEBUI_KEY
from bmerge.foreign.webui import read_webui
from bmerge.formats import open_checkpoint
from bmerge.formats.folders import holds_model, is_index
from bmerge.formats.target import GGUF_SUFFIX, PICKLED_SUFFIXES, SAFETENSORS_SUFFIXES
from bmerge.reading import NOT_TEXT, SAVE_AS_TEXT, read_text
from bmerge.recipe import Recipe, read_document
from bmerge.recipe.ancestry import RECIPE_KEY, origin_of
from bmerge.recipe.load import ArchitectureOf, recipe_of

__all__ = ["is_merged_file", "own_file", "read_any_recipe"]

_SUFFIXES = (*SAFETENSORS_SUFFIXES, *PICKLED_SUFFIXES, GGUF_SUFFIX)


def is_merged_file(path: str | Path) -> bool:
    """Tell whether a path is that of a checkpoint or of a folder of one, which may tell how."""
    path = Path(path)
    return path.name.lower().endswith(_SUFFIXES) or is_index(path) or holds_model(path)


def read_any_recipe(path: str | Path, *, architecture_of: ArchitectureOf | None = None) -> Recipe:
    """Read a recipe, bmerge's own or another tool's.

    Args:
        path: YAML or JSON of bmerge or mergekit, a ``.mecha`` file of sd-mecha, or a merged file
            that tells its recipe in its metadata.
        architecture_of: see :func:`bmerge.recipe.load_recipe`.

    Raises:
        RecipeError: if it cannot be read, or has what has no counterpart here.
    """
    path = Path(path)
    if path.suffix.lower() == ".mecha":
        return read_mecha(_text(path), path)
    if is_merged_file(path):
        return _of_merged_file(path)
    node = read_document(path, name="the recipe")
    if is_mergekit(node):
        return read_mergekit(node, architecture_of)
    return recipe_of(node, architecture_of=architecture_of)


def own_file(path: Path, *, verified: bool = True, places: Sequence[Path] = ()) -> OwnFile | None:
    """Return a file that bmerge has merged; None if its metadata does not say so.

    Args:
        path: the file.
        verified: whether its inputs must have the SHA-256 that they had.
        places: files and folders that its inputs are looked for in.

    Raises:
        FormatError: if it cannot be read.
        RecipeError: if bmerge has made it in another way.
    """
    origin = origin_of(open_checkpoint(path).metadata)
    return None if origin is None else OwnFile(path, origin, verified=verified, places=places)


def _of_merged_file(path: Path) -> Recipe:
    own = own_file(path)
    if own is not None:
        return unfolded(own)
    checkpoint = open_checkpoint(path)
    metadata = checkpoint.metadata
    if "mecha_recipe" in metadata:
        return read_mecha(metadata["mecha_recipe"], path)
    if RECIPE_KEY in metadata:
        message = f"{RECIPE_KEY} in its metadata is damaged"
        raise RecipeError(message, path=path, hint="another copy of the file may be whole")
    if WEBUI_KEY not in metadata:
        message = "its metadata has neither bmerge.recipe nor sd_merge_recipe nor mecha_recipe"
        raise RecipeError(message, path=path, hint="'bmerge inspect FILE' shows what it has")
    architecture = detect(checkpoint.tensors, outlines())
    return read_webui(metadata, path, architecture, checkpoint.tensors)


def _text(path: Path) -> str:
    try:
        return read_text(path)
    except UnicodeDecodeError as error:
        raise RecipeError(NOT_TEXT, path=path, hint=SAVE_AS_TEXT) from error
    except OSError as error:
        raise RecipeError(f"cannot be read: {error.strerror}", path=path) from error
