"""Several merges in memory: each is written over the one before, and no file is made.

    python examples/live_merges.py a.safetensors b.safetensors

This is what a generator does that holds its model: `load(model)` gets a `bmerge.MergedModel`, once
for each trial and in the thread that asks for the pictures. It takes the merge in the form that
costs least: `model.into(tensors)`, or `model.file()` for a program that reads files.
"""

from __future__ import annotations

import sys

import numpy as np

from bmerge import (
    BlockWeights,
    MergedModel,
    Merger,
    ModelRef,
    Recipe,
    load_registry,
    open_checkpoint,
    temporary_folder,
)
from bmerge.architectures import detect
from bmerge.executors import NativeExecutor


class Holder:
    """Holds the tensors of a model, as a generator does."""

    def __init__(self) -> None:
        self.tensors: dict[str, np.ndarray] = {}

    def load(self, model: MergedModel) -> None:
        """Take a merge; from the second on, only what changed is computed."""
        if not self.tensors:  # the layout is known before anything is computed
            layout = model.layout()
            self.tensors = {key: np.zeros(shape, np.float32) for key, shape in layout.items()}
        model.into(self.tensors)


def main(*paths: str) -> None:
    """Merge the models at three weights, and say how large the numbers are."""
    registry = load_registry()
    checkpoints = [open_checkpoint(path) for path in paths]
    known = list(registry.architectures.values())
    floats = [key for key, t in checkpoints[0].tensors.items() if t.dtype.startswith(("F", "BF"))]
    holder = Holder()
    with temporary_folder("live") as scratch:
        merger = Merger(
            Recipe("weighted_sum", tuple(ModelRef(path) for path in paths)),
            method=registry.method("weighted_sum"),
            checkpoints=checkpoints,
            architecture=detect(checkpoints[0].tensors, known),
            executor=NativeExecutor(),
            scratch=scratch,
        )
        for alpha in (0.0, 0.5, 1.0):
            model = merger.model({"alpha": BlockWeights(alpha)})
            holder.load(model)
            model.close()
            mean = np.mean([np.abs(holder.tensors[key]).mean() for key in floats])
            print(f"alpha {alpha}: mean {mean:.6f} of {len(floats)} tensors")


if __name__ == "__main__":
    main(*sys.argv[1:])
