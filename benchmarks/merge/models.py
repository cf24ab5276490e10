"""Full-size checkpoints with true keys and random values, in a scratch folder."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.merge.flux import flux_layout
from benchmarks.merge.nf4 import write_nf4
from benchmarks.merge.programs import bmerge, convert
from benchmarks.merge.transformers import anima_layout, sd3_layout, z_image_layout
from bmerge.dtypes import BLOCKS, SIZES
from bmerge.lora.kohya import kohya_layers
from bmerge.testing import write_checkpoint
from bmerge.testing.checkpoints import sd1_layout, sdxl_layout, write_random
from bmerge.testing.layouts import Layout, shrink

__all__ = ["KINDS", "Kind", "make", "remove", "remove_converted"]

LORA = "lora"
"""What the names of LoRAs start with; their rank follows."""
UNET = "unet"
"""What stands for a dtype where the diffusion model is alone, as it is."""


OTHER = "other"
"""What stands for a dtype where the model is in the other layout of its kind."""
NF4 = "nf4"
"""The format that nothing is converted to: its models have values of their own."""


@dataclass(frozen=True, slots=True)
class Kind:
    """An architecture.

    Args:
        name: by which it is selected.
        title: for people.
        blocks: how many it has.
        parts: how many copies of the layout are in one file, for sizes that no model has yet.
        other: options of ``bmerge convert`` for the other layout that people have it in.
        components: of diffusers, if that is a folder of them.
    """

    name: str
    title: str
    blocks: int
    parts: int = 1
    other: tuple[str, ...] = ("--layout", "diffusers")
    components: tuple[str, ...] = ()

    def layout(self) -> Layout:
        """Return what a checkpoint of it holds, in F16."""
        if self.name == "tiny":
            return shrink(sd1_layout("F16"))
        if self.name == "sd15":
            return sd1_layout("F16")
        if self.name in _FLUX:
            return flux_layout(*_FLUX[self.name], "F16")
        if self.name in _TRANSFORMERS:
            return _TRANSFORMERS[self.name]("F16")
        layout = sdxl_layout("F16")
        extra = [
            (f"copy_{part}.{key}", dtype, shape)
            for part in range(1, self.parts)
            for key, dtype, shape in layout
        ]
        return layout + extra

    def nbytes(self, dtype: str) -> int:
        """Return the size of one checkpoint, without its header."""
        known = dtype if dtype in SIZES else "F16"  # others are smaller
        tags = ((known if tag == "F16" else tag, shape) for _, tag, shape in self.layout())
        return sum(math.prod(shape) * SIZES[tag] for tag, shape in tags)


_FLUX = {"flux": (19, 38), "flux_part": (2, 4)}
"""Kind → its double and single blocks."""
_TRANSFORMERS = {
    "z_image_part": partial(z_image_layout, 2),
    "sd3_part": partial(sd3_layout, 8),
    "anima_part": partial(anima_layout, 16),
}
_OF_SD = ("unet", "vae", "text_encoder")

KINDS = {
    kind.name: kind
    for kind in (
        Kind("tiny", "SD1.5 with tiny shapes, to try the benchmark", 26, components=_OF_SD),
        Kind("sd15", "SD1.5", 26, components=_OF_SD),
        Kind("sdxl", "SDXL", 20, components=(*_OF_SD, "text_encoder_2")),
        Kind("flux", "Flux.1 (12 G weights)", 57),
        Kind("flux_part", "a tenth of Flux.1 (1.3 G weights)", 6),
        Kind("z_image_part", "six layers of Z-Image (1.1 G weights)", 6),
        Kind("sd3_part", "eight blocks of SD3.5 medium (0.9 G weights)", 8),
        Kind(
            "anima_part",
            "16 blocks of Anima (1.1 G weights)",
            16,
            other=("--prefix", "model.diffusion_model."),
        ),
        Kind("14gb", "14 GB (two SDXL in one file)", 20, parts=2),
    )
}


def _need_of(kind: Kind, names: Iterable[str]) -> int:
    """Return the bytes that models take, and one result with the floor's copy of it."""
    sizes = {name: kind.nbytes(_dtype(name)) for name in names}
    originals = {name.partition(".")[0] for name in sizes}
    letters = sum(kind.nbytes("F16") for letter in originals if letter not in sizes)
    return sum(sizes.values()) + letters + max(sizes.values())


def make(kind: Kind, names: Collection[str], folder: Path) -> dict[str, Path]:
    """Make the models that are named, if they are not there, and return their paths.

    Args:
        kind: of what architecture.
        names: a letter, or a letter and a dtype: the same values in that.
        folder: where they go.

    Raises:
        SystemExit: if there is too little space.
    """
    missing = [name for name in names if not _path(kind, name, folder).exists()]
    for name in [name for name in missing if name.startswith(LORA)]:
        missing.remove(name)
        _make_lora(kind, int(name.removeprefix(LORA)), _path(kind, name, folder))
    need, free = _need_of(kind, missing) if missing else 0, shutil.disk_usage(folder).free
    if need > free:
        message = f"{kind.title} needs {need / 1e9:.0f} GB in {folder}; {free / 1e9:.0f} are free"
        raise SystemExit(message)
    for letter in sorted({name.partition(".")[0] for name in missing}):
        path = _path(kind, letter, folder)
        if not path.exists():
            print(f"making {path}", flush=True)
            write_random(path.with_suffix(".part"), kind.layout(), seed=ord(letter))
            path.with_suffix(".part").rename(path)
    for name in missing:
        if _dtype(name) == NF4:
            write_nf4(_path(kind, name, folder), kind.layout(), seed=ord(name[0]))
        elif _dtype(name) == OTHER:
            _lay_out(kind, _path(kind, name[0], folder), _path(kind, name, folder))
        elif "." in name:
            _convert(_path(kind, name[0], folder), _path(kind, name, folder), _dtype(name))
    return {name: _path(kind, name, folder) for name in names}


def _make_lora(kind: Kind, rank: int, path: Path) -> None:
    """Write a LoRA of random values on every layer that is a matrix or a convolution."""
    print(f"making {path}", flush=True)
    random = np.random.default_rng(rank)
    shapes = {key: shape for key, _, shape in kind.layout() if len(shape) in {2, 4}}
    tensors: dict[str, np.ndarray] = {}
    for name, role, place in kohya_layers(shapes):
        first, end = place.rows or (0, shapes[place.key][0])
        shape = (end - first, *shapes[place.key][1:])
        if role != "weight" or "embedding" in name or f"{name}.alpha" in tensors:
            continue
        count = min(rank, shape[0], math.prod(shape[1:]))
        ends = (1,) * (len(shape) - 2)
        up, down = (shape[0], count, *ends), (count, *shape[1:])
        for part, size in (("lora_up", up), ("lora_down", down)):
            values = random.standard_normal(size, dtype="f4") * 0.01
            tensors[f"{name}.{part}.weight"] = values.astype("f2")
        tensors[f"{name}.alpha"] = np.array(count, "f2")
    write_checkpoint(path, tensors)


def remove_converted(kind: Kind, folder: Path) -> None:
    """Remove the models that were made of others, which other works seldom need."""
    for path in (*folder.glob(f"{kind.name}-?.*.*"), *folder.glob(f"{kind.name}-?-{OTHER}")):
        _remove(path)


def remove(kind: Kind, folder: Path) -> None:
    """Remove all models of an architecture."""
    for path in folder.glob(f"{kind.name}-*"):
        _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _lay_out(kind: Kind, source: Path, target: Path) -> None:
    """Write the same bytes in the other layout: a file, or a folder of diffusers."""
    print(f"making {target}", flush=True)
    with tempfile.TemporaryDirectory() as configs:
        if kind.components:
            _write_configs(Path(configs), kind.components)
        added = ("--configs", configs) if kind.components else ()
        words = convert(source, target, (*kind.other, *added))
        subprocess.run(words, check=True, capture_output=True)


def _write_configs(folder: Path, components: Iterable[str]) -> None:
    """Write as much of a pipeline as says that it is one, and of which components."""
    said = {name: ["diffusers", name] for name in components}
    (folder / "model_index.json").write_text(json.dumps(said), encoding="utf-8")
    for name in components:
        (folder / name).mkdir()
        (folder / name / "config.json").write_text("{}", encoding="utf-8")


def _convert(source: Path, target: Path, dtype: str) -> None:
    """Write the same values in another dtype or format."""
    print(f"making {target}", flush=True)
    if dtype in SIZES:
        options = ["--alpha", "0", "--dtype", dtype, "--no-metadata"]
        words = bmerge("weighted_sum", [source, source], target, options)
    else:
        alone = ("--parts", "unet") if dtype == UNET or target.suffix == ".gguf" else ()
        named = () if dtype == UNET else ("--quantise", dtype)
        words = convert(source, target, (*alone, *named))
    subprocess.run(words, check=True, capture_output=True)


def _dtype(name: str) -> str:
    return name.partition(".")[2] or "F16"


def _path(kind: Kind, name: str, folder: Path) -> Path:
    if _dtype(name) == OTHER and kind.components:
        return folder / f"{kind.name}-{name[0]}-{OTHER}"  # a folder's name has no suffix
    blocks = _dtype(name).upper() in BLOCKS
    return folder / f"{kind.name}-{name}{'.gguf' if blocks else '.safetensors'}"
