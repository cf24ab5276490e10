"""The LAION heads on real embeddings, and the scorer on a whole model from disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from bmerge import ScorerError
from bmerge.testing import check_scorer
from bmerge.testing.scorers import sample_pictures
from bmerge_plugins.clip import SHIPPED, load_head, shipped_head
from bmerge_plugins.scorers.laion_aesthetic import bmerge_scorers, laion_aesthetic

DATA = Path(__file__).parents[2] / "data" / "aesthetic"
RATED = {
    "v1": (-2.46, -0.14, 1.90, 3.58, 5.10, 6.47, 7.79, 9.05, 10.23, 11.30),
    "sac+logos+ava1": (1.66, 2.36, 3.07, 3.67, 4.24, 4.70, 5.07, 5.37, 5.58, 5.75),
    # from the published five layers, one after the other in float64
    "ava+logos": (4.513, 4.476, 4.492, 4.596, 4.705, 4.843, 5.004, 5.148, 5.231, 5.266),
}
LINEAR, RELU = (0, 2, 4, 6, 7), (0, 3, 6, 9, 11)
PROMPTS = ("a red circle", "noise")


def _embeddings() -> np.ndarray:
    rows = np.concatenate([np.load(DATA / f"rating{i}.npy") for i in range(10)]).astype(float)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _layers(places: tuple[int, ...], widths: tuple[int, ...]) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    tensors = {}
    for place, n_in, n_out in zip(places, widths, widths[1:], strict=False):
        weight = torch.randn(n_out, n_in, generator=generator) / n_in**0.5
        tensors[f"layers.{place}.weight"] = weight
        tensors[f"layers.{place}.bias"] = torch.randn(n_out, generator=generator)
    return tensors


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_head_rates_ten_real_embeddings(name):
    assert shipped_head(name)(_embeddings()) == pytest.approx(RATED[name], abs=0.01)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("places", [LINEAR, RELU], ids=["linear", "relu"])
def test_head_of_five_layers_is_read_as_it_was_published(tmp_path, places, suffix):
    tensors = _layers(places, (768, 1024, 128, 64, 16, 1))
    file = tmp_path / f"head{suffix}"
    torch.save(tensors, file) if suffix == ".pth" else save_file(tensors, file)
    values = _embeddings()
    for place in places:
        values = values @ tensors[f"layers.{place}.weight"].double().numpy().T
        values = values + tensors[f"layers.{place}.bias"].double().numpy()
        if places == RELU and place != places[-1]:
            values = np.where(values > 0, values, 0)
    assert load_head(file)(_embeddings()) == pytest.approx(values[:, 0].tolist())


def test_something_else_is_not_taken_for_a_head(tmp_path):
    file = tmp_path / "unet.safetensors"
    save_file({"model.diffusion_model.out.0.weight": torch.zeros(3)}, file)
    with pytest.raises(ScorerError, match="not an aesthetic head that is known"):
        load_head(file)
    file.write_bytes(b"no tensors here")
    with pytest.raises(ScorerError, match="cannot be read as an aesthetic head"):
        load_head(file)


@pytest.fixture
def head_file(tmp_path):
    """A published head's form, but for embeddings of 32 values."""
    file = tmp_path / "small.safetensors"
    save_file(_layers(RELU, (32, 24, 16, 12, 8, 1)), file)
    return file


def test_scores_are_the_head_over_the_models_embeddings(tiny_clip, head_file):
    scorer = laion_aesthetic(
        head=str(head_file),
        model=tiny_clip.name,
        weights="tiny.safetensors",
        scorer_model_dir=str(tiny_clip.folder),
        device="cpu",
        batch=2,
    )
    pictures = sample_pictures(PROMPTS)
    pixels = torch.stack([tiny_clip.preprocess(picture.image) for picture in pictures])
    with torch.no_grad():
        features = tiny_clip.network.encode_image(pixels).double().numpy()
    expected = load_head(head_file)(features / np.sqrt((features**2).sum(1))[:, None])
    assert scorer.score(pictures) == pytest.approx(expected, abs=1e-5)
    check_scorer(scorer)


def test_head_of_another_model_is_refused(tiny_clip):
    scorer = laion_aesthetic(
        model=tiny_clip.name, weights=str(tiny_clip.folder / "tiny.safetensors")
    )
    with pytest.raises(ScorerError, match="for embeddings of 768 values, the model gives 32"):
        scorer.score(sample_pictures(PROMPTS))


def test_unknown_head_is_refused_before_anything_is_loaded():
    with pytest.raises(ScorerError, match="no head is called 'v3'"):
        laion_aesthetic(head="v3")


def test_missing_weights_are_named_with_the_command_that_fetches_them(tmp_path, monkeypatch):
    monkeypatch.setenv("BMERGE_SCORER_MODELS", str(tmp_path))
    (kind,) = bmerge_scorers()
    place = tmp_path / "clip-vit-large-patch14"
    with pytest.raises(ScorerError) as info:
        kind.create(options={"head": "chad"})
    message = f"laion_aesthetic needs the file {place / 'model.safetensors'}, which is not there"
    assert str(info.value) == message
    assert info.value.hint.startswith("`bmerge scorers fetch laion_aesthetic` fetches it from ")
    with pytest.raises(ScorerError) as info:
        kind.create(options={"scorer_model_dir": str(tmp_path / "other")})
    assert f'fetch laion_aesthetic --dir "{tmp_path / "other"}"`' in info.value.hint
