"""Aesthetic heads: small networks that turn a normalised CLIP embedding into one number.

They are recognised by the names of their tensors, which are the positions of linear layers in a
``torch.nn.Sequential``; dropout, which does nothing here, and activations lie between them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from bmerge import ScorerError
from bmerge_plugins.clip.tensors import read_tensors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["SHIPPED", "Head", "load_head", "shipped_head"]

SHIPPED = ("v1", "sac+logos+ava1", "ava+logos")
"""The heads that come with bmerge. They have no activation, so each is kept as one linear map."""

_FORMS: Mapping[tuple[str, ...], bool] = {
    ("",): False,
    tuple(f"layers.{i}." for i in (0, 2, 4, 6, 7)): False,
    tuple(f"layers.{i}." for i in (0, 3, 6, 9, 11)): True,
    tuple(f"scoring_head.{i}." for i in (0, 2, 4, 6, 8)): False,
}
"""Prefixes of the linear layers → whether a ReLU follows each but the last."""


@dataclass(frozen=True, slots=True)
class Head:
    """Linear layers, with or without ReLU between them.

    Args:
        layers: (weight, bias) of each; float64, outputs × inputs and outputs.
        relu: whether a ReLU follows each but the last.
    """

    layers: Sequence[tuple[Array, Array]]
    relu: bool

    @property
    def width(self) -> int:
        """The number of values in an embedding."""
        return int(self.layers[0][0].shape[1])

    def __call__(self, embeddings: Array) -> list[float]:
        """Return one number for each embedding, n × width."""
        values = embeddings
        for number, (weight, bias) in enumerate(self.layers):
            if number and self.relu:
                values = values.clip(min=0)
            values = values @ weight.T + bias
        return [float(value) for value in values[:, 0]]


def shipped_head(name: str) -> Head:
    """Return one of :data:`SHIPPED`."""
    place = resources.files("bmerge_plugins.clip").joinpath("heads", f"{name}.safetensors")
    with resources.as_file(place) as path:
        return load_head(path)


def load_head(path: Path) -> Head:
    """Read a head as its authors publish it: ``.pth`` or ``.safetensors``.

    Raises:
        ScorerError: if it cannot be read or is none of the known forms.
    """
    read = read_tensors(path, "an aesthetic head")
    tensors = {name: tensor.double().numpy() for name, tensor in read.items()}
    for prefixes, relu in _FORMS.items():
        names = {f"{prefix}{part}" for prefix in prefixes for part in ("weight", "bias")}
        if names == set(tensors):
            layers = [(tensors[f"{p}weight"], tensors[f"{p}bias"]) for p in prefixes]
            return Head(layers, relu)
    found = ", ".join(sorted(tensors)[:4])
    raise ScorerError(
        f"{path} is not an aesthetic head that is known (it has {found} …)", blame="study"
    )
