"""What the ``diffusers`` generator was told of its pipeline, checked before anything is built."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmerge import GeneratorError
from bmerge_plugins.torch_options import DTYPES, usable_device

if TYPE_CHECKING:
    import torch

__all__ = ["Settings"]

_PREDICTIONS = (None, "epsilon", "v_prediction")


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of a pipeline, in the form in which they are used.

    Args:
        config: folder with its configuration, or None for what comes with bmerge.
        device: where it computes.
        dtype: of its weights.
        offload: whether its parts wait in main memory.
        embeddings: files of textual inversions.
        loras: file → strength.
        prediction: what the UNet predicts, or None for what the configuration says.
    """

    config: str | None
    device: str
    dtype: torch.dtype
    offload: bool
    embeddings: tuple[Path, ...]
    loras: Mapping[Path, float]
    prediction: str | None

    @classmethod
    def of(
        cls,
        *,
        config: str | None,
        device: str,
        dtype: str,
        offload: bool,
        embeddings: Sequence[str],
        loras: Mapping[str, float],
        prediction: str | None,
    ) -> Settings:
        """Check the generator's options.

        Raises:
            GeneratorError: if one makes no sense, or diffusers is not installed.
        """
        _need_diffusers()
        place = usable_device(device, GeneratorError)
        if prediction not in _PREDICTIONS:
            message = f"prediction is {prediction!r}, must be epsilon or v_prediction"
            raise GeneratorError(message, blame="study")
        if offload and place == "cpu":
            raise GeneratorError(
                "offload needs a GPU to compute on, device is 'cpu'", blame="study"
            )
        return cls(
            config=config,
            device=place,
            dtype=_dtype(dtype, place),
            offload=offload,
            embeddings=tuple(_file(given, "embeddings") for given in embeddings),
            loras={_file(given, "loras"): float(weight) for given, weight in loras.items()},
            prediction=prediction,
        )


def _need_diffusers() -> None:
    for package in ("diffusers", "transformers", "accelerate", "peft"):
        if importlib.util.find_spec(package) is None:
            message = f"the generator 'diffusers' needs {package}, which is not installed"
            raise GeneratorError(message, blame="study", hint="pip install 'bmerge[diffusers]'")


def _dtype(wanted: str, device: str) -> Any:
    import torch

    if wanted == "auto":
        wanted = "fp32" if device == "cpu" else "fp16"
    if wanted not in DTYPES:
        raise GeneratorError(
            f"dtype is {wanted!r}, must be auto or one of {', '.join(DTYPES)}", blame="study"
        )
    return getattr(torch, DTYPES[wanted])


def _file(given: str, option: str) -> Path:
    path = Path(given).expanduser()
    if not path.is_file():
        raise GeneratorError(f"{option}: there is no file {str(path)!r}", blame="study")
    return path
