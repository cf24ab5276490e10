"""Folders as Hugging Face has them: variants, shards of either kind, and pipelines of diffusers."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from bmerge.errors import FormatError
from bmerge.formats import open_checkpoint


def write(path, value=1.0, key="a"):
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: np.full(2, value, "f4")}, path)
    return path


def index(path, places):
    path.write_text(json.dumps({"weight_map": places}))


def value_of(checkpoint, key="a"):
    info = checkpoint.tensors[key]
    with info.file.open("rb") as file:
        file.seek(info.offset)
        return np.frombuffer(file.read(4), "<f4")[0]


def test_full_precision_goes_before_variants_and_pickles(tmp_path):
    torch.save({"a": torch.full((2,), 5.0)}, tmp_path / "pytorch_model.bin")
    torch.save({"step": 1}, tmp_path / "optimizer.bin")
    assert value_of(open_checkpoint(tmp_path)) == 5
    write(tmp_path / "model.fp16.safetensors", 4)
    assert value_of(open_checkpoint(tmp_path)) == 4
    write(tmp_path / "model.fp16-00001-of-00001.safetensors", 3)
    index(tmp_path / "model.safetensors.index.fp16.json",
          {"a": "model.fp16-00001-of-00001.safetensors"})  # fmt: skip
    assert value_of(open_checkpoint(tmp_path)) == 3
    write(tmp_path / "model.safetensors", 2)
    assert value_of(open_checkpoint(tmp_path)) == 2


def test_pickled_shards_are_one_checkpoint(tmp_path):
    for number, key in enumerate("ab", start=1):
        tensors = {key: torch.full((2,), float(number))}
        torch.save(tensors, tmp_path / f"pytorch_model-0000{number}-of-00002.bin")
    places = {key: f"pytorch_model-0000{n}-of-00002.bin" for n, key in enumerate("ab", start=1)}
    index(tmp_path / "pytorch_model.bin.index.json", places)
    for path in (tmp_path, tmp_path / "pytorch_model.bin.index.json"):
        assert [value_of(open_checkpoint(path), key) for key in "ab"] == [1, 2]


@pytest.fixture
def pipeline(tmp_path):
    """Return a folder of diffusers with a UNet, a text encoder and what has no weights."""
    entries = {
        "_class_name": "StableDiffusionPipeline", "safety_checker": [None, None],
        "scheduler": ["diffusers", "DDIMScheduler"], "text_encoder": ["transformers", "CLIP"],
        "tokenizer": ["transformers", "CLIPTokenizer"], "unet": ["diffusers", "UNet"],
    }  # fmt: skip
    folder = tmp_path / "model"
    write(folder / "unet" / "diffusion_pytorch_model.safetensors", 1, "conv_in.weight")
    write(folder / "text_encoder" / "model.fp16.safetensors", 2, "text_model.x")
    for name in ("unet", "text_encoder"):
        (folder / name / "config.json").write_text("{}")
    for name in ("scheduler", "tokenizer"):
        (folder / name).mkdir()
    (folder / "model_index.json").write_text(json.dumps(entries))
    return folder


def test_pipeline_is_its_models_by_their_names_the_diffusion_model_first(pipeline):
    checkpoint = open_checkpoint(pipeline)
    assert list(checkpoint.tensors) == ["unet.conv_in.weight", "text_encoder.text_model.x"]
    assert value_of(checkpoint, "text_encoder.text_model.x") == 2
    assert checkpoint.path == pipeline


def test_pipeline_without_one_of_its_models_is_refused(pipeline):
    (pipeline / "text_encoder" / "model.fp16.safetensors").unlink()
    with pytest.raises(FormatError, match=r"no checkpoint in folder .*text_encoder"):
        open_checkpoint(pipeline)
    (pipeline / "text_encoder" / "config.json").unlink()
    (pipeline / "text_encoder").rmdir()
    with pytest.raises(FormatError, match="has no folder 'text_encoder'"):
        open_checkpoint(pipeline)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000], ids=["0", "list", "{", "deep"])
def test_broken_model_index_is_refused(pipeline, text):
    (pipeline / "model_index.json").write_text(text)
    with pytest.raises(FormatError, match=r"model_index.json: not "):
        open_checkpoint(pipeline)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda d: {"model": d, "optimizer": {"state": {}}, "epoch": 3},
        lambda d: {"params": {"a": torch.zeros(2)}, "params_ema": d},
        lambda d: {"module": {f"module.{key}": value for key, value in d.items()}},
        lambda d: {"model": {"state_dict": d}, "args": None},
        lambda d: {f"module.{key}": value for key, value in d.items()},
    ],
    ids=["model", "ema", "parallel", "nested", "bare parallel"],
)
@pytest.mark.parametrize("old", [False, True], ids=["zip", "before 1.6"])
def test_weights_are_found_within_what_trainers_save(tmp_path, wrap, old):
    content = wrap({"a": torch.full((2,), 7.0), "b": torch.zeros(1)})
    torch.save(content, tmp_path / "m.pt", _use_new_zipfile_serialization=not old)
    checkpoint = open_checkpoint(tmp_path / "m.pt")
    assert checkpoint.tensors.keys() == {"a", "b"}
    assert value_of(checkpoint) == 7
