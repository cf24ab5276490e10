"""sd-meh by the words of :mod:`benchmarks.peers`: WORK OUTPUT MODEL."""

from __future__ import annotations

import os
import sys

sys.path.pop(0)  # this folder: it has a file of the peer's own name

from sd_meh.merge import merge_models, save_model

BLOCKS = 25
MODES = {"blocks": "weighted_sum"}


def main() -> None:
    """Merge as the command line says."""
    work, output, *paths = sys.argv[1:]
    mode = MODES.get(work, work)
    alpha = [(1 + i) / 28 for i in range(BLOCKS)] if work == "blocks" else [0.4] * BLOCKS
    weights, bases = {"alpha": alpha}, {"alpha": 0.4}
    if mode == "ties_add_difference":
        weights["beta"], bases["beta"] = [0.2] * BLOCKS, 0.2
    models = {f"model_{letter}": path for letter, path in zip("abc", paths, strict=False)}
    merged = merge_models(models, weights, bases, mode, precision=16, threads=os.cpu_count() or 1)
    save_model(merged, output.removesuffix(".safetensors"), "safetensors")


if __name__ == "__main__":
    main()
