"""mergekit-pytorch by the words of :mod:`benchmarks.peers`: WORK OUTPUT MODEL."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.pop(0)  # this folder: it has a file of the peer's own name

from mergekit.scripts.merge_raw_pytorch import main as mergekit_pytorch


def configuration(work: str, models: list[str]) -> dict:
    """Return mergekit's configuration of a work; the first model is the base."""
    weighted = [0.6, 0.4]
    if work in {"weighted_sum", "bf16"}:
        data = {"merge_method": "linear"}
    elif work == "slerp":
        return {
            "merge_method": "slerp",
            "base_model": models[0],
            "models": [{"model": model} for model in models],
            "parameters": {"t": 0.4},
        }
    elif work == "add_difference":  # a + 0.4 (b - c) = a + 0.4 b - 0.4 c
        data = {"merge_method": "linear", "parameters": {"normalize": False}}
        weighted = [1.0, 0.4, -0.4]
    else:
        data = {"merge_method": work, "base_model": models[0]}
        models = models[1:]
        weighted = [1.0] * len(models)
    density = {"density": 0.2} if work == "ties" else {}
    entries = [
        {"model": model, "parameters": {"weight": weight, **density}}
        for model, weight in zip(models, weighted, strict=True)
    ]
    return {**data, "models": entries}


def main() -> None:
    """Merge as the command line says."""
    work, output, *models = sys.argv[1:]
    dtype = "bfloat16" if work == "bf16" else "float16"
    folder = Path(tempfile.mkdtemp(dir=Path(output).parent))
    try:
        config = folder / "config.yaml"
        config.write_text(json.dumps({**configuration(work, models), "dtype": dtype}))
        mergekit_pytorch([str(config), str(folder / "out")], standalone_mode=False)
        shards = sorted((folder / "out").glob("*.safetensors"))
        for shard in shards:  # it writes several files when they get large
            shard.replace(output if len(shards) == 1 else f"{output}.{shard.name}")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
