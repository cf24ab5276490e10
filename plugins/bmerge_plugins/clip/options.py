"""The options that scorers with a network share, and from those over CLIP to a loaded tower."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from bmerge import Download, OptionGroup, ScorerError, option
from bmerge_plugins.clip.files import find_file
from bmerge_plugins.clip.load import LOCAL, load_tower
from bmerge_plugins.clip.tower import Tower

__all__ = ["CLIP_L", "ClipOptions", "NetworkOptions"]

CLIP_L = Download("openai/clip-vit-large-patch14", "model.safetensors", "MIT")
"""OpenAI's weights of ``ViT-L-14-quickgelu``."""

_USUAL: Mapping[str, Download] = {"ViT-L-14-quickgelu": CLIP_L}
"""Where the weights are for models that most people mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkOptions(OptionGroup):
    """Where weights are, and where and how a network runs."""

    scorer_model_dir: str | None = option(
        None, "the folder with the scorers' weights", incidental=True
    )
    device: str = option("auto", "auto, cpu, cuda, cuda:1 …", incidental=True)
    precision: Literal["fp32", "fp16", "bf16"] = option("fp32", "of the network's numbers")
    batch: int = option(
        16, "how many pictures go through the network at a time, at most", least=1, incidental=True
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipOptions(NetworkOptions):
    """Which CLIP model, where its weights are, and how it runs."""

    model: str = option("ViT-L-14-quickgelu", "as open_clip calls it, or local-dir: and a folder")
    weights: str | None = option(None, "of the model: a path, absolute or within the folder")

    def open(self, scorer: str, *, download: Download | None = None) -> Tower:
        """Return the tower that the options describe.

        Args:
            scorer: its name, for messages.
            download: the usual file, where it follows from the scorer and not from the model.

        Raises:
            ScorerError: if an option makes no sense, or the weights are not there.
        """
        file = None
        if not self.model.startswith(LOCAL):
            file = find_file(
                scorer,
                weights=self.weights,
                scorer_model_dir=self.scorer_model_dir,
                download=download or _USUAL.get(self.model),
            )
        elif self.weights is not None:
            raise ScorerError(
                f"{scorer}: weights and a folder as model exclude each other", blame="study"
            )
        return load_tower(self.model, file, device=self.device, precision=self.precision)
