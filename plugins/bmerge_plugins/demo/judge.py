"""Score a picture by how surely it shows the colour and the shape of its prompt.

The judge is a small convolutional network with two heads, trained on drawn pictures, on what the
autoencoder makes of them, on blends (so its certainty falls by degrees) and on empty pictures (so
that it is unsure of nonsense).  Its score is P(colour) x P(shape).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from bmerge_plugins.demo import assets
from bmerge_plugins.demo.renderer import SIZE
from bmerge_plugins.demo.words import COLOURS, SHAPES, find_colour, find_shape

WIDTHS = (16, 32, 48, 64)


class UnknownPromptError(ValueError):
    """A prompt names no colour and no shape that the judge knows.

    Attributes:
        prompt: the prompt.
    """

    def __init__(self, prompt: str) -> None:
        self.prompt = prompt
        known = f"colours {', '.join(COLOURS)}; shapes {', '.join(SHAPES)}"
        super().__init__(f"the prompt {prompt!r} names no known colour or shape ({known})")


class JudgeNetwork(nn.Module):
    """Pictures [n, 3, 64, 64] in -1..1 to colour logits [n, 9] and shape logits [n, 10]."""

    def __init__(self) -> None:
        super().__init__()
        inputs = (3, *WIDTHS[:-1])
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, 3, padding=1) for a, b in zip(inputs, WIDTHS, strict=True)
        )
        self.norms = nn.ModuleList(nn.GroupNorm(8, width) for width in WIDTHS)
        features = 2 * WIDTHS[-1]
        self.hidden = nn.Linear(features, features)
        self.colour = nn.Linear(features, len(COLOURS))
        self.shape = nn.Linear(features, len(SHAPES))

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Judge pictures."""
        x = functional.avg_pool2d(pictures, 2)
        for index, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = functional.silu(norm(conv(x)))
            if index < len(WIDTHS) - 1:
                x = functional.max_pool2d(x, 2)
        features = torch.cat([x.mean((2, 3)), x.amax((2, 3))], dim=1)
        features = functional.silu(self.hidden(features))
        return self.colour(features), self.shape(features)


class Judge:
    """The trained judge; build it by ``Judge.load()``."""

    def __init__(self, network: JudgeNetwork) -> None:
        self.network = network.eval()

    @classmethod
    def load(cls) -> Judge:
        """Read the judge that bmerge ships."""
        network = JudgeNetwork()
        network.load_state_dict(load_file(assets.path("judge")))
        return cls(network)

    def probabilities(self, images: Sequence[Image.Image]) -> tuple[Tensor, Tensor]:
        """Return P(colour), [n, 9], and P(shape), [n, 10]; images of any size and mode."""
        with torch.inference_mode():
            colour, shape = self.network(_to_tensor(images))
            return colour.softmax(1), shape.softmax(1)

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[float]:
        """Return one score for each image, 0 to 1, higher is better.

        A prompt that names only a colour, or only a shape, is scored by that alone.

        Args:
            images: pictures of any size and mode.
            prompts: what each should show.

        Raises:
            UnknownPromptError: a prompt names neither colour nor shape.
            ValueError: images and prompts differ in number.
        """
        wanted = [_wanted(prompt) for prompt in prompts]
        if len(images) != len(wanted):
            message = f"{len(images)} images, {len(wanted)} prompts"
            raise ValueError(message)
        if not images:
            return []
        colours, shapes = (p.tolist() for p in self.probabilities(images))
        return [
            (colours[i][c] if c is not None else 1.0) * (shapes[i][s] if s is not None else 1.0)
            for i, (c, s) in enumerate(wanted)
        ]


def _wanted(prompt: str) -> tuple[int | None, int | None]:
    """Return the places of the prompt's colour and shape in the judge's heads."""
    colour, shape = find_colour(prompt), find_shape(prompt)
    if colour is None and shape is None:
        raise UnknownPromptError(prompt)
    return (
        COLOURS.index(colour) if colour is not None else None,
        SHAPES.index(shape) if shape is not None else None,
    )


def _to_tensor(images: Sequence[Image.Image]) -> Tensor:
    arrays = [np.asarray(_fitted(image), dtype=np.float32) for image in images]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2) / 127.5 - 1


def _fitted(image: Image.Image) -> Image.Image:
    image = image.convert("RGB")
    if image.size == (SIZE, SIZE):
        return image
    return image.resize((SIZE, SIZE), Image.Resampling.BOX)
