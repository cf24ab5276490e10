"""sd-mecha by the words of :mod:`benchmarks.peers`: WORK OUTPUT MODEL."""

from __future__ import annotations

import sys

sys.path.pop(0)  # this folder: it has a file of the peer's own name

import sd_mecha
import torch


def recipe(work: str, models: list) -> object:
    """Return the recipe of a work; the last model is the base where there is one."""
    if work in {"weighted_sum", "bf16"}:
        return sd_mecha.weighted_sum(*models, alpha=0.4)
    if work == "slerp":
        return sd_mecha.slerp(*models, alpha=0.4)
    if work == "add_difference":
        return sd_mecha.add_difference(models[0], models[1] - models[2], alpha=0.4)
    base, *others = models
    deltas = [model - base for model in others]
    if work == "model_stock":
        return base + sd_mecha.model_stock(*deltas)
    return sd_mecha.add_difference_ties(base, *others, alpha=1.0, k=0.2)


def main() -> None:
    """Merge as the command line says."""
    work, output, *paths = sys.argv[1:]
    sd_mecha.merge(
        recipe(work, [sd_mecha.model(path) for path in paths]),
        merge_device="cpu",
        merge_dtype=torch.float32,
        output_dtype=torch.bfloat16 if work == "bf16" else torch.float16,
        output=output,
    )


if __name__ == "__main__":
    main()
