"""CLIP score, HPS and PickScore on a small model from disk, against the model itself."""

from __future__ import annotations

import gc
import logging
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from bmerge import BmergeError, Payload, Picture, Scorer, ScorerError
from bmerge.testing import check_scorer
from bmerge.testing.scorers import sample_pictures
from bmerge_plugins.batches import FittingBatches
from bmerge_plugins.clip import load, load_head, load_tower
from bmerge_plugins.scorers.clip_score import clip_score
from bmerge_plugins.scorers.hps import hps
from bmerge_plugins.scorers.pickscore import pickscore

PROMPTS = ("a red circle", "black", "grey noise, high quality")
SCORERS = {"clip_score": clip_score, "hps": hps, "pickscore": pickscore}


def _cosines(tiny_clip, pictures) -> np.ndarray:
    """Return what the model itself says, by numpy and in float64."""
    import open_clip

    tokens = open_clip.get_tokenizer(tiny_clip.name)([p.payload.prompt for p in pictures])
    pixels = torch.stack([tiny_clip.preprocess(picture.image) for picture in pictures])
    with torch.no_grad():
        shown = tiny_clip.network.encode_image(pixels).double().numpy()
        asked = tiny_clip.network.encode_text(tokens).double().numpy()
    lengths = np.sqrt((shown**2).sum(1) * (asked**2).sum(1))
    return np.einsum("ij,ij->i", shown, asked) / lengths


def _make(tiny_clip, name="clip_score", weights="tiny.safetensors", **options) -> Scorer:
    folder = str(tiny_clip.folder)
    options = {"model": tiny_clip.name, "weights": weights, "device": "cpu", **options}
    return SCORERS[name](scorer_model_dir=folder, **options)


@pytest.mark.parametrize("name", SCORERS)
def test_score_is_the_scaled_cosine_of_picture_and_prompt(tiny_clip, name):
    pictures = sample_pictures(PROMPTS)
    cosines = _cosines(tiny_clip, pictures)
    scale = np.exp(tiny_clip.network.logit_scale.item())
    expected = {
        "clip_score": 2.5 * np.maximum(cosines, 0),
        "hps": cosines,
        "pickscore": scale * cosines,
    }
    assert np.ptp(cosines) > 0.01  # or nothing would be shown
    scores = _make(tiny_clip, name).score(pictures)
    assert scores == pytest.approx(expected[name].tolist(), abs=1e-5)
    check_scorer(_make(tiny_clip, name))


@pytest.mark.parametrize("weights", ["tiny.safetensors", "hps.pt", "transformers.safetensors"])
def test_weights_are_read_in_every_layout(tiny_clip, weights):
    pictures = sample_pictures(PROMPTS)
    scores = _make(tiny_clip, "hps", weights).score(pictures)
    assert scores == pytest.approx(_cosines(tiny_clip, pictures).tolist(), abs=1e-6)


def test_model_can_be_a_folder(tiny_clip):
    pictures = sample_pictures(PROMPTS)
    model = f"local-dir:{tiny_clip.folder / 'local'}"
    scores = _make(tiny_clip, "hps", None, model=model).score(pictures)
    assert scores == pytest.approx(_cosines(tiny_clip, pictures).tolist(), abs=1e-6)
    with pytest.raises(ScorerError, match="exclude each other"):
        _make(tiny_clip, model=model)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("name", SCORERS)
def test_half_precision_comes_close(tiny_clip, name, precision):
    pictures = sample_pictures(PROMPTS)
    exact = _make(tiny_clip, name).score(pictures)
    scores = _make(tiny_clip, name, precision=precision).score(pictures)
    assert scores == pytest.approx(exact, abs=0.05 * max(1, *map(abs, exact)))


@pytest.mark.parametrize("batch", [1, 2, 64])
def test_score_does_not_depend_on_the_batch(tiny_clip, batch):
    gc.collect()
    pictures = sample_pictures(PROMPTS)
    scores = _make(tiny_clip, "hps", batch=batch).score(pictures)
    assert scores == pytest.approx(_cosines(tiny_clip, pictures).tolist(), abs=1e-6)


def test_scorers_of_one_model_share_it_and_its_embeddings(tiny_clip, monkeypatch):
    gc.collect()
    assert not load._towers  # nothing is held beyond its scorers
    first, second = _make(tiny_clip), _make(tiny_clip, "pickscore")
    (tower,) = load._towers.values()
    calls = []
    network = tower._model
    encode = network.encode_image
    monkeypatch.setattr(network, "encode_image", lambda x: calls.append(len(x)) or encode(x))
    pictures = sample_pictures(PROMPTS)
    first.score([*pictures, pictures[0]])
    second.score(pictures)
    assert calls == [5]
    red = Picture(Payload("p", "a red circle"), Image.new("RGB", (64, 64), "red"))
    second.score([red])
    assert calls == [5, 1]


def test_only_so_many_embeddings_are_kept(tiny_clip, monkeypatch):
    monkeypatch.setattr("bmerge_plugins.clip.tower._KEPT", 3)
    scorer = _make(tiny_clip, "hps")
    pictures = sample_pictures(PROMPTS)
    assert scorer.score(pictures) == pytest.approx(_cosines(tiny_clip, pictures).tolist(), abs=1e-6)
    assert len(scorer._tower._pictures._known) == 3


def test_loading_leaves_the_root_logger_alone(tiny_clip, monkeypatch):
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    gc.collect()
    _make(tiny_clip)
    assert root.handlers == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "ViT-L-41"}, "open_clip has no model 'ViT-L-41'"),
        ({"model": "hf-hub:a/b"}, "open_clip has no model 'hf-hub:a/b'"),
        ({"model": "roberta-ViT-B-32"}, "needs files from the network"),
        ({"model": "local-dir:/nowhere", "weights": None}, "is not a folder with a model"),
        ({"weights": "absent.pt"}, "clip_score: there is no file"),
        ({"weights": None}, "clip_score: no weights are given for the model"),
        ({"precision": "fp8"}, "precision must be one of 'fp32', 'fp16', 'bf16', not 'fp8'"),
        ({"device": "cuda:99"}, "the device 'cuda:99' cannot be used"),
        ({"device": "gpu"}, "the device 'gpu' cannot be used"),
        ({"batch": 0}, "batch must be 1 or more, not 0"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(tiny_clip, options, message):
    with pytest.raises(BmergeError) as info:
        _make(tiny_clip, **options)
    assert message in str(info.value)
    assert "\n" not in str(info.value)


def test_weights_of_another_model_are_refused(tiny_clip, tmp_path):
    for name in ("tiny.safetensors", "transformers.safetensors"):
        with pytest.raises(ScorerError, match=f"{name} cannot be loaded as ViT-S-32"):
            _make(tiny_clip, model="ViT-S-32", weights=name)
    broken = tmp_path / "broken.pt"
    broken.write_bytes(b"half a file")
    with pytest.raises(ScorerError, match=r"broken.pt cannot be loaded as"):
        _make(tiny_clip, weights=str(broken))


class Evil:
    """A pickle that makes a folder when it is read."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


def test_pickle_runs_no_code(tiny_clip, tmp_path):
    file, trace = tmp_path / "evil.pt", tmp_path / "trace"
    torch.save({"state_dict": Evil(trace)}, file)
    with pytest.raises(ScorerError, match=r"evil.pt cannot be loaded"):
        _make(tiny_clip, weights=str(file))
    with pytest.raises(ScorerError, match=r"evil.pt cannot be read"):
        load_head(file)
    assert not trace.exists()


def test_folder_without_weights_is_refused_and_not_filled_with_random_ones(tiny_clip, tmp_path):
    shutil.copy(tiny_clip.folder / "local" / "open_clip_config.json", tmp_path)
    with pytest.raises(ScorerError, match="cannot be loaded"):
        _make(tiny_clip, model=f"local-dir:{tmp_path}", weights=None)


def test_tokenizer_that_would_be_downloaded_is_refused(tiny_clip):
    tower = load_tower(
        tiny_clip.name, tiny_clip.folder / "tiny.safetensors", device="cpu", precision="fp32"
    )
    assert tower.prompts(["a", "b", "a"], batches=FittingBatches(1)).shape == (3, 32)
    with pytest.raises(ScorerError, match="is not part of open_clip"):
        load._tokenizer("ViT-B-16-SigLIP")


@pytest.mark.parametrize(
    ("version", "file"), [("2.1", "HPS_v2.1_compressed.pt"), (2.0, "HPS_v2_compressed.pt")]
)
def test_hps_asks_for_the_file_of_its_version(tmp_path, version, file):
    with pytest.raises(ScorerError, match=f"needs the file .*HPSv2.*{file}"):
        hps(version=version, scorer_model_dir=str(tmp_path))
    with pytest.raises(ScorerError, match=r"version is '3', must be 2.0 or 2.1"):
        hps(version="3")


def test_pickscore_asks_for_its_file(tmp_path, monkeypatch):
    monkeypatch.delenv("BMERGE_SCORER_MODELS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    place = tmp_path / "bmerge" / "scorers" / "PickScore_v1" / "model.safetensors"
    with pytest.raises(ScorerError) as info:
        pickscore()
    assert str(place) in str(info.value)
    assert "`bmerge scorers fetch pickscore`" in info.value.hint
    address = "https://huggingface.co/yuvalkirstain/PickScore_v1/resolve/main/model.safetensors"
    assert address in info.value.hint


def test_the_command_line_ends_quietly_after_clip_was_used():
    code = "import open_clip; from bmerge.cli import main; main(['--version'])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.startswith("bmerge")
    assert ended.stderr == ""
