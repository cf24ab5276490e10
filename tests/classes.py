"""The tensors of models of diffusers: names and shapes at their true size, without weights."""

from __future__ import annotations

import warnings

import diffusers
import torch

__all__ = ["shapes_of_class"]


def shapes_of_class(name, settings):
    """Return name → shape of the tensors of a model of a class."""
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of diffusers itself
        model = getattr(diffusers, name)(**settings)
    return {key: tuple(value.shape) for key, value in model.state_dict().items()}
