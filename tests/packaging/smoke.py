"""What the light core must do wherever it is installed: ``python smoke.py``, without any test tool.

Merges two models, inspects the result and bakes a LoRA, with files written by hand and numbers
computed by hand: the standard library only.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

LAYER = "transformer_blocks_0_attn1_to_q"
KEY = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight"
LORA = f"lora_unet_down_blocks_0_attentions_0_{LAYER}"


def write(path: Path, tensors: dict[str, tuple[list[int], list[float]]]) -> None:
    """Write float32 tensors, each a shape and its numbers."""
    header, data = {}, b""
    for name, (shape, numbers) in tensors.items():
        packed = struct.pack(f"<{len(numbers)}f", *numbers)
        offsets = [len(data), len(data) + len(packed)]
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": offsets}
        data += packed
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def read(path: Path, name: str) -> list[float]:
    """Return the numbers of a float32 tensor."""
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    begin, end = json.loads(data[8 : 8 + length])[name]["data_offsets"]
    return list(struct.unpack(f"<{(end - begin) // 4}f", data[8 + length :][begin:end]))


def run(*words: str | Path) -> str:
    """Run ``bmerge``."""
    command = [sys.executable, "-m", "bmerge", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, words))}: {done.stderr}")
    return done.stdout


def main() -> None:
    """Try everything."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        a, b, lora = (folder / f"{word}.safetensors" for word in ("a", "b", "lora"))
        mixed, baked, converted = (folder / f"{word}.safetensors" for word in ("m", "k", "c"))
        write(a, {KEY: ([2, 2], [1.0, 2.0, 3.0, 4.0])})
        write(b, {KEY: ([2, 2], [5.0, 6.0, 7.0, 8.0])})
        run("merge", "weighted_sum", a, b, "--alpha", "0.25", "-o", mixed)
        assert read(mixed, KEY) == [2.0, 3.0, 4.0, 5.0]
        assert json.loads(run("inspect", mixed, "--json"))["kind"] == "checkpoint"
        run("convert", mixed, "--dtype", "fp32", "-o", converted)
        assert read(converted, KEY) == [2.0, 3.0, 4.0, 5.0]
        factors = {"lora_up.weight": ([2, 1], [1.0, 2.0]), "lora_down.weight": ([1, 2], [0.5, 1.0])}
        write(lora, {f"{LORA}.{role}": factor for role, factor in factors.items()})
        run("merge", "add_difference", a, "--lora", f"{lora}=2", "-o", baked)
        assert read(baked, KEY) == [2.0, 4.0, 5.0, 8.0]
    print("merges, inspects, converts and bakes a LoRA")


main()
