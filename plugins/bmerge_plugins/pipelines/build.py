"""Builds a pipeline from a configuration folder, without weights and without asking a network.

The folder is laid out as diffusers' own: ``model_index.json`` names the components, each of which
has a folder with its configuration. Those of the usual models come with bmerge.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmerge import GeneratorError
from bmerge_plugins.pipelines.tokenizer import clip_tokenizer

if TYPE_CHECKING:
    import torch

__all__ = ["build_pipeline", "config_folder"]


def config_folder(name: str, given: str | None) -> Path:
    """Return the configuration of a family of models, or the user's own.

    Args:
        name: of the family.
        given: the option ``config``.

    Raises:
        GeneratorError: if there is none.
    """
    if given is None:
        folder = Path(__file__).parent / "configs" / name
        if folder.is_dir():
            return folder
        raise GeneratorError(
            f"bmerge has no configuration of its own for {name} pipelines",
            blame="study",
            hint="set config to a folder of such a model from which diffusers can load",
        )
    folder = Path(given).expanduser()
    if not (folder / "model_index.json").is_file():
        raise GeneratorError(
            f"config: there is no {folder / 'model_index.json'}",
            blame="study",
            hint="config is a folder as diffusers saves pipelines; weights need not be in it",
        )
    return folder


def build_pipeline(folder: Path, empty: Collection[str], *, dtype: torch.dtype, device: str) -> Any:
    """Return a pipeline.

    Args:
        folder: with its configuration.
        empty: components whose weights come later; they are zeros. Those of others are loaded
            from the folder.
        dtype: of all weights.
        device: of all weights.

    Raises:
        GeneratorError: if the configuration cannot be read, or weights are missing in it.
    """
    import diffusers
    import transformers

    def made(name: str, value: Any) -> Any:
        if not isinstance(value, list) or not all(isinstance(v, str | None) for v in value):
            return value  # a setting of the pipeline itself
        library, class_name = value
        if library is None:
            return None
        cls = getattr(diffusers if library == "diffusers" else transformers, class_name)
        place = folder / name
        if "Tokenizer" in class_name or "Scheduler" in class_name:
            return _without_network(cls, place)
        if name in empty:
            return _without_weights(cls, place, dtype=dtype, device=device)
        return _with_weights(cls, place, dtype=dtype).to(device)

    try:
        index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
        cls = getattr(diffusers, index["_class_name"])
        expected = inspect.signature(cls.__init__).parameters
        return cls(**{name: made(name, value) for name, value in index.items() if name in expected})
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        message = f"no pipeline can be built from {folder}: {type(error).__name__}: {error}"
        raise GeneratorError(message, blame="study") from error


def _without_network(cls: Any, folder: Path) -> Any:
    """Return a tokenizer or a scheduler."""
    if cls.__name__.startswith("CLIPTokenizer") and not any(folder.glob("*vocab*")):
        return clip_tokenizer(_tokenizer_options(folder))
    return cls.from_pretrained(folder, local_files_only=True)


def _with_weights(cls: Any, folder: Path, *, dtype: torch.dtype) -> Any:
    """Return a model with the weights that are in its folder."""
    if not any(folder.glob("*.safetensors*")):
        raise GeneratorError(
            f"neither the merge nor {folder} has the weights of the {folder.name}",
            blame="study",
            hint="set config to a folder that has them",
        )
    word = "torch_dtype" if hasattr(cls, "load_config") else "dtype"
    return cls.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, **{word: dtype}
    ).eval()


def _tokenizer_options(folder: Path) -> dict[str, Any]:
    file = folder / "tokenizer_config.json"
    given: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    known = ("model_max_length", "bos_token", "eos_token", "unk_token", "pad_token")
    plain = {name: given[name] for name in known if name in given}
    return {
        name: value["content"] if isinstance(value, dict) else value
        for name, value in plain.items()
    }


def _without_weights(cls: Any, folder: Path, *, dtype: torch.dtype, device: str) -> Any:
    """Construct a model with zeros, which costs no random numbers."""
    import torch
    from accelerate import init_empty_weights

    with init_empty_weights(include_buffers=False):
        if hasattr(cls, "load_config"):  # diffusers
            model = cls.from_config(cls.load_config(folder, local_files_only=True))
        else:
            model = cls(cls.config_class.from_pretrained(folder, local_files_only=True))
    made: dict[int, torch.nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if id(parameter) not in made:  # tied parameters stay tied
                zeros = torch.zeros(parameter.shape, dtype=dtype, device=device)
                made[id(parameter)] = torch.nn.Parameter(zeros, requires_grad=False)
            setattr(module, name, made[id(parameter)])
        for name, buffer in list(module.named_buffers(recurse=False)):
            if name in module._non_persistent_buffers_set:  # noqa: SLF001 - torch tells nowhere else
                setattr(module, name, buffer.to(device))
            else:  # a checkpoint has it, so it is merged as a parameter is
                delattr(module, name)
                values = buffer.to(dtype=dtype, device=device)
                setattr(module, name, torch.nn.Parameter(values, requires_grad=False))
    return model.eval()
