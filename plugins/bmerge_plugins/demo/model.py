"""The demo's whole model, with the keys of an SD1 checkpoint in LDM layout.

``DemoModel().state_dict()`` names text encoder, UNet and autoencoder exactly as a checkpoint
file does, so a merge can write its result straight into the parameters of a live model.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bmerge_plugins.demo.text_encoder import WIDTH, TextModel
from bmerge_plugins.demo.unet import UNet
from bmerge_plugins.demo.vae import LATENT_CHANNELS, Autoencoder
from bmerge_plugins.demo.words import tokenise

STEPS = 1000
"""Noise steps that the model was trained on."""

LATENT_SIDE = 16
"""Side of a latent; a picture is four times as wide."""


class _Holder(nn.Module):
    """A level of the key names that holds one child and does nothing else."""

    def __init__(self, name: str, child: nn.Module) -> None:
        super().__init__()
        self.add_module(name, child)


class DemoModel(nn.Module):
    """Text encoder, UNet and autoencoder under SD1's key names, float32.

    Building one reads no file and takes milliseconds; its weights are random until
    ``load_state_dict`` or a merge fills them.
    """

    def __init__(self) -> None:
        super().__init__()
        text = _Holder("text_model", TextModel())
        self.cond_stage_model = _Holder("transformer", text)
        self.model = _Holder("diffusion_model", UNet(LATENT_CHANNELS, WIDTH))
        self.first_stage_model = Autoencoder()

    @property
    def unet(self) -> UNet:
        """The denoiser."""
        module = self.model.get_submodule("diffusion_model")
        assert isinstance(module, UNet)
        return module

    @property
    def text_model(self) -> TextModel:
        """The text encoder."""
        module = self.cond_stage_model.get_submodule("transformer.text_model")
        assert isinstance(module, TextModel)
        return module

    def encode_text(self, prompts: Sequence[str]) -> Tensor:
        """Return the hidden states of prompts, [n, positions, width]."""
        tokens = torch.tensor([tokenise(prompt) for prompt in prompts])
        states: Tensor = self.text_model(tokens.to(next(self.parameters()).device))
        return states
