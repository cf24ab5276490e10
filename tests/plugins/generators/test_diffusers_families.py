"""The diffusers generator on pipelines that the layouts know: live merges of single files.

Two tiny pipelines are saved by diffusers and converted into single files, whose live merge is
painted; the folders are merged into a folder, which diffusers loads and paints by itself. The
pictures must be the same to the last bit.
"""

from __future__ import annotations

import diffusers
import numpy as np
import pytest
import torch

from bmerge import BlockWeights, Merger, Payload, convert, open_checkpoint
from bmerge.architectures import builtin, detect
from bmerge.executors import NativeExecutor
from bmerge_plugins.generators.diffusers import DiffusersGenerator
from merges import METHODS, recipe_of
from tiny_families import FAMILIES, write_pipeline
from tiny_more_families import MORE, VIDEOS

pytestmark = [
    pytest.mark.filterwarnings(f"ignore:.*{text}")
    for text in (
        "FluxPosEmbed:FutureWarning",  # diffusers' Chroma, of a name in diffusers
        "__array__ implementation:DeprecationWarning",  # diffusers' scheduler of PixArt
        "CPU autocast:UserWarning",  # diffusers' Mochi, on a processor
    )
]
SIZE = 32
EVERY = {**FAMILIES, **MORE}
ENCODERS = {
    "flux": ["clip_l", "t5xxl"], "chroma": ["t5xxl"], "z-image": ["qwen3_4b"],
    "lumina2": ["gemma2_2b"], "auraflow": ["pile_t5xl"], "wan": ["umt5xxl"],
    "sd3": ["clip_l", "clip_g", "t5xxl"], "sd3.5": ["clip_l", "clip_g", "t5xxl"],
    "qwen-image": ["qwen25_7b"], "flux2-klein": ["qwen3_4b"], "ltx-video": ["t5xxl"],
    "hidream": ["clip_l", "clip_g", "t5xxl", "llama"], "pixart": ["t5xxl"], "mochi": ["t5xxl"],
    "hunyuan-video": ["llama", "clip_l"], "krea2": ["qwen3vl_4b"],
}  # fmt: skip
"""What ComfyUI calls the text encoders of a family in one file."""


def merger_of(files, scratch):
    checkpoints = [open_checkpoint(file) for file in files]
    return Merger(
        recipe_of(files),
        method=METHODS["weighted_sum"],
        checkpoints=checkpoints,
        architecture=detect(checkpoints[0].tensors, builtin()),
        executor=NativeExecutor(threads=1),
        scratch=scratch,
    )


def painted(folder, family):
    """Return the picture that diffusers paints by itself."""
    pipe = diffusers.DiffusionPipeline.from_pretrained(folder, local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    for module in pipe.components.values():
        for parameter in module.parameters() if isinstance(module, torch.nn.Module) else ():
            parameter.data = parameter.data.clone()  # not at the odd addresses of a mapped file
    frames = {"num_frames": 1} if family in VIDEOS else {}
    made = pipe(
        prompt=["a castle on a hill"], num_inference_steps=2, guidance_scale=4.0, width=SIZE,
        height=SIZE, generator=[torch.Generator("cpu").manual_seed(3)], output_type="np", **frames,
    )  # fmt: skip
    image = made.frames[0][0] if family in VIDEOS else made.images[0]
    return np.round(image * 255).astype(np.uint8)


@pytest.mark.parametrize(
    "family",
    ["z-image", *(pytest.param(f, marks=pytest.mark.slow) for f in EVERY if f != "z-image")],
)
def test_live_merge_of_single_files_paints_what_the_merged_folder_does(family, tmp_path):
    folders = [
        write_pipeline(tmp_path / name, EVERY[family](), seed) for seed, name in enumerate("ab")
    ]
    files = [
        convert(folder, output=f"{folder}.safetensors", layout="original").output
        for folder in folders
    ]
    keys = open_checkpoint(files[0]).tensors
    texts = {key.split(".")[1] for key in keys if key.startswith("text_encoders.")}
    assert texts == set(ENCODERS[family])
    alpha = {"alpha": BlockWeights(0.3)}
    one = DiffusersGenerator(config=str(folders[0]), device="cpu")
    merger = merger_of(files, tmp_path)
    one.load(merger.model({"alpha": BlockWeights(0.9)}))
    one.load(merger.model(alpha))
    payload = Payload("a", "a castle on a hill", seed=3, steps=2, cfg=4.0, width=SIZE, height=SIZE)
    (made,) = one.generate([payload])
    one.close()
    merger_of(folders, tmp_path).write(alpha, tmp_path / "merged")
    image = np.asarray(made.image)
    assert image.std() > 5
    assert np.array_equal(image, painted(tmp_path / "merged", family))
