"""What the ``diffusers`` generator was told of its pipeline, checked before anything is built."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bmerge import GeneratorError, OptionGroup, option
from bmerge_plugins.torch_options import DTYPES, usable_device

if TYPE_CHECKING:
    import torch

__all__ = ["PipelineOptions", "PipelineSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineOptions(OptionGroup):
    """How a pipeline is built, as a study file says it."""

    config: str | None = option(
        None,
        "a folder as diffusers saves pipelines, with the configuration of the model; needed "
        "where it is not a plain SD1, SD2 or SDXL. Weights in it are used for what the merge does "
        "not have",
    )
    device: str = option(
        "auto",
        "cpu, cuda, cuda:1, mps; auto takes CUDA where there is",
        incidental=True,
    )
    dtype: Literal["auto", "fp32", "fp16", "bf16"] = option(
        "auto", "of its weights; auto is fp16 on a GPU, else fp32"
    )
    offload: bool = option(
        False,  # noqa: FBT003
        "keep in the GPU's memory only what is being computed with",
        incidental=True,
    )
    batch: int = option(1, "pictures that are made together", least=1, incidental=True)
    embeddings: Sequence[str] = option(
        (), "files of textual inversions; the file's name is the word"
    )
    loras: Mapping[str, float] | None = option(
        None, "file → strength of LoRAs that are kept on every merge"
    )
    prediction: Literal["epsilon", "v_prediction"] | None = option(
        None, "what the network predicts, where the configuration is wrong about it"
    )

    def settings(self) -> PipelineSettings:
        """Return the options in the form in which they are used.

        Raises:
            GeneratorError: if one makes no sense, or diffusers is not installed.
        """
        _need_diffusers()
        place = usable_device(self.device, GeneratorError)
        if self.offload and place == "cpu":
            raise GeneratorError(
                "offload needs a GPU to compute on, device is 'cpu'", blame="study"
            )
        return PipelineSettings(
            config=self.config,
            device=place,
            dtype=_dtype(self.dtype, place),
            offload=self.offload,
            embeddings=tuple(_file(given, "embeddings") for given in self.embeddings),
            loras={
                _file(given, "loras"): float(weight) for given, weight in (self.loras or {}).items()
            },
            prediction=self.prediction,
        )


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    """The options of a pipeline, in the form in which they are used: files there, types torch's."""

    config: str | None
    device: str
    dtype: torch.dtype
    offload: bool
    embeddings: tuple[Path, ...]
    loras: Mapping[Path, float]
    prediction: str | None


def _need_diffusers() -> None:
    for package in ("diffusers", "transformers", "accelerate", "peft"):
        if importlib.util.find_spec(package) is None:
            message = f"the generator 'diffusers' needs {package}, which is not installed"
            raise GeneratorError(message, blame="study", hint="pip install 'bmerge[diffusers]'")


def _dtype(wanted: str, device: str) -> Any:
    import torch

    if wanted == "auto":
        wanted = "fp32" if device == "cpu" else "fp16"
    return getattr(torch, DTYPES[wanted])


def _file(given: str, option: str) -> Path:
    path = Path(given).expanduser()
    if not path.is_file():
        raise GeneratorError(f"{option}: there is no file {str(path)!r}", blame="study")
    return path
