"""The scorer over a classifier's folder; most of it where the transformers library is installed."""

from __future__ import annotations

import shutil
import sys

import numpy as np
import pytest
import torch

from bmerge import PluginError, ScorerError
from bmerge.testing import check_scorer
from bmerge.testing.scorers import sample_pictures
from bmerge_plugins.scorers.image_classifier import ImageClassifier

LABELS = {0: "plain", 1: "pretty", 2: "broken"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    transformers = pytest.importorskip("transformers")
    place = tmp_path_factory.mktemp("classifiers") / "tiny"
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        patch_size=8,
        id2label=LABELS,
        label2id={label: number for number, label in LABELS.items()},
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.ViTForImageClassification(config)
        for parameter in model.parameters():
            parameter.data += 0.2 * torch.randn_like(parameter)
    model.save_pretrained(place)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(place)
    return place


def _expected(folder, pictures, label):
    import transformers

    model = transformers.ViTForImageClassification.from_pretrained(folder).eval()
    processor = transformers.ViTImageProcessor.from_pretrained(folder)
    pixels = processor(images=[p.image for p in pictures], return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        logits = model(pixels).logits.double().numpy()
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return (powers / powers.sum(1, keepdims=True))[:, label]


@pytest.mark.parametrize("label", LABELS)
def test_score_is_the_labels_probability(folder, label):
    scorer = ImageClassifier(
        folder="tiny",
        class_label=LABELS[label],
        scorer_model_dir=str(folder.parent),
        device="cpu",
        batch=2,
    )
    pictures = sample_pictures(["x"])
    expected = _expected(folder, pictures, label)
    assert scorer.score(pictures) == pytest.approx(expected.tolist(), abs=1e-5)
    check_scorer(scorer)


def test_label_that_is_none_of_its_own_is_refused(folder):
    with pytest.raises(ScorerError, match="has no label 'prety'") as info:
        ImageClassifier(folder=str(folder), class_label="prety")
    assert info.value.hint == "did you mean 'pretty'?"


def test_folder_with_something_else_is_refused(tmp_path):
    pytest.importorskip("transformers")
    with pytest.raises(ScorerError, match="is not an image classifier"):
        ImageClassifier(folder=str(tmp_path), class_label="pretty")


def test_folder_with_half_of_the_weights_is_refused(folder, tmp_path):
    from safetensors.torch import load_file, save_file

    half = tmp_path / "half"
    shutil.copytree(folder, half)
    tensors = load_file(half / "model.safetensors")
    del tensors["classifier.weight"]
    save_file(tensors, half / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ScorerError, match=r"it has no weights for classifier.weight"):
        ImageClassifier(folder=str(half), class_label="pretty")


def test_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ScorerError) as info:
        ImageClassifier(folder="shadow", class_label="hq", scorer_model_dir=str(tmp_path))
    assert str(info.value) == f"image_classifier: there is no folder {tmp_path / 'shadow'}"
    assert "hf download" in info.value.hint


def test_missing_library_is_named_with_the_command_that_installs_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ScorerError, match="needs the package transformers") as info:
        ImageClassifier(folder=str(tmp_path), class_label="pretty")
    assert info.value.hint == "pip install transformers"


@pytest.mark.parametrize(
    ("options", "message"),
    [({"batch": 0}, "batch must be 1"), ({"precision": "fp8"}, "precision must be one of")],
)
def test_options_that_make_no_sense_are_refused(tmp_path, options, message):
    with pytest.raises(PluginError, match=message):
        ImageClassifier(folder=str(tmp_path), class_label="pretty", **options)
